package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

const rawMatch = `{"EVM":{
	"logs":[],
	"matched_on":{"events":[{"expression":null,"signature":"Moved(address,uint256)"}],"functions":[],"transactions":[{"expression":null,"status":"Success"}]},
	"matched_on_args":{"events":[{"args":[{"indexed":true,"kind":"address","name":"who","value":"0x01"},{"indexed":false,"kind":"uint256","name":"value","value":"7"}],"hex_signature":"0xff","signature":"Moved(address,uint256)"}],"functions":null},
	"monitor":{"name":"Moves"},
	"network_slug":"devnet",
	"receipt":null,
	"transaction":{"hash":"0xaa","blockNumber":"0x10","blockHash":"0xbb","from":"0x02","to":null}}}`

// request is what ozmo sends for a match.
func request(t *testing.T, secret, match string, key byte) *http.Request {
	t.Helper()
	hook := &spec.Webhook{URL: spec.Plain("http://127.0.0.1:1" + alertsPath + "acme"), PayloadMode: spec.PayloadRaw}
	if secret != "" {
		s := spec.Plain(secret)
		hook.Secret = &s
	}
	built, err := webhook.Build(&notify.Notification{
		Alert:   &alert.Alert{Tenant: "acme", State: alert.Fired, Match: json.RawMessage(match)},
		Key:     alert.Key{key},
		Trigger: &spec.Trigger{Name: "receiver", Type: spec.TriggerWebhook, Webhook: hook},
		Attempt: 1, Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(built.Method, built.URL, strings.NewReader(string(built.Body)))
	maps.Copy(r.Header, built.Header)
	return r
}

func TestReceiver(t *testing.T) {
	r := newReceiver("s3cret")
	began := time.Now()
	for _, tc := range []struct {
		name    string
		request *http.Request
		status  int
		want    receiverCount
	}{
		{"an alert", request(t, "s3cret", rawMatch, 1), http.StatusNoContent, receiverCount{alerts: 1}},
		{"again", request(t, "s3cret", rawMatch, 1), http.StatusNoContent, receiverCount{alerts: 1, repeated: 1}},
		{"another", request(t, "s3cret", rawMatch, 2), http.StatusNoContent, receiverCount{alerts: 2, repeated: 1}},
		{"another secret", request(t, "secret", rawMatch, 3), http.StatusUnauthorized, receiverCount{alerts: 2, repeated: 1, refused: 1}},
		{"no signature", request(t, "", rawMatch, 4), http.StatusUnauthorized, receiverCount{alerts: 2, repeated: 1, refused: 2}},
		{"signed, but no match", request(t, "s3cret", `{"Stellar":{}}`, 5), http.StatusUnprocessableEntity, receiverCount{alerts: 2, repeated: 1, refused: 3}},
		{"one more", request(t, "secret", rawMatch, 6), http.StatusUnauthorized, receiverCount{alerts: 2, repeated: 1, refused: 4}},
		{"no POST", httptest.NewRequest(http.MethodGet, alertsPath+"acme", nil), http.StatusMethodNotAllowed, receiverCount{alerts: 2, repeated: 1, refused: 4}},
		{"no tenant", httptest.NewRequest(http.MethodPost, alertsPath, nil), http.StatusNotFound, receiverCount{alerts: 2, repeated: 1, refused: 4}},
	} {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, tc.request)
		got, reasons := r.counts()
		if w.Code != tc.status || got != tc.want || len(reasons) != min(got.refused, keepRefused) {
			t.Errorf("%s: status %d, counted %+v with %d reasons; want %d, %+v", tc.name, w.Code, got, len(reasons), tc.status, tc.want)
		}
	}
	want := receipt{
		State: "fired", Tenant: "acme", Monitor: "Moves", Network: "devnet", Height: 16, BlockHash: "0xbb", Transaction: "0xaa",
		Status: "Success", From: "0x02",
		Calls: []receivedCall{{Signature: "Moved(address,uint256)", Args: []receivedArg{{"who", "0x01"}, {"value", "7"}}}},
	}
	select {
	case <-r.wake:
	default:
		t.Error("nobody was woken")
	}
	got := r.take()
	if diff := cmp.Diff([]receipt{want, want}, got, cmpopts.IgnoreFields(receipt{}, "Key", "At")); diff != "" {
		t.Fatalf("received (-want +got):\n%s", diff)
	}
	if got[0].Key == got[1].Key || got[0].At.Before(began) || len(r.take()) != 0 {
		t.Errorf("keys %q and %q, at %v; %d left", got[0].Key, got[1].Key, got[0].At, len(r.take()))
	}
}

func TestReceiverStops(t *testing.T) {
	r, err := startReceiver("s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if resp, err := http.Post(r.url+"acme", "application/json", http.NoBody); err == nil {
		resp.Body.Close()
		t.Error("it still answers")
	}
}

func FuzzReadReceipt(f *testing.F) {
	f.Add("key", rawMatch)
	f.Add("", rawMatch)
	f.Add("key", `{"EVM":{"transaction":{"blockNumber":"0x"}}}`)
	f.Add("key", `{"EVM":{"monitor":{"name":"m"},"transaction":{"hash":"0x1","blockNumber":"12"}}}`)
	f.Add("key", `[]`)
	f.Fuzz(func(t *testing.T, key, body string) {
		h := http.Header{}
		h.Set("Idempotency-Key", key)
		r, err := readReceipt(h, "acme", []byte(body), time.Now())
		if err == nil && (r.Key == "" || r.Monitor == "" || r.Transaction == "" || r.Tenant != "acme") {
			t.Errorf("a receipt without its names: %+v", r)
		}
	})
}
