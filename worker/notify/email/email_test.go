package email

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestSend(t *testing.T) {
	for _, tc := range []struct {
		name string
		box  *mailbox
		port uint16
		tls  string
		open bool // without TLS and credentials
	}{
		{"implicit TLS", &mailbox{implicit: true}, 465, "", false},
		{"STARTTLS", &mailbox{}, 587, "", false},
		{"STARTTLS on 25", &mailbox{}, 25, "", false},
		{"implicit TLS elsewhere", &mailbox{implicit: true}, 2465, spec.TLSImplicit, false},
		{"LOGIN", &mailbox{ways: []string{sasl.Login}}, 587, "", false},
		{"no TLS", &mailbox{noTLS: true}, 25, spec.TLSNone, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			box := tc.box
			n := notification()
			n.Trigger.Email.Port, n.Trigger.Email.TLS = tc.port, tc.tls
			want := received{from: "robot@example.com", user: user, to: []string{"a@example.com", "b@example.org"}}
			if tc.open {
				n.Trigger.Email.Username, n.Trigger.Email.Password = spec.Secret{}, spec.Secret{}
				want.user = ""
			}
			c := channel(box.listen(t))
			res, err := c.Send(t.Context(), n)
			if err != nil || res.Status != 250 || res.Permanent || !strings.Contains(res.Excerpt, "OK") {
				t.Fatalf("%+v, %v", res, err)
			}
			got := box.got()
			if len(got) != 1 {
				t.Fatalf("%d mails", len(got))
			}
			content := got[0].content
			got[0].content = ""
			if diff := cmp.Diff(want, got[0], cmp.AllowUnexported(received{})); diff != "" {
				t.Error(diff)
			}
			checkMail(t, content)
		})
	}
}

func checkMail(t *testing.T, content string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From":               `"Robot" <robot@example.com>`,
		"Reply-To":           `"Robot" <robot@example.com>`,
		"To":                 "<a@example.com>, <b@example.org>",
		"Subject":            "Large <1> *x*",
		"Content-Type":       "text/html; charset=UTF-8",
		"Date":               "Sun, 01 Mar 2026 12:00:00 +0000",
		"Message-Id":         "<01020000000000000000000000000000@example.com>",
		"Mime-Version":       "1.0",
		"User-Agent":         "ozmo",
		"X-Mailer":           "",
		"X-Ozmo-Alert-Id":    "aa000000000000000000000000000000",
		"X-Ozmo-Alert-State": "fired",
		"X-Ozmo-Position":    "9",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(body)), "<p><strong>Sent</strong> &lt;1&gt; *x*</p>"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

// Attempts are the same byte for byte: a mailbox that gets a mail twice can tell.
func TestAttemptsAreIdentical(t *testing.T) {
	n := notification()
	write := func() string {
		m, err := Message(n, n.Trigger.Email)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := write()
	n.Attempt = 3
	if diff := cmp.Diff(first, write()); diff != "" {
		t.Error(diff)
	}
}

// Nothing that a variable holds begins a header.
func FuzzHeaders(f *testing.F) {
	f.Add("x\r\nBcc: evil@example.com\r\n\r\nbody")
	f.Add("\n\u2028\x00=?utf-8?q?x?= " + strings.Repeat("é", 500))
	f.Add(strings.Repeat("a", 2000))
	names := func(content string) (names []string, m *mail.Message) {
		m, err := mail.ReadMessage(strings.NewReader(content))
		if err != nil {
			f.Fatal(err)
		}
		for name := range m.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, m
	}
	write := func(value string) string {
		n := notification()
		n.Alert.Variables["v"] = value
		m, err := Message(n, n.Trigger.Email)
		if err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		if _, err := m.WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		return b.String()
	}
	want, _ := names(write("x"))
	f.Fuzz(func(t *testing.T, value string) {
		content := write(value)
		got, m := names(content)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("headers (-want +got):\n%s", diff)
		}
		if to := m.Header.Get("To"); to != "<a@example.com>, <b@example.org>" {
			t.Fatalf("To: %q", to)
		}
		for line := range strings.SplitSeq(content, "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("line %q", line)
			}
		}
	})
}

func TestRetractionSaysSo(t *testing.T) {
	n := notification()
	n.Alert.State = alert.Retracted
	m, err := Message(n, n.Trigger.Email)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.GetGenHeader("Subject"); len(got) != 1 || got[0] != "Retracted: Large <1> *x*" {
		t.Errorf("subject %q", got)
	}
}

// What the server replies decides; the reply is shown, without secrets.
func TestRefusals(t *testing.T) {
	echoed := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	for _, tc := range []struct {
		name      string
		box       *mailbox
		status    int
		permanent bool
		excerpt   string
	}{
		{"auth", &mailbox{auth: &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "bad " + password + " " + echoed}}, 535, true, "5.7.8 bad [secret] [secret]"},
		{"auth for now", &mailbox{auth: &smtp.SMTPError{Code: 454, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "later"}}, 454, false, "4.7.0 later"},
		{"sender", &mailbox{mail: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 0}, Message: "no such sender"}}, 550, true, "5.1.0 no such sender"},
		{"greylisted", &mailbox{rcpt: &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}}, 451, false, "4.7.1 greylisted"},
		{"recipient", &mailbox{rcpt: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}}, 550, true, "5.1.1 no such user"},
		{"content", &mailbox{data: &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "spam"}}, 554, true, "5.6.0 spam"},
		{"content for now", &mailbox{data: &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "full"}}, 452, false, "4.3.1 full"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			box := tc.box
			box.implicit = true
			res, err := channel(box.listen(t)).Send(t.Context(), notification())
			if !errors.Is(err, notify.ErrRefused) || res.Status != tc.status || res.Permanent != tc.permanent || res.Excerpt != tc.excerpt {
				t.Errorf("%+v, %v", res, err)
			}
			text := fmt.Sprint(err, res)
			if strings.Contains(text, password) || strings.Contains(text, echoed) {
				t.Errorf("a secret is shown: %s", text)
			}
			if !strings.Contains(err.Error(), "smtp://"+host+":465") {
				t.Errorf("error %q names no server", err)
			}
			if len(box.got()) != 0 {
				t.Error("the mail was taken all the same")
			}
		})
	}
}

// Recipients who are refused for good keep no mail from the others; while some are
// refused for now nobody gets it, or the next attempt would come twice to some.
func TestRefusedRecipients(t *testing.T) {
	never := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user " + password}
	later := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	for name, tc := range map[string]struct {
		refuses map[string]error
		to      []string // who gets it; none: nobody does
		status  int
		excerpt string
	}{
		"one for good":  {map[string]error{"a@example.com": never}, []string{"b@example.org"}, 250, "a@example.com was refused: 550 5.1.1 no such user [secret]\n"},
		"one for now":   {map[string]error{"a@example.com": later}, nil, 451, "greylisted"},
		"one and one":   {map[string]error{"a@example.com": never, "b@example.org": later}, nil, 451, "greylisted"},
		"all for good":  {map[string]error{"a@example.com": never, "b@example.org": never}, nil, 550, "no such user [secret]"},
		"one and other": {map[string]error{"a@example.com": later, "b@example.org": never}, nil, 451, "greylisted"},
	} {
		t.Run(name, func(t *testing.T) {
			box := &mailbox{implicit: true, refuses: tc.refuses}
			res, err := channel(box.listen(t)).Send(t.Context(), notification())
			if (err == nil) != (tc.to != nil) || res.Status != tc.status || res.Permanent != (tc.status == 550) || !strings.Contains(res.Excerpt, tc.excerpt) || strings.Contains(fmt.Sprint(res, err), password) {
				t.Errorf("%+v, %v", res, err)
			}
			var got []string
			for _, m := range box.got() {
				got = append(got, m.to...)
			}
			if !slices.Equal(got, tc.to) {
				t.Errorf("%v got it, want %v", got, tc.to)
			}
			if len(got) > 0 && strings.Contains(box.got()[0].content, "a@example.com") {
				t.Error("the mail says that it is for whom it was refused")
			}
		})
	}
}

// What is no reply of the server may pass, whatever it is.
func TestFailuresOfTheConnection(t *testing.T) {
	greet := func(c net.Conn, lines *bufio.Reader) {
		_, _ = io.WriteString(c, "220 hello\r\n")
		_, _ = lines.ReadString('\n')
	}
	for _, tc := range []struct {
		name string
		port uint16
		at   func(t *testing.T) string
		want string
	}{
		{"nobody listens", 465, func(*testing.T) string { return "127.0.0.1:1" }, "refused"},
		{"certificate not trusted", 465, func(t *testing.T) string { return (&mailbox{implicit: true}).listen(t) }, "certificate"},
		{"certificate not trusted after STARTTLS", 587, func(t *testing.T) string { return (&mailbox{}).listen(t) }, "certificate"},
		{"no STARTTLS", 587, func(t *testing.T) string { return (&mailbox{noTLS: true}).listen(t) }, "STARTTLS"},
		{"not TLS at all", 465, func(t *testing.T) string { return (&mailbox{noTLS: true}).listen(t) }, "TLS on port 465"},
		{"cut off at once", 587, func(t *testing.T) string { return script(t, func(net.Conn, *bufio.Reader) {}) }, "EOF"},
		{"cut off in the middle", 587, func(t *testing.T) string {
			return script(t, func(c net.Conn, lines *bufio.Reader) {
				greet(c, lines)
				_, _ = io.WriteString(c, "250-mail\r\n250-STA")
			})
		}, "EOF"},
		{"replies without end", 587, func(t *testing.T) string {
			return script(t, func(c net.Conn, lines *bufio.Reader) {
				greet(c, lines)
				for {
					if _, err := io.WriteString(c, "250-"+strings.Repeat("x", 500)+"\r\n"); err != nil {
						return
					}
				}
			})
		}, errTooLong.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := channel(tc.at(t))
			if strings.Contains(tc.name, "not trusted") {
				c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			n := notification()
			n.Trigger.Email.Port = tc.port
			res, err := c.Send(t.Context(), n)
			if err == nil || res.Permanent || res.Status != 0 || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%+v, %v; want %q", res, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// A server that has the mail and then dies has the mail.
func TestCutOffAfterAcceptance(t *testing.T) {
	at := script(t, func(c net.Conn, lines *bufio.Reader) {
		reply := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
		reply("220 hello")
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			switch {
			case strings.HasPrefix(line, "DATA"):
				reply("354 go on")
			case line == ".\r\n":
				reply("250 queued as 17")
				return
			case strings.HasPrefix(line, "EHLO"), strings.HasPrefix(line, "MAIL"), strings.HasPrefix(line, "RCPT"):
				reply("250 fine")
			}
		}
	})
	n := notification()
	e := n.Trigger.Email
	e.Port, e.TLS, e.Username, e.Password = 25, spec.TLSNone, spec.Secret{}, spec.Secret{}
	res, err := channel(at).Send(t.Context(), n)
	if err != nil || res.Status != 250 || res.Excerpt != "queued as 17" {
		t.Errorf("%+v, %v", res, err)
	}
}

// A server that does not answer is given up, and so is a caller's own context.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { // takes everything, says nothing
				_, _ = io.Copy(io.Discard, server)
				_ = server.Close()
			}()
			return client, nil
		}})
		for _, port := range []uint16{465, 587} {
			n := notification()
			n.Trigger.Email.Port = port
			began := time.Now()
			res, err := c.Send(t.Context(), n)
			if !errors.Is(err, notify.ErrTimeout) || res.Permanent || time.Since(began) != sendTimeout {
				t.Errorf("port %d: %+v, %v after %s", port, res, err, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if res, err := c.Send(ctx, n); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, notify.ErrTimeout) || res.Permanent {
				t.Errorf("port %d: %+v, %v", port, res, err)
			}
			cancel()
		}
	})
}

func TestWhatCannotBeSentIsRefusedBeforeAnyConnection(t *testing.T) {
	c := New(Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a connection was opened")
		return nil, io.EOF
	}})
	for name, change := range map[string]func(n *notify.Notification){
		"no settings":          func(n *notify.Notification) { n.Trigger.Email = nil },
		"unresolved user":      func(n *notify.Notification) { n.Trigger.Email.Username.Type = spec.SecretSealed },
		"unresolved pass":      func(n *notify.Notification) { n.Trigger.Email.Password.Type = spec.SecretEnvironment },
		"sender":               func(n *notify.Notification) { n.Trigger.Email.Sender = "nobody" },
		"recipient":            func(n *notify.Notification) { n.Trigger.Email.Recipients = []string{"a@b.example", "x\r\ny"} },
		"credentials in clear": func(n *notify.Notification) { n.Trigger.Email.TLS = spec.TLSNone },
	} {
		n := notification()
		change(n)
		res, err := c.Send(t.Context(), n)
		if !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

func TestForbiddenDestination(t *testing.T) {
	c := New(Options{Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" || address != host+":465" {
			t.Errorf("dials %s %s", network, address)
		}
		return nil, fmt.Errorf("10.0.0.1 is private: %w", notify.ErrForbidden)
	}})
	res, err := c.Send(t.Context(), notification())
	if !errors.Is(err, notify.ErrForbidden) || !res.Permanent {
		t.Errorf("%+v, %v", res, err)
	}
}
