package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// sendTimeout is for the whole attempt: connecting, securing, authenticating
// and the mail server's reply.
const sendTimeout = 30 * time.Second

// quitTimeout is for the farewell, which decides nothing.
const quitTimeout = 2 * time.Second

// Options configure a Channel.
type Options struct {
	// Dial opens connections and is where an egress guard belongs; nil: a plain
	// dialer. A refusal should wrap notify.ErrForbidden.
	Dial notify.DialFunc
	// TLS is the base of every TLS configuration, the server's name apart; nil:
	// the system's certificates and TLS 1.2 or later.
	TLS *tls.Config
	// Hello is the name the node calls itself to mail servers; "": its host name.
	Hello string
}

// Channel sends mail. It implements notify.Channel.
type Channel struct {
	dial  notify.DialFunc
	tls   *tls.Config
	hello string
}

// New makes a channel.
func New(o Options) *Channel {
	c := &Channel{dial: o.Dial, tls: o.TLS, hello: o.Hello}
	if c.dial == nil {
		c.dial = (&net.Dialer{}).DialContext
	}
	if c.tls == nil {
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return c
}

// Send makes one attempt: one mail to all recipients, over a new connection. It
// is accepted once the server has taken its content; recipients whom the server
// refuses for good are left out while there are others, and the excerpt says so. Status is the SMTP reply
// code; replies of 500 and above are permanent. What cannot be sent at all is
// refused before any connection, with an error that wraps
// notify.ErrMisconfigured.
func (c *Channel) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	e := n.Trigger.Email
	if e == nil {
		return notify.Result{Permanent: true}, misconfigured("the trigger has no email settings")
	}
	m, err := Message(n, e)
	if err != nil {
		return notify.Result{Permanent: true}, fmt.Errorf("email: %w", err)
	}
	s, err := c.session(e)
	if err != nil {
		return notify.Result{Permanent: true}, fmt.Errorf("email: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sendTimeout, notify.ErrTimeout)
	defer cancel()

	start := time.Now()
	err = s.send(ctx, m)
	res := notify.Result{Latency: time.Since(start), Bytes: int(s.sent.Load())}
	if m.IsDelivered() {
		// Whatever happened afterwards, the server has it.
		res.Status = 250
		// First what people have to know.
		res.Excerpt = notify.Excerpt(s.refusals+m.ServerResponse(), s.secrets...)
		return res, nil
	}
	if err == nil {
		err = errors.New("the mail was not sent")
	}
	return s.refused(ctx, res, err)
}

// refused says what a failure means.
func (s *session) refused(ctx context.Context, res notify.Result, err error) (notify.Result, error) {
	target := "smtp://" + s.server
	if code, text, ok := reply(err); ok {
		res.Status = code
		res.Excerpt = notify.Excerpt(text, s.secrets...)
		res.Permanent = code >= 500
		return res, fmt.Errorf("email: %s: %w: %w", target, notify.ErrRefused, notify.CleanError(err, s.secrets...))
	}
	res.Permanent = errors.Is(err, notify.ErrForbidden) || errors.Is(err, notify.ErrMisconfigured)
	if cause := context.Cause(ctx); errors.Is(cause, notify.ErrTimeout) {
		return res, fmt.Errorf("email: %s: %w (%s)", target, notify.ErrTimeout, sendTimeout)
	} else if cause != nil {
		return res, fmt.Errorf("email: %s: %w", target, cause)
	}
	return res, fmt.Errorf("email: %s: %w", target, notify.CleanError(err, s.secrets...))
}

// session is one connection to a mail server.
type session struct {
	email    *spec.Email
	server   string // host and port
	user     string
	password string
	secrets  []string // not to be shown
	refusals string   // of recipients, though others got the mail
	sent     atomic.Int64

	dial  notify.DialFunc
	tls   *tls.Config
	hello string
}

func (c *Channel) session(e *spec.Email) (*session, error) {
	s := &session{
		email: e, dial: c.dial, hello: c.hello,
		server: net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))),
		tls:    c.tls.Clone(),
	}
	s.tls.ServerName = e.Host
	if e.Security() == spec.TLSNone {
		if !e.Username.IsZero() || !e.Password.IsZero() {
			return nil, misconfigured("credentials must not be sent without TLS: take username and password away, or tls %q", spec.TLSNone)
		}
		return s, nil
	}
	var err error
	if s.user, err = notify.Plain(e.Username, "username"); err != nil {
		return nil, err
	}
	if s.password, err = notify.Plain(e.Password, "password"); err != nil {
		return nil, err
	}
	encoded := base64.StdEncoding.EncodeToString
	s.secrets = []string{
		s.password, encoded([]byte(s.password)), encoded([]byte("\x00" + s.user + "\x00" + s.password)),
		s.user, encoded([]byte(s.user)),
	}
	return s, nil
}

// send connects, hands the mail over and says goodbye. The error is that of
// the first step that failed.
func (s *session) send(ctx context.Context, m *gomail.Msg) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	client, err := gomail.NewClient(s.email.Host, s.options(conn)...)
	if err != nil {
		return fmt.Errorf("%w: %w", notify.ErrMisconfigured, err)
	}
	smtp, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return err
	}
	err = client.SendWithSMTPClient(smtp, m)
	if failed, ok := errors.AsType[*gomail.SendError](err); ok && failed.Reason == gomail.ErrSMTPRcptTo && len(s.email.Recipients) > 1 {
		var other error
		if s.refusals, other = s.leaveOut(smtp, m); s.refusals != "" {
			err = client.SendWithSMTPClient(smtp, m)
		} else if other != nil {
			err = other
		}
	}
	if smtp.UpdateDeadline(quitTimeout) == nil {
		_ = client.CloseWithSMTPClient(smtp) // QUIT; the mail is accepted or refused by now
	}
	return err
}

// connect opens a connection, secured already where that is not for STARTTLS
// to do.
func (s *session) connect(ctx context.Context) (net.Conn, error) {
	plain, err := s.dial(ctx, "tcp", s.server)
	if err != nil {
		return nil, err
	}
	conn := &boundedConn{Conn: plain, left: maxReply, sent: &s.sent}
	if s.email.Security() != spec.TLSImplicit {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS on port %d: %w", s.email.Port, err)
	}
	return secure, nil
}

func (s *session) options(conn net.Conn) []gomail.Option {
	opts := []gomail.Option{
		gomail.WithPort(int(s.email.Port)),
		gomail.WithTimeout(2 * sendTimeout), // the context ends first, and says why
		gomail.WithTLSConfig(s.tls),
		gomail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return conn, nil }),
		gomail.WithoutNoop(),
		gomail.WithoutRset(),
	}
	if s.hello != "" {
		opts = append(opts, gomail.WithHELO(s.hello))
	}
	if s.email.Security() == spec.TLSStart {
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	} else {
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS)) // the connection is as it should be
	}
	if s.email.Security() == spec.TLSNone {
		return append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthNoAuth))
	}
	return append(opts, gomail.WithSMTPAuthCustom(&credentials{host: s.email.Host, user: s.user, password: s.password}))
}
