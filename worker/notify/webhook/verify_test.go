package webhook

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := notification(spec.Webhook{Secret: secret("s3cret")})
		n.Time = time.Now()
		req, err := Build(n)
		if err != nil {
			t.Fatal(err)
		}
		with := func(change func(h http.Header)) http.Header {
			h := req.Header.Clone()
			change(h)
			return h
		}
		onlyPeer := func(h http.Header) { h.Del("Webhook-Signature") }
		onlyStandard := func(h http.Header) { h.Del("X-Signature") }
		for _, tc := range []struct {
			name      string
			header    http.Header
			body      string
			secret    string
			tolerance time.Duration
			want      error
		}{
			{"both", req.Header, templateBody, "s3cret", time.Minute, nil},
			{"the peer's alone", with(onlyPeer), templateBody, "s3cret", time.Minute, nil},
			{"standard alone", with(onlyStandard), templateBody, "s3cret", time.Minute, nil},
			{"one of several", with(func(h http.Header) { h.Set("Webhook-Signature", "v1,AAAA "+h.Get("Webhook-Signature")) }), templateBody, "s3cret", time.Minute, nil},
			{"none", with(func(h http.Header) { onlyPeer(h); onlyStandard(h) }), templateBody, "s3cret", time.Minute, ErrUnsigned},
			{"other body, both", req.Header, templateBody + " ", "s3cret", time.Minute, ErrBadSignature},
			{"other body, standard", with(onlyStandard), templateBody + " ", "s3cret", time.Minute, ErrBadSignature},
			{"other secret, peer's", with(onlyPeer), templateBody, "secret", time.Minute, ErrBadSignature},
			{"other secret, standard", with(onlyStandard), templateBody, "secret", time.Minute, ErrBadSignature},
			{"empty secret", req.Header, templateBody, "", time.Minute, ErrBadSignature},
			{"other time, peer's", with(func(h http.Header) { onlyPeer(h); h.Set("X-Timestamp", "1") }), templateBody, "s3cret", time.Minute, ErrBadSignature},
			{"other time, standard", with(func(h http.Header) { onlyStandard(h); h.Set("Webhook-Timestamp", "1") }), templateBody, "s3cret", time.Minute, ErrBadSignature},
			{"other id", with(func(h http.Header) { onlyStandard(h); h.Set("Webhook-Id", "1") }), templateBody, "s3cret", time.Minute, ErrBadSignature},
			{"one of two is wrong", with(func(h http.Header) { h.Set("X-Signature", strings.Repeat("0", 64)) }), templateBody, "s3cret", time.Minute, ErrBadSignature},
		} {
			if err := Verify(tc.header, []byte(tc.body), tc.secret, tc.tolerance); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
		}

		<-time.After(2 * time.Minute) // virtual
		for name, h := range map[string]http.Header{"peer's": with(onlyPeer), "standard": with(onlyStandard)} {
			body := []byte(templateBody)
			if err := Verify(h, body, "s3cret", time.Minute); !errors.Is(err, ErrStale) {
				t.Errorf("%s, too old: %v, want ErrStale", name, err)
			}
			if err := Verify(h, body, "s3cret", 3*time.Minute); err != nil {
				t.Errorf("%s, old: %v", name, err)
			}
			if err := Verify(h, body, "s3cret", 0); err != nil {
				t.Errorf("%s, without a look at the time: %v", name, err)
			}
		}
	})
}

func TestFutureAndBrokenTimesAreStale(t *testing.T) {
	body := []byte("{}")
	future := millis(time.Now().Add(time.Hour))
	for name, stamp := range map[string]string{"future": future, "no number": "now"} {
		h := http.Header{}
		h.Set("X-Timestamp", stamp)
		h.Set("X-Signature", sign("k", body, stamp))
		if err := Verify(h, body, "k", time.Minute); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v, want ErrStale", name, err)
		}
	}
}

func TestStandardKey(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"whsec_c3RhbmRhcmQga2V5": "standard key",
		"whsec_":                 "whsec_",
		"whsec_not base64":       "whsec_not base64",
	} {
		if got := string(standardKey(in)); got != want {
			t.Errorf("%q is the key %q, want %q", in, got, want)
		}
	}
}
