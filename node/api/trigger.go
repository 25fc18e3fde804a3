package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// TriggerTester sends samples.
type TriggerTester interface {
	TestTrigger(ctx context.Context, t TriggerTest) (*TriggerTested, error)
}

// TriggerTest asks for one sample alert to be sent through a trigger.
type TriggerTest struct {
	Tenant  string `json:"tenant"`
	Trigger string `json:"trigger"`           // id
	State   string `json:"state,omitempty"`   // of the alert; empty: fired
	Monitor string `json:"monitor,omitempty"` // id of the monitor that the sample is of; empty: none in particular
	DryRun  bool   `json:"dry_run,omitempty"` // nothing is sent
}

// Query is the request's form in a URL, where a node sees it that passes it on.
func (t TriggerTest) Query() url.Values {
	return url.Values{
		"tenant": {t.Tenant}, "trigger": {t.Trigger}, "state": {t.State}, "monitor": {t.Monitor}, "dry_run": {strconv.FormatBool(t.DryRun)},
	}
}

// ReadTriggerTest reads the form of Query; errors wrap ErrBadRequest.
func ReadTriggerTest(q url.Values) (TriggerTest, error) {
	t := TriggerTest{Tenant: q.Get("tenant"), Trigger: q.Get("trigger"), State: q.Get("state"), Monitor: q.Get("monitor")}
	if t.Tenant == "" || t.Trigger == "" {
		return t, fmt.Errorf("%w: tenant and trigger are required", ErrBadRequest)
	}
	if text := q.Get("dry_run"); text != "" {
		var err error
		if t.DryRun, err = strconv.ParseBool(text); err != nil {
			return t, fmt.Errorf("%w: dry_run=%q: want true or false", ErrBadRequest, text)
		}
	}
	return t, nil
}

// TriggerTested is what was sent, and what came of it. Nothing in it is secret.
type TriggerTested struct {
	Node        string `json:"node,omitempty"` // that sent it; empty: none, it was sent from here
	Tenant      string `json:"tenant,omitempty"`
	Trigger     string `json:"trigger"`
	Type        string `json:"type"`
	Destination string `json:"destination"` // scheme and host, or what stands for them
	Alert       string `json:"alert"`       // id
	Key         string `json:"key"`         // of the delivery
	State       string `json:"state"`

	Request *TestedRequest `json:"request,omitempty"` // nil: the channel makes none that can be shown
	DryRun  bool           `json:"dry_run"`

	OK        bool   `json:"ok"`
	Status    int    `json:"status,omitempty"` // of HTTP
	LatencyMS int64  `json:"latency_ms,omitempty"`
	Excerpt   string `json:"excerpt,omitempty"` // beginning of the answer
	Error     string `json:"error,omitempty"`
}

// TestedRequest is a request with its secrets hidden.
type TestedRequest struct {
	Method string              `json:"method"`
	URL    string              `json:"url"` // scheme and host
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body"`
}

// triggerRoutes are those of a TriggerTester.
func triggerRoutes(mux *http.ServeMux, op TriggerTester) {
	mux.HandleFunc("POST /v1/triggers/test", func(w http.ResponseWriter, r *http.Request) {
		t, err := ReadTriggerTest(r.URL.Query())
		if err != nil {
			answer(w, nil, err)
			return
		}
		done, err := op.TestTrigger(r.Context(), t)
		answer(w, done, err)
	})
}
