package discord

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notification(address string) *notify.Notification {
	return &notify.Notification{
		Alert: &alert.Alert{
			ID: alert.ID{0xaa}, Tenant: "acme", State: alert.Fired, Position: 9,
			Variables: map[string]string{"v": "@everyone <b>"},
		},
		Key: alert.Key{1},
		Trigger: &spec.Trigger{Name: "ops", Type: spec.TriggerDiscord, Discord: &spec.Discord{
			URL: spec.Plain(address), Message: spec.Message{Title: "Large \"one\"", Body: "Seen ${v}"},
		}},
		Attempt: 1,
	}
}

func TestSend(t *testing.T) {
	var header http.Header
	var body string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/services/k3y-of-the-hook" {
			t.Errorf("%s %s, %v", r.Method, r.URL, err)
		}
		header, body = r.Header, string(data)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "said to "+r.URL.Path)
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	c := New(notify.NewHTTP(client))

	n := notification(server.URL + "/services/k3y-of-the-hook")
	res, err := c.Send(t.Context(), n)
	if err != nil || res.Status != http.StatusOK || res.Excerpt != "said to [secret]" {
		t.Fatalf("%+v, %v", res, err)
	}
	if diff := cmp.Diff(`{"content":"*Large \"one\"*\n\nSeen @`+"\u200b"+`everyone <b>"}`, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "ozmo", "Idempotency-Key": n.Key.String(),
		"Ozmo-Alert-Id": n.Alert.ID.String(), "Ozmo-Alert-State": "fired", "Ozmo-Position": "9",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}

	n.Alert.State, n.Alert.Position = alert.Retracted, 12
	if _, err := c.Send(t.Context(), n); err != nil || !strings.Contains(body, `*Retracted: Large \"one\"*`) || header.Get("Ozmo-Position") != "12" {
		t.Errorf("%v, body %s, header %v", err, body, header)
	}

	for code, permanent := range map[int]bool{http.StatusNotFound: true, http.StatusTooManyRequests: false, http.StatusInternalServerError: false} {
		status = code
		res, err := c.Send(t.Context(), n)
		if !errors.Is(err, notify.ErrRefused) || res.Permanent != permanent || strings.Contains(err.Error(), "k3y") {
			t.Errorf("%d: %+v, %v", code, res, err)
		}
	}
}

func TestWhatCannotBeSentIsRefusedBeforeAnyRequest(t *testing.T) {
	c := New(notify.NewHTTP(nil))
	n := notification("")
	n.Trigger.Discord.URL = spec.Secret{Type: spec.SecretSealed, Value: "v4lue"}
	res, err := c.Send(t.Context(), n)
	if !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent || strings.Contains(err.Error(), "v4lue") || !strings.Contains(err.Error(), "discord_url") {
		t.Errorf("%+v, %v", res, err)
	}
	n.Trigger.Discord = nil
	if res, err := c.Send(t.Context(), n); !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent {
		t.Errorf("%+v, %v", res, err)
	}
}
