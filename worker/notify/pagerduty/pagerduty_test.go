package pagerduty

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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

const key = "0123456789abcdef0123456789abcdef"

func notification() *notify.Notification {
	return &notify.Notification{
		Alert: &alert.Alert{
			ID: alert.ID{0xaa}, Tenant: "acme", State: alert.Fired, Position: 9, MonitorName: "Large <transfers>",
			Network: "acme/mainnet", NetworkSlug: "mainnet", Tx: "0x1f",
			Block: fsm.BlockRef{Height: 7, Hash: fsm.Hash{0xbb}}, BlockTime: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
			Variables: map[string]string{"v": "a\nb"},
		},
		Key: alert.Key{1},
		Trigger: &spec.Trigger{Name: "ops", Type: spec.TriggerPagerDuty, PagerDuty: &spec.PagerDuty{
			RoutingKey: spec.Plain(key), Severity: spec.PagerDutyWarning, Message: spec.Message{Title: "Large ${v}", Body: "Seen ${v}"},
		}},
		Attempt: 1,
	}
}

const (
	incidentBody = `{"client":"ozmo","dedup_key":"aa000000000000000000000000000000","event_action":"trigger","payload":{"component":"Large <transfers>",` +
		`"custom_details":{"alert_id":"aa000000000000000000000000000000","block":"0xbb00000000000000000000000000000000000000000000000000000000000000","block_number":7,` +
		`"message":"Seen a\nb","monitor":"Large <transfers>","network":"acme/mainnet","state":"%s","tenant":"acme","transaction":"0x1f","variables":{"v":"a\nb"}},` +
		`"severity":"warning","source":"mainnet","summary":"%sLarge a b","timestamp":"2026-03-01T12:00:00Z"},"routing_key":"` + key + `"}`
	resolveBody = `{"dedup_key":"aa000000000000000000000000000000","event_action":"resolve","routing_key":"` + key + `"}`
)

// An alert that fires or comes back opens an incident, a retracted one
// resolves it: the same key says that it is the same.
func TestEvents(t *testing.T) {
	n := notification()
	for state, want := range map[alert.State]string{
		alert.Fired:      fmt.Sprintf(incidentBody, "fired", ""),
		alert.Reinstated: fmt.Sprintf(incidentBody, "reinstated", "Reinstated: "),
		alert.Confirmed:  fmt.Sprintf(incidentBody, "confirmed", "Confirmed: "),
		alert.Retracted:  resolveBody,
	} {
		n.Alert.State = state
		req, err := Build(n)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(req.Body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
		if req.URL != spec.DefaultPagerDutyURL || req.Method != http.MethodPost || req.Header.Get("Ozmo-Alert-State") != state.String() {
			t.Errorf("%+v", req)
		}
	}
}

func TestSend(t *testing.T) {
	var status int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(data) {
			t.Errorf("%q, %v", data, err)
		}
		w.WriteHeader(status)
		_, _ = w.Write(data)
	}))
	defer server.Close()
	client := notify.NewHTTPClient(nil, nil)
	defer client.CloseIdleConnections()
	c := New(notify.NewHTTP(client))
	n := notification()
	n.Trigger.PagerDuty.URL = server.URL
	for _, tc := range []struct {
		status          int
		sent, permanent bool
	}{{202, true, false}, {400, false, true}, {429, false, false}, {500, false, false}} {
		status = tc.status
		res, err := c.Send(t.Context(), n)
		if (err == nil) != tc.sent || res.Permanent != tc.permanent || res.Status != tc.status {
			t.Errorf("%d: %+v, %v", tc.status, res, err)
		}
		if strings.Contains(fmt.Sprint(res, err), key) || !strings.Contains(res.Excerpt, `"routing_key":"[secret]"`) {
			t.Errorf("the key is shown: %+v, %v", res, err)
		}
	}
}

func TestBounds(t *testing.T) {
	n := notification()
	n.Alert.Variables = map[string]string{"v": strings.Repeat("🚀", 5000)}
	for i := range 100 {
		n.Alert.Variables[fmt.Sprintf("w%03d", i)] = strings.Repeat("y", 10_000)
	}
	req, err := Build(n)
	if err != nil {
		t.Fatal(err)
	}
	if len(req.Body) > 512<<10 {
		t.Errorf("%d bytes, more than an event may have", len(req.Body))
	}
	var e event
	if err := json.Unmarshal(req.Body, &e); err != nil {
		t.Fatal(err)
	}
	d := e.Incident.CustomDetails
	if len(d.Variables)+d.LeftOut != 101 || d.LeftOut == 0 || d.Variables["w000"] == "" {
		t.Errorf("%d variables, %d left out", len(d.Variables), d.LeftOut)
	}
	if units := notify.Words(e.Incident.Summary).Units(); units > summaryLimit || units < summaryLimit-2 {
		t.Errorf("a summary of %d units", units)
	}
}

// Whatever stands in a variable, the event has the same keys.
func FuzzPayload(f *testing.F) {
	f.Add("\",\"event_action\":\"resolve")
	f.Add("\x00\xff\u2028\u202e")
	f.Fuzz(func(t *testing.T, value string) {
		n := notification()
		n.Alert.Variables["v"], n.Alert.MonitorName, n.Alert.Tx = value, value, value
		req, err := Build(n)
		if err != nil {
			t.Fatal(err)
		}
		var e event
		dec := json.NewDecoder(strings.NewReader(string(req.Body)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil || dec.More() {
			t.Fatalf("%s: %v", req.Body, err)
		}
		if strings.ContainsAny(string(req.Body), "\u202e\u2066") || strings.Contains(string(req.Body), `\u0000`) {
			t.Fatalf("what is not meant to be seen is left: %s", req.Body)
		}
		if e.Action != "trigger" || e.RoutingKey != key || len(e.Incident.CustomDetails.Variables) != 1 || strings.ContainsAny(e.Incident.Summary, "\n\x00") {
			t.Fatalf("%s", req.Body)
		}
	})
}

func TestWhatCannotBeSentIsRefusedBeforeAnyRequest(t *testing.T) {
	c := New(notify.NewHTTP(nil))
	n := notification()
	n.Trigger.PagerDuty.RoutingKey.Type = spec.SecretSealed
	if res, err := c.Send(t.Context(), n); !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent || strings.Contains(err.Error(), key) {
		t.Errorf("%+v, %v", res, err)
	}
	n.Trigger.PagerDuty = nil
	if res, err := c.Send(t.Context(), n); !errors.Is(err, notify.ErrMisconfigured) || !res.Permanent {
		t.Errorf("%+v, %v", res, err)
	}
}
