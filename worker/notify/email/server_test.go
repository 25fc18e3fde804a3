package email

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host     = "mail.example.com"
	user     = "robot@example.com"
	password = "pa55word"
)

// mailbox is a mail server in this process, and what it does wrong.
type mailbox struct {
	implicit bool // TLS from the first byte
	noTLS    bool // STARTTLS is not offered
	ways     []string

	auth, mail, rcpt, data error            // answers other than success
	refuses                map[string]error // recipients
	before                 func()           // runs when the content has come

	mu    sync.Mutex
	mails []received
}

type received struct {
	from, user string
	to         []string
	content    string
}

func (m *mailbox) got() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mails
}

// visit is one connection to a mailbox.
type visit struct {
	box *mailbox
	received
}

// AuthMechanisms implements smtp.AuthSession.
func (v *visit) AuthMechanisms() []string { return v.box.ways }

// Auth implements smtp.AuthSession.
func (v *visit) Auth(way string) (sasl.Server, error) {
	check := func(u, p string) error {
		if v.box.auth != nil {
			return v.box.auth
		}
		if u != user || p != password {
			return smtp.ErrAuthFailed
		}
		v.user = u
		return nil
	}
	if way == sasl.Login {
		return &login{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, u, p string) error { return check(u, p) }), nil
}

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	v.from = from
	return v.box.mail
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := v.box.refuses[to]; err != nil {
		return err
	}
	v.to = append(v.to, to)
	return v.box.rcpt
}

func (v *visit) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if v.box.before != nil {
		v.box.before()
	}
	if v.box.data != nil {
		return v.box.data
	}
	v.content = string(content)
	v.box.mu.Lock()
	defer v.box.mu.Unlock()
	v.box.mails = append(v.box.mails, v.received)
	return nil
}

func (v *visit) Reset()        { v.to = nil }
func (v *visit) Logout() error { return nil }

// login is the server's side of AUTH LOGIN.
type login struct {
	check func(user, password string) error
	asked int
	user  string
}

func (l *login) Next(answer []byte) (challenge []byte, done bool, err error) {
	if answer == nil && l.asked == 0 {
		l.asked = 1
		return []byte("Username:"), false, nil
	}
	if l.user == "" {
		l.user = string(answer)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(answer))
}

// authority is a CA of the test's own, and a certificate for host.
var authority = sync.OnceValues(func() (*x509.CertPool, tls.Certificate) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	must(err)
	parsed, err := x509.ParseCertificate(der)
	must(err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// listen serves until the test ends; the address is what host resolves to.
func (m *mailbox) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if m.ways == nil {
		m.ways = []string{sasl.Plain}
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &visit{box: m}, nil }))
	s.Domain, s.AllowInsecureAuth, s.ErrorLog = host, true, silent{}
	_, cert := authority()
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	if !m.noTLS {
		s.TLSConfig = config
	}
	if m.implicit {
		l = tls.NewListener(l, config)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.Close(); wg.Wait() })
	return address
}

// silent is a log that nobody reads.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// script serves one connection by hand.
func script(t *testing.T, serve func(c net.Conn, lines *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c, bufio.NewReader(c))
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// channel connects to an address, whatever the trigger's host resolves to.
func channel(address string) *Channel {
	pool, _ := authority()
	return New(Options{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLS:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		Hello: "node.example.com",
	})
}

func notification() *notify.Notification {
	return &notify.Notification{
		Alert: &alert.Alert{
			ID: alert.ID{0xaa}, Tenant: "acme", State: alert.Fired, Position: 9, MonitorName: "Large",
			Variables: map[string]string{"v": "<1> *x*"},
		},
		Key: alert.Key{1, 2},
		Trigger: &spec.Trigger{Name: "ops", Type: spec.TriggerEmail, Email: &spec.Email{
			Host: host, Port: 465, Username: spec.Plain(user), Password: spec.Plain(password),
			Message: spec.Message{Title: "Large ${v}", Body: "**Sent** ${v}"},
			Sender:  "Robot <robot@example.com>", Recipients: []string{"a@example.com", "b@example.org"},
		}},
		Attempt: 1, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}
