package telegram

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "12345678:abcdefghijklmnopqrstuvwxyzABCDEFGHI"

func notification() *notify.Notification {
	return &notify.Notification{
		Alert: &alert.Alert{
			ID: alert.ID{0xaa}, Tenant: "acme", State: alert.Fired, Position: 9,
			Variables: map[string]string{"v": "a_b_c"},
		},
		Key: alert.Key{1},
		Trigger: &spec.Trigger{Name: "ops", Type: spec.TriggerTelegram, Telegram: &spec.Telegram{
			Token: spec.Plain(token), ChatID: "-100", DisableWebPreview: true,
			Message: spec.Message{Title: "Large!", Body: "*Seen* ${v}"},
		}},
		Attempt: 1,
	}
}

func TestSend(t *testing.T) {
	var body string
	status, answer := http.StatusOK, `{"ok":true}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/bot"+token+"/sendMessage" || r.Header.Get("Ozmo-Position") != "9" {
			t.Errorf("%s %s, %v", r.Method, r.URL, err)
		}
		body = string(data)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	c := New(notify.NewHTTP(client), Options{BaseURL: server.URL})

	n := notification()
	if res, err := c.Send(t.Context(), n); err != nil || res.Status != http.StatusOK {
		t.Fatalf("%+v, %v", res, err)
	}
	want := `{"chat_id":"-100","disable_web_page_preview":true,"parse_mode":"MarkdownV2","text":"*Large\\!* \n\n*Seen* a\\_b\\_c"}`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	n.Alert.State = alert.Reinstated
	if _, err := c.Send(t.Context(), n); err != nil || !strings.Contains(body, `*Reinstated: Large\\!*`) {
		t.Errorf("%v, body %s", err, body)
	}

	for _, tc := range []struct {
		status    int
		answer    string
		permanent bool
		wait      time.Duration
		text      string
	}{
		{400, `{"ok":false,"description":"Bad Request: can't parse entities"}`, true, 0, "400"},
		{404, `{"ok":false}`, true, 0, "the bot token is not known"},
		{429, `{"ok":false,"parameters":{"retry_after":35}}`, false, 35 * time.Second, "429"},
		{429, `{"ok":false,"parameters":{"retry_after":4000000000}}`, false, 7 * 24 * time.Hour, "429"},
		{429, `slow down`, false, 0, "429"},
		{502, ``, false, 0, "502"},
	} {
		status, answer = tc.status, tc.answer
		res, err := c.Send(t.Context(), n)
		if !errors.Is(err, notify.ErrRefused) || res.Permanent != tc.permanent || res.RetryAfter != tc.wait || !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "abcdef") {
			t.Errorf("%d %s: %+v, %v", tc.status, tc.answer, res, err)
		}
	}
}

func TestWhatCannotBeSentIsRefusedBeforeAnyRequest(t *testing.T) {
	c := New(notify.NewHTTP(nil), Options{})
	n := notification()
	n.Trigger.Telegram.Token = spec.Secret{Type: spec.SecretSealed, Value: "v4lue"}
	res, err := c.Send(t.Context(), n)
	if !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent || strings.Contains(err.Error(), "v4lue") || !strings.Contains(err.Error(), "token") {
		t.Errorf("%+v, %v", res, err)
	}
	n.Trigger.Telegram = nil
	if res, err := c.Send(t.Context(), n); !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent {
		t.Errorf("%+v, %v", res, err)
	}
}
