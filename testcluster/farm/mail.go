package farm

import (
	"errors"
	"hash/maphash"
	"io"
	"log/slog"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mail is SMTP with STARTTLS. Any user name and password will do.
type mail struct{}

func (mail) url(host, port string) string { return "smtp://" + net.JoinHostPort(host, port) }

func (mail) serve(r *Receiver, l net.Listener) (stop func(), served <-chan struct{}) {
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{r: r, conn: c}, nil }))
	s.Domain, s.TLSConfig, s.MaxMessageBytes = r.farm.opts.Host, r.farm.config(r), bodyLimit
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			r.farm.ledger.fail("receiver %s: %w", r.Name, err)
		}
	}()
	return func() {
		_ = s.Close() // what is closed already is no news
		_ = l.Close() // which Serve may not have got to know yet
	}, done
}

// session is one connection of a sender of mail.
type session struct {
	r    *Receiver
	conn *smtp.Conn
}

// AuthMechanisms implements smtp.AuthSession.
func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (*session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
}

// Mail implements smtp.Session.
func (*session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt implements smtp.Session.
func (*session) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Reset implements smtp.Session.
func (*session) Reset() {}

// Logout implements smtp.Session.
func (*session) Logout() error { return nil }

// Data takes one message, or does what the receiver's fault says.
func (s *session) Data(body io.Reader) error {
	s.r.handled.Add(1)
	defer s.r.handled.Done()
	fault, changed := s.r.now()
	if fault.Kind == Reset {
		return s.cut(true)
	}
	d, err := readMail(s.r.Name, s.conn.Conn().RemoteAddr().String(), body)
	if err != nil {
		s.r.farm.ledger.fail("receiver %s: %w", s.r.Name, err)
		return refusal(554, err.Error())
	}
	if times := s.r.farm.ledger.note(s.r.Name, d.Key, d.At); fault.perKey() && times > fault.Times {
		fault = Fault{}
	}
	switch fault.Kind {
	case TooMany, Broken:
		return refusal(451, "out of order")
	case Gone, NotFound:
		return refusal(550, "no such user")
	case Garbage:
		_, _ = s.conn.Conn().Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) // it is to fail at the sender's end
		return s.cut(false)
	case Hang, Loris:
		select {
		case <-changed:
		case <-s.r.done:
		}
		return s.cut(false)
	case Slow:
		if !s.r.pause(fault.After, nil) {
			return s.cut(false)
		}
	default:
	}
	d.At = time.Now()
	s.r.farm.ledger.take(d)
	return nil
}

// cut ends the connection in the middle of the conversation.
func (s *session) cut(hard bool) error {
	c := s.conn.Conn()
	if tcp, ok := c.(*net.TCPConn); ok && hard {
		_ = tcp.SetLinger(0) // what comes is a reset, not an end
	}
	return errors.Join(smtp.ErrDataReset, c.Close())
}

func refusal(code int, text string) error { return &smtp.SMTPError{Code: code, Message: text} }

// readMail takes a message apart. Its words are not compared: they hold the time
// and boundaries of chance; the subject is.
func readMail(receiver, from string, r io.Reader) (Delivery, error) {
	m, err := netmail.ReadMessage(r)
	if err != nil {
		return Delivery{}, err
	}
	if _, err := io.Copy(io.Discard, m.Body); err != nil {
		return Delivery{}, err
	}
	h := m.Header
	d := Delivery{
		Receiver: receiver, From: from, At: time.Now(), Body: maphash.String(seed, h.Get("Subject")),
		Alert: h.Get("X-Ozmo-Alert-Id"), State: h.Get("X-Ozmo-Alert-State"),
	}
	d.Key, _, _ = strings.Cut(strings.Trim(h.Get("Message-Id"), "<>"), "@") // a message is named after its delivery
	if d.Key == "" || d.Alert == "" || d.State == "" {
		return d, errors.New("the message names no delivery, alert or state")
	}
	d.Position, err = strconv.ParseUint(h.Get("X-Ozmo-Position"), 10, 64)
	return d, err
}
