package node

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

func hook(address string, change func(*spec.Webhook)) *spec.Trigger {
	signing, header := spec.Plain("signing s3cret"), spec.Plain("header s3cret")
	w := &spec.Webhook{
		URL: spec.Plain(address + "/path-s3cret?key=query-s3cret"), Method: "POST", Secret: &signing, PayloadMode: spec.PayloadTemplate,
		Headers: map[string]*spec.Secret{"X-Token": &header}, Message: &spec.Message{Title: "Large", Body: "${monitor.name}: ${events.0.args.value} of ${typo}"},
	}
	if change != nil {
		change(w)
	}
	return &spec.Trigger{Name: "Ops", Type: spec.TriggerWebhook, Webhook: w}
}

func trySender() *notify.Sender {
	client := notify.NewHTTPClient(nil, nil)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return notify.NewSender(notify.SenderOptions{Channels: notify.Channels{spec.TriggerWebhook: webhook.New(notify.NewHTTP(client))}})
}

// What is shown is what was sent, without its secrets.
func TestTriggerTestShowsBothSides(t *testing.T) {
	for _, tc := range []struct {
		status int
		ok     bool
	}{{http.StatusAccepted, true}, {http.StatusForbidden, false}, {http.StatusServiceUnavailable, false}} {
		requests := 0
		var got *http.Request
		var body []byte
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			got = r
			body, _ = io.ReadAll(r.Body)
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, "thanks for "+r.Header.Get("X-Token")+" at "+r.URL.Path)
		}))
		trigger := hook(server.URL, func(w *spec.Webhook) { w.Method = "PUT" })
		before := *trigger.Webhook
		out, err := TryTrigger(t.Context(), trySender(), TriggerTrial{Tenant: "acme", ID: "ops", Trigger: trigger, State: "retracted"})
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		if requests != 1 {
			t.Errorf("%d: %d requests, want one attempt", tc.status, requests)
		}
		if out.OK != tc.ok || out.Status != tc.status || (out.Error == "") != tc.ok || !strings.Contains(out.Excerpt, "thanks for") {
			t.Errorf("%+v", out)
		}
		if out.Request == nil || out.Request.Method != "PUT" || out.Request.URL != server.URL || out.Request.Body != string(body) {
			t.Errorf("%+v, want the body %s", out.Request, body)
		}
		for name, values := range out.Request.Header {
			if name != "X-Token" && got.Header.Get(name) != values[0] {
				t.Errorf("header %s: %v was shown, %q was sent", name, values, got.Header.Get(name))
			}
		}
		if err := webhook.Verify(got.Header, body, "signing s3cret", time.Minute); err != nil {
			t.Error(err)
		}
		if got.Header.Get("Ozmo-Alert-State") != "retracted" || !strings.Contains(string(body), "[sample] Large") || !strings.Contains(string(body), "${typo}") {
			t.Errorf("%v: %s", got.Header, body)
		}
		shown, err := json.Marshal(out)
		if err != nil || bytes.Contains(shown, []byte("s3cret")) {
			t.Errorf("%v: a secret is shown: %s", err, shown)
		}
		if trigger.Webhook.Message.Title != "Large" || trigger.Webhook.Message != before.Message {
			t.Error("the trigger was changed")
		}
	}
}

func TestTriggerTestOfEveryChannel(t *testing.T) {
	message := spec.Message{Title: "Large", Body: "${monitor.name}"}
	secret := spec.Plain("s3cret-token")
	for _, tc := range []struct {
		trigger *spec.Trigger
		url     string
		says    string
	}{
		{hook("https://h.example", nil), "https://h.example", "[sample] Large"},
		{hook("https://h.example", func(w *spec.Webhook) { w.PayloadMode, w.Message = spec.PayloadRaw, nil }), "https://h.example", `"name":"[sample] sample"`},
		{&spec.Trigger{Type: spec.TriggerSlack, Slack: &spec.Slack{URL: spec.Plain("https://hooks.slack.com/s3cret-token"), Message: message}}, "https://hooks.slack.com", "sample"},
		{&spec.Trigger{Type: spec.TriggerDiscord, Discord: &spec.Discord{URL: spec.Plain("https://discord.com/api/webhooks/s3cret-token"), Message: message}}, "https://discord.com", "sample"},
		{&spec.Trigger{Type: spec.TriggerTelegram, Telegram: &spec.Telegram{Token: secret, ChatID: "7", Message: message}}, "https://api.telegram.org", "sample"},
		{&spec.Trigger{Type: spec.TriggerPagerDuty, PagerDuty: &spec.PagerDuty{
			RoutingKey: secret, Severity: spec.PagerDutyCritical, Message: message, URL: spec.DefaultPagerDutyURL,
		}}, "https://events.pagerduty.com", "[secret]"},
		{&spec.Trigger{Type: spec.TriggerEmail, Email: &spec.Email{
			Host: "smtp.example", Port: 465, Username: spec.Plain("user"), Password: secret, Message: message, Sender: "a@example.org", Recipients: []string{"b@example.org"},
		}}, "smtp://smtp.example:465", "sample"},
		{&spec.Trigger{Type: spec.TriggerConsole}, "console", "[sample] sample"},
	} {
		for _, state := range alert.States {
			out, err := TryTrigger(t.Context(), nil, TriggerTrial{Tenant: "acme", ID: "ops", Trigger: tc.trigger, State: state.String(), DryRun: true})
			if err != nil || !out.OK || !out.DryRun || out.Request == nil {
				t.Errorf("%s, %s: %v: %+v", tc.trigger.Type, state, err, out)
				continue
			}
			if out.Request.URL != tc.url || !strings.Contains(out.Request.Body, tc.says) {
				t.Errorf("%s, %s: %+v", tc.trigger.Type, state, out.Request)
			}
			if shown, err := json.Marshal(out); err != nil || bytes.Contains(shown, []byte("s3cret")) {
				t.Errorf("%v: a secret is shown: %s", err, shown)
			}
		}
	}
}

func TestTriggerTestThatCannotBegin(t *testing.T) {
	if _, err := TryTrigger(t.Context(), nil, TriggerTrial{Trigger: hook("https://h.example", nil), State: "burnt"}); err == nil || !strings.Contains(err.Error(), "burnt") {
		t.Errorf("%v", err)
	}
	empty := spec.Plain("")
	out, err := TryTrigger(t.Context(), nil, TriggerTrial{Trigger: hook("https://h.example", func(w *spec.Webhook) { w.Secret = &empty })})
	if err != nil || out.OK || !strings.Contains(out.Error, "secret is empty") {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = TryTrigger(t.Context(), nil, TriggerTrial{Trigger: &spec.Trigger{Type: spec.TriggerScript, Script: &spec.Script{}}})
	if err != nil || out.OK || !strings.Contains(out.Error, "no channel") {
		t.Errorf("%+v, %v", out, err)
	}
}

// A sample of a monitor has what that monitor's messages name.
func TestSampleOfAMonitor(t *testing.T) {
	m := &spec.Monitor{
		Name: "Swaps", Networks: []string{"base"}, Triggers: []string{"ops"},
		Addresses: []spec.Address{{Address: sampleTo, SpecChain: spec.EVM, ContractSpec: json.RawMessage(`[
			{"type":"function","name":"swap","inputs":[{"name":"path","type":"tuple"},{"name":"deadline","type":"uint32"},{"name":"ok","type":"bool"}]},
			{"type":"event","name":"Swap","inputs":[{"name":"sender","type":"address","indexed":true},{"name":"note","type":"string"}]}]`)}},
		ChainConfigurations: []spec.ChainConfiguration{{Midnight: &spec.MidnightConfiguration{ViewingKeys: []spec.Secret{spec.Plain("s3cret")}}}},
	}
	m.Match.Functions = []spec.Signature{{Signature: "swap((address,uint256),uint32,bool)"}}
	m.Match.Events = []spec.Signature{{Signature: "Swap(address,string)"}, {Signature: "Unknown(uint256, bytes32)"}}
	m.Match.Transactions = []spec.Transaction{{Status: spec.StatusAny}}
	a, err := sampleAlert("acme", m, alert.Fired, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"monitor.name": "[sample] Swaps", "transaction.hash": sampleTx, "functions.0.args.path": "[]", "functions.0.args.deadline": "42",
		"functions.0.args.ok": "true", "events.0.args.sender": sampleTo, "events.0.args.note": "sample", "events.1.args.0": sampleValue, "events.1.args.1": "0x5a5a",
	} {
		if got := a.Variables[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if a.NetworkSlug != "base" || bytes.Contains(a.Match, []byte("s3cret")) || !json.Valid(a.Match) {
		t.Errorf("%+v\n%s", a, a.Match)
	}
	again, err := sampleAlert("acme", m, alert.Retracted, time.Now())
	if err != nil || again.ID != a.ID || again.Position <= a.Position {
		t.Errorf("the retraction is of another alert: %+v, %v", again, err)
	}
}

func TestTriggerQueriesAreReadBack(t *testing.T) {
	q := api.TriggerTest{Tenant: "a", Trigger: "b&c", State: "fired", Monitor: "m", DryRun: true}
	if got, err := api.ReadTriggerTest(q.Query()); err != nil || got != q {
		t.Errorf("%+v, %v", got, err)
	}
	r := api.Replay{Tenant: "a", Monitor: "b c", Network: "n", From: 1, To: 9, Send: true, IncludeUnknown: true}
	if got, err := api.ReadReplay(r.Query()); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	for _, missing := range []string{"tenant", "monitor", "network", "from", "to"} {
		bad := r.Query()
		bad.Del(missing)
		if _, err := api.ReadReplay(bad); err == nil {
			t.Errorf("without %s", missing)
		}
	}
}
