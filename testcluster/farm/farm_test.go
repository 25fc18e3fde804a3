package farm_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/smtp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o farm.Options) *farm.Farm {
	t.Helper()
	f, err := farm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func must(t *testing.T, r *farm.Receiver, err error) *farm.Receiver {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sender is a client of the farm's receivers.
type sender struct {
	t *testing.T
	c *http.Client
}

func newSender(t *testing.T, f *farm.Farm) *sender {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.Authority())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return &sender{t, &http.Client{Transport: tr, Timeout: 300 * time.Millisecond}}
}

// send sends a delivery. It tells the status and Retry-After, or the error.
func (s *sender) send(r *farm.Receiver, key, alert, state string, position int, body string) (status int, after string, err error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, r.URL(), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Webhook-Id": key, "Ozmo-Alert-Id": alert, "Ozmo-Alert-State": state, "Ozmo-Position": fmt.Sprint(position), "X-Timestamp": "1700000000000",
	} {
		req.Header.Set(name, value)
	}
	resp, err := s.c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), err
}

const body = `{"EVM":{"monitor":{"name":"m"},"transaction":{"hash":"0x1","blockHash":"0x2"}}}`

func TestFaults(t *testing.T) {
	f := open(t, farm.Options{})
	s := newSender(t, f)
	for _, tc := range []struct {
		fault  farm.Fault
		status int
		after  string
		err    error
	}{
		{fault: farm.Fault{Kind: farm.Refused}, err: syscall.ECONNREFUSED},
		{fault: farm.Fault{Kind: farm.Reset}, err: syscall.ECONNRESET},
		{fault: farm.Fault{Kind: farm.TooMany, After: time.Second}, status: 429, after: "1"},
		{fault: farm.Fault{Kind: farm.Broken}, status: 500},
		{fault: farm.Fault{Kind: farm.Gone}, status: 410},
		{fault: farm.Fault{Kind: farm.NotFound}, status: 404},
		{fault: farm.Fault{Kind: farm.Loris}},
		{fault: farm.Fault{Kind: farm.Garbage}},
		{fault: farm.Fault{Kind: farm.Hang}},
		{fault: farm.Fault{Kind: farm.BadTLS}},
		{fault: farm.Fault{Kind: farm.Slow, After: 5 * time.Millisecond}, status: 204},
	} {
		t.Run(tc.fault.Kind.String(), func(t *testing.T) {
			name := tc.fault.Kind.String()
			r, err := f.Webhook(name)
			if tc.fault.Kind == farm.BadTLS {
				r, err = f.SecureWebhook(name + "s")
			}
			must(t, r, err)
			if status, _, err := s.send(r, "k1", "a1", "fired", 1, body); err != nil || status != 204 {
				t.Fatalf("healthy: %d, %v", status, err)
			}
			if err := r.Set(tc.fault); err != nil {
				t.Fatal(err)
			}
			s.c.CloseIdleConnections() // what was cut while idle is another error
			before := f.Taken()
			status, after, err := s.send(r, "k2", "a1", "retracted", 2, body)
			switch {
			case tc.status != 0 && (err != nil || status != tc.status || after != tc.after):
				t.Errorf("%d, Retry-After %q, %v", status, after, err)
			case tc.status == 0 && (err == nil || tc.err != nil && !errors.Is(err, tc.err)):
				t.Errorf("%d, %v, want %v", status, err, tc.err)
			}
			if taken := f.Taken() - before; taken != 0 && tc.status != 204 {
				t.Errorf("%d deliveries were taken", taken)
			}
			if err := f.Heal(tc.fault.Kind); err != nil {
				t.Fatal(err)
			}
			if status, _, err := s.send(r, "k3", "a2", "fired", 3, body); err != nil || status != 204 {
				t.Errorf("healed: %d, %v", status, err)
			}
		})
	}
	if errs := f.Errors(); len(errs) > 0 || f.Hasty() > 0 {
		t.Errorf("%d hasty, %v", f.Hasty(), errs)
	}
}

// A fault may be for the first attempts of each key only, and whoever does not
// wait as long as he was told is noticed.
func TestFaultOfFirstAttempts(t *testing.T) {
	f := open(t, farm.Options{})
	s := newSender(t, f)
	r, err := f.Webhook("r")
	must(t, r, err)
	if err := r.Set(farm.Fault{Kind: farm.TooMany, After: time.Hour, Times: 1}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{429, 204} {
		if status, _, err := s.send(r, "k", "a", "fired", 1, body); err != nil || status != want {
			t.Errorf("attempt %d: %d, %v", i+1, status, err)
		}
	}
	if a := f.Attempts("r")["k"]; f.Hasty() != 1 || a.Times != 2 {
		t.Errorf("%d hasty, %+v", f.Hasty(), a)
	}
}

func TestUnsigned(t *testing.T) {
	f := open(t, farm.Options{Secret: "s"})
	s := newSender(t, f)
	r, err := f.Webhook("r")
	must(t, r, err)
	if status, _, err := s.send(r, "k", "a", "fired", 1, body); err != nil || status != 400 || len(f.Errors()) != 1 {
		t.Errorf("%d, %v, %v", status, err, f.Errors())
	}
}

func TestIdentity(t *testing.T) {
	d := func(key, state, block string, position, body uint64) farm.Delivery {
		return farm.Delivery{Receiver: "r", Alert: "a", Key: key, State: state, Block: block, Position: position, Body: body}
	}
	for name, tc := range map[string]struct {
		list []farm.Delivery
		want farm.Identity
	}{
		"fine": {[]farm.Delivery{d("1", "fired", "x", 1, 1), d("1", "fired", "x", 1, 1), d("2", "retracted", "x", 2, 2), d("3", "fired", "y", 3, 3)}, farm.Identity{Deliveries: 4, Unique: 3, Duplicates: 1}},
		// A replay says the same under the same key, whatever its position.
		"fired twice":     {[]farm.Delivery{d("1", "fired", "x", 1, 1), d("1", "fired", "x", 9, 1)}, farm.Identity{Deliveries: 2, Unique: 1, Duplicates: 1}},
		"two keys":        {[]farm.Delivery{d("1", "fired", "x", 1, 1), d("2", "fired", "x", 1, 1)}, farm.Identity{Deliveries: 2, Unique: 2, Wrong: 1}},
		"one key for two": {[]farm.Delivery{d("1", "retracted", "x", 1, 1), d("1", "retracted", "x", 5, 1)}, farm.Identity{Deliveries: 2, Unique: 1, Wrong: 1, Duplicates: 1}},
		"two bodies":      {[]farm.Delivery{d("1", "fired", "x", 1, 1), d("1", "fired", "x", 1, 2)}, farm.Identity{Deliveries: 2, Unique: 1, Wrong: 1, Duplicates: 1}},
	} {
		got := farm.CheckIdentity(tc.list)
		if len(got.Errors) != got.Wrong {
			t.Errorf("%s: %v", name, got.Errors)
		}
		if got.Errors = nil; fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
	final := farm.Final([]farm.Delivery{d("3", "fired", "y", 3, 3), d("2", "retracted", "x", 2, 2)})
	if len(final) != 1 || final["a"].Key != "3" {
		t.Errorf("%+v", final)
	}
}

func TestQuantile(t *testing.T) {
	list := []time.Duration{5, 1, 3, 2, 4}
	if farm.Quantile(list, 0.5) != 3 || farm.Quantile(list, 0.99) != 5 || farm.Quantile(list, 1) != 5 || farm.Quantile(nil, 0.5) != 0 {
		t.Errorf("%v: %v, %v", list, farm.Quantile(list, 0.5), farm.Quantile(list, 0.99))
	}
}

func TestMail(t *testing.T) {
	f := open(t, farm.Options{})
	r, err := f.Mail("r")
	must(t, r, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.Authority())
	send := func(key string) error {
		c, err := smtp.Dial(r.Host() + ":" + r.Port())
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.StartTLS(&tls.Config{RootCAs: pool, ServerName: r.Host()}); err != nil {
			return err
		}
		if err := errors.Join(c.Auth(smtp.PlainAuth("", "u", "p", r.Host())), c.Mail("a@example.org"), c.Rcpt("b@example.org")); err != nil {
			return err
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "Subject: s\r\nMessage-ID: <%s@ozmo>\r\nX-Ozmo-Alert-Id: a\r\nX-Ozmo-Alert-State: fired\r\nX-Ozmo-Position: 7\r\n\r\nhello\r\n", key)
		return w.Close()
	}
	if err := send("k1"); err != nil {
		t.Fatal(err)
	}
	if list := f.Deliveries(); len(list) != 1 || list[0].Key != "k1" || list[0].Position != 7 || list[0].Alert != "a" {
		t.Errorf("%+v", list)
	}
	for kind, want := range map[farm.Kind]string{
		farm.Broken: "451", farm.Gone: "550", farm.Reset: "", farm.Refused: "refused", farm.BadTLS: "certificate", farm.Garbage: "",
	} {
		if err := r.Set(farm.Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if err := send("k2"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", kind, err)
		}
	}
	if err := r.Set(farm.Fault{}); err != nil {
		t.Fatal(err)
	}
	if err := send("k2"); err != nil || f.Taken() != 2 {
		t.Errorf("%v, %d taken", err, f.Taken())
	}
	if errs := f.Errors(); len(errs) > 0 {
		t.Error(errs)
	}
}

// What each mode may end with, and what it may not.
func TestTruth(t *testing.T) {
	d := func(alert, state, block string, position uint64) farm.Delivery {
		return farm.Delivery{Receiver: "r", Alert: alert, State: state, Block: block, Position: position}
	}
	deep, young := farm.Canonical{Alert: "a", Block: "x", Above: 3}, farm.Canonical{Alert: "b", Block: "y"}
	for name, tc := range map[string]struct {
		mode   string
		depth  uint64
		list   []farm.Delivery
		errors int
	}{
		"fine":                     {"instant", 0, []farm.Delivery{d("a", "fired", "x", 1), d("b", "reinstated", "y", 9), d("b", "retracted", "z", 8)}, 0},
		"plain, fine":              {"", 3, []farm.Delivery{d("a", "fired", "x", 1), d("dead", "fired", "z", 2)}, 0},
		"missing":                  {"instant", 0, []farm.Delivery{d("a", "fired", "x", 1)}, 1},
		"not due yet":              {"confirmed", 3, []farm.Delivery{d("a", "fired", "x", 1)}, 0},
		"never retracted":          {"instant", 1, []farm.Delivery{d("a", "fired", "x", 1), d("dead", "fired", "z", 2)}, 1},
		"retracted for no reason":  {"instant", 1, []farm.Delivery{d("a", "fired", "x", 1), d("a", "retracted", "x", 2)}, 1},
		"in a dead block":          {"instant", 1, []farm.Delivery{d("a", "fired", "z", 1)}, 1},
		"plain, of a dead block":   {"", 1, []farm.Delivery{d("a", "fired", "z", 1)}, 1},
		"plain, retracted":         {"", 1, []farm.Delivery{d("a", "fired", "x", 1), d("dead", "retracted", "z", 2)}, 1},
		"both, confirmed":          {"both", 0, []farm.Delivery{d("a", "confirmed", "x", 4), d("a", "fired", "x", 1), d("b", "fired", "y", 4)}, 0},
		"both, never confirmed":    {"both", 1, []farm.Delivery{d("a", "fired", "x", 1)}, 1},
		"instant, never confirmed": {"instant", 1, []farm.Delivery{d("a", "confirmed", "x", 1)}, 1},
	} {
		truth := farm.Truth{Mode: tc.mode, Depth: tc.depth, Confirmed: 2, Alerts: []farm.Canonical{deep, young}}
		if errs := truth.Check(tc.list); len(errs) != tc.errors {
			t.Errorf("%s: %v, want %d", name, errs, tc.errors)
		}
	}
}
