package webhook

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var signedAt = time.UnixMilli(1_700_000_000_123)

func notification(hook spec.Webhook) *notify.Notification {
	if hook.Message == nil && hook.PayloadMode != spec.PayloadRaw {
		hook.Message = &spec.Message{Title: "Large", Body: `Sent <1 ETH> & "more" in ${transaction.hash}`}
	}
	if hook.URL.IsZero() {
		hook.URL = spec.Plain("https://h.example/k3y")
	}
	return &notify.Notification{
		Alert: &alert.Alert{
			ID: alert.ID{0xaa}, Tenant: "acme", State: alert.Fired,
			Block: fsm.BlockRef{Height: 1}, Position: 9,
			Variables: map[string]string{"transaction.hash": "0xab"},
			Match:     json.RawMessage(`{"EVM": {"logs": [], "args": "<\u003c>", "receipt": null}}`),
		},
		Key:     alert.Key{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Trigger: &spec.Trigger{Name: "ops", Type: spec.TriggerWebhook, Webhook: &hook},
		Attempt: 1,
		Time:    signedAt,
	}
}

func secret(value string) *spec.Secret {
	s := spec.Plain(value)
	return &s
}

// received is a request as it arrived.
type received struct {
	method, host string
	header       http.Header
	body         string
}

func receive(t *testing.T, n *notify.Notification) received {
	t.Helper()
	got := make(chan received, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Method, r.Host, r.Header, string(body)}
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	n.Trigger.Webhook.URL = spec.Plain(server.URL + "/k3y")
	res, err := New(notify.NewHTTP(client)).Send(t.Context(), n)
	if err != nil || res.Status != http.StatusOK {
		t.Fatalf("result %+v, error %v", res, err)
	}
	return <-got
}

const (
	templateBody = `{"body":"Sent <1 ETH> & \"more\" in 0xab","title":"Large"}`
	keyText      = "0102030405060708090a0b0c0d0e0f10"
)

func TestWhatArrives(t *testing.T) {
	standard := http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"ozmo"},
		"Idempotency-Key":   {keyText},
		"Webhook-Id":        {keyText},
		"Webhook-Timestamp": {"1700000000"},
		"Ozmo-Alert-Id":     {"aa" + strings.Repeat("0", 30)},
		"Ozmo-Alert-State":  {"fired"},
		"Ozmo-Position":     {"9"},
	}
	for _, tc := range []struct {
		name   string
		hook   spec.Webhook
		method string
		body   string
		header http.Header // beside or instead of the standard ones
	}{
		{"template", spec.Webhook{}, "POST", templateBody, nil},
		{"raw", spec.Webhook{PayloadMode: spec.PayloadRaw}, "POST", `{"EVM":{"args":"<<>","logs":[],"receipt":null}}`, nil},
		{"lower-case method", spec.Webhook{Method: "put"}, "PUT", templateBody, nil},
		{"GET has a body too", spec.Webhook{Method: "GET"}, "GET", templateBody, nil},
		{"DELETE has a body too", spec.Webhook{Method: "DELETE"}, "DELETE", templateBody, nil},
		{"signed", spec.Webhook{Secret: secret("s3cret")}, "POST", templateBody, http.Header{
			"X-Timestamp":       {"1700000000123"},
			"X-Signature":       {"5812dc2eeee0a0820adb961cce3a8b1375c5700192f4881be20f61913401cdaf"},
			"Webhook-Signature": {"v1,ZfEo3K8C7U8XWipDYSlFO4OdbnvLFifwUJSsIiMYAY4="},
		}},
		{"signed with a standard secret", spec.Webhook{Secret: secret("whsec_c3RhbmRhcmQga2V5")}, "POST", templateBody, http.Header{
			"X-Timestamp":       {"1700000000123"},
			"X-Signature":       {"e2cef82be73f346c1da41bb68434acdcc1ffdc6da1389a31a6fb0db4641c5d6b"},
			"Webhook-Signature": {"v1,S14/MLkXN0asfHCpXdr/XexlZNu2T9IIYGum2MUOHtc="},
		}},
		{"own headers win", spec.Webhook{Secret: secret("s3cret"), Headers: map[string]*spec.Secret{
			"content-type": secret("text/plain"), "x-SIGNATURE": secret("mine"), "Authorization": secret("Bearer t"), "WEBHOOK-SIGNATURE": secret("v1,x"),
		}}, "POST", templateBody, http.Header{
			"Content-Type":      {"text/plain"},
			"X-Timestamp":       {"1700000000123"},
			"X-Signature":       {"mine"},
			"Authorization":     {"Bearer t"},
			"Webhook-Signature": {"v1,x"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := receive(t, notification(tc.hook))
			if got.method != tc.method {
				t.Errorf("method %s, want %s", got.method, tc.method)
			}
			if diff := cmp.Diff(tc.body, got.body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			want := standard.Clone()
			maps.Copy(want, tc.header)
			got.header.Del("Content-Length")
			if diff := cmp.Diff(want, got.header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostHeader(t *testing.T) {
	n := notification(spec.Webhook{Headers: map[string]*spec.Secret{"host": secret("inner.example")}})
	if got := receive(t, n); got.host != "inner.example" {
		t.Errorf("host %q", got.host)
	}
}

// A raw body is the match object in every state; where that was not kept, what
// is known of the alert stands in its place.
func TestRawBodyOfARetraction(t *testing.T) {
	n := notification(spec.Webhook{PayloadMode: spec.PayloadRaw})
	n.Alert.State = alert.Retracted
	if got := receive(t, n); got.body != `{"EVM":{"args":"<<>","logs":[],"receipt":null}}` || got.header.Get("Ozmo-Alert-State") != "retracted" || got.header.Get("Ozmo-Position") != "9" {
		t.Errorf("headers %v, body %s", got.header, got.body)
	}
	n.Alert.Match, n.Alert.MonitorName, n.Alert.NetworkSlug, n.Alert.Tx = nil, `M"1`, "mainnet", "0x1f"
	want := `{"alert":{"block_hash":"0x0000000000000000000000000000000000000000000000000000000000000000","block_number":"1",` +
		`"id":"aa000000000000000000000000000000","monitor":"M\"1","network_slug":"mainnet","state":"retracted","transaction":"0x1f"}}`
	if got := receive(t, n); got.body != want {
		t.Errorf("body %s, want %s", got.body, want)
	}
}

func TestRetractionSaysSo(t *testing.T) {
	n := notification(spec.Webhook{})
	n.Alert.State = alert.Retracted
	got := receive(t, n)
	if got.header.Get("Ozmo-Alert-State") != "retracted" || !strings.Contains(got.body, `"title":"Retracted: Large"`) {
		t.Errorf("headers %v, body %s", got.header, got.body)
	}
}

// Attempts of one round are the same byte for byte, signature included.
func TestAttemptsAreIdentical(t *testing.T) {
	n := notification(spec.Webhook{Secret: secret("s3cret")})
	first, err := Build(n)
	if err != nil {
		t.Fatal(err)
	}
	n.Attempt = 4
	second, err := Build(n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("attempts differ:\n%s", diff)
	}
}

func TestWhatCannotBeSentIsRefusedBeforeAnyRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		hook spec.Webhook
		want string
	}{
		{"empty secret", spec.Webhook{Secret: secret("")}, "secret is empty"},
		{"header name", spec.Webhook{Headers: map[string]*spec.Secret{"X Key": secret("v")}}, `"X Key"`},
		{"empty header name", spec.Webhook{Headers: map[string]*spec.Secret{"": secret("v")}}, "header name"},
		{"header value", spec.Webhook{Headers: map[string]*spec.Secret{"X-Key": secret("v4lue\r\nX-Evil: 1")}}, `"X-Key"`},
		{"unresolved url", spec.Webhook{URL: spec.Secret{Type: spec.SecretEnvironment, Value: "v4lue"}}, "not resolved"},
		{"unresolved secret", spec.Webhook{Secret: &spec.Secret{Type: spec.SecretSealed, Value: "v4lue"}}, "not resolved"},
		{"unresolved header", spec.Webhook{Headers: map[string]*spec.Secret{"X-Key": {Type: spec.SecretSealed, Value: "v4lue"}}}, "headers.X-Key"},
		{"address", spec.Webhook{URL: spec.Plain("http://a b/v4lue")}, "invalid character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := New(notify.NewHTTP(nil)).Send(t.Context(), notification(tc.hook))
			if !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent {
				t.Fatalf("%+v, %v", res, err)
			}
			if text := err.Error(); !strings.Contains(text, tc.want) || strings.Contains(text, "v4lue") {
				t.Errorf("error %q, want %q and no secret", text, tc.want)
			}
		})
	}
	n := notification(spec.Webhook{PayloadMode: spec.PayloadRaw})
	n.Alert.Match = nil
	if _, err := Build(n); !errors.Is(err, notify.ErrMisconfigured) {
		t.Errorf("no match object: %v", err)
	}
	n = notification(spec.Webhook{})
	n.Trigger.Webhook.Message = nil
	if _, err := Build(n); !errors.Is(err, notify.ErrMisconfigured) {
		t.Errorf("no message: %v", err)
	}
	n.Trigger.Webhook = nil
	if _, err := Build(n); !errors.Is(err, notify.ErrMisconfigured) {
		t.Errorf("no webhook: %v", err)
	}
}

func TestEchoedSecretsAreHidden(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, r.Header.Get("Authorization")+" "+r.URL.Path+" s3cret")
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	n := notification(spec.Webhook{
		URL:     spec.Plain(server.URL + "/k3y"),
		Secret:  secret("s3cret"),
		Headers: map[string]*spec.Secret{"Authorization": secret("Bearer t0ken")},
	})
	res, err := New(notify.NewHTTP(client)).Send(t.Context(), n)
	if res.Excerpt != "[secret] [secret] [secret]" || !res.Permanent || err == nil || strings.Contains(err.Error(), "k3y") {
		t.Errorf("%+v, %v", res, err)
	}
}

// A receiver that recovers sees the same request again and again, and accepts
// it once.
func TestRetriesReachARecoveringReceiver(t *testing.T) {
	answers := []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusOK}
	var mu sync.Mutex
	var seen []received
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := Verify(r.Header, body, "s3cret", 0); err != nil {
			t.Error(err)
		}
		seen = append(seen, received{r.Method, r.Host, r.Header, string(body)})
		w.WriteHeader(answers[len(seen)-1])
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	n := notification(spec.Webhook{URL: spec.Plain(server.URL), Secret: secret("s3cret")})
	n.Trigger.Retry = spec.RetryPolicy{MaxRetries: 3, Base: 2, Initial: time.Millisecond, Max: time.Second, Jitter: spec.JitterFull}
	s := notify.NewSender(notify.SenderOptions{Channels: notify.Channels{spec.TriggerWebhook: New(notify.NewHTTP(client))}})
	res, err := s.Deliver(t.Context(), n)
	if err != nil || res.Status != http.StatusOK || len(seen) != len(answers) {
		t.Fatalf("%d requests, result %+v, error %v", len(seen), res, err)
	}
	for _, r := range seen[1:] {
		if diff := cmp.Diff(seen[0], r, cmp.AllowUnexported(received{})); diff != "" {
			t.Errorf("a retry differs:\n%s", diff)
		}
	}
}
