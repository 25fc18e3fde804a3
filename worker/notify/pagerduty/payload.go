package pagerduty

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// PagerDuty's bounds: on a summary by its documentation, on a whole event 512
// KiB, of which the details may take this much.
const (
	summaryLimit  = 1024 // UTF-16 code units
	valueLimit    = 4 << 10
	variableLimit = 128 << 10 // bytes of all names and values
)

// event is the body of a request, its fields in alphabetical order.
type event struct {
	Client     string  `json:"client,omitempty"`
	DedupKey   string  `json:"dedup_key"`
	Action     string  `json:"event_action"`
	Incident   *detail `json:"payload,omitempty"`
	RoutingKey string  `json:"routing_key"`
}

type detail struct {
	Component     string  `json:"component"`
	CustomDetails details `json:"custom_details"`
	Severity      string  `json:"severity"`
	Source        string  `json:"source"`
	Summary       string  `json:"summary"`
	Timestamp     string  `json:"timestamp,omitempty"`
}

type details struct {
	AlertID     string            `json:"alert_id"`
	Block       string            `json:"block"`
	BlockNumber uint64            `json:"block_number"`
	Message     string            `json:"message"`
	Monitor     string            `json:"monitor"`
	Network     string            `json:"network"`
	State       string            `json:"state"`
	Tenant      string            `json:"tenant"`
	Transaction string            `json:"transaction,omitempty"`
	Variables   map[string]string `json:"variables,omitempty"`
	LeftOut     int               `json:"variables_left_out,omitempty"`
}

func payload(a *alert.Alert, p *spec.PagerDuty, routingKey string) ([]byte, error) {
	e := event{Client: "ozmo", DedupKey: a.ID.String(), Action: "trigger", RoutingKey: routingKey}
	if a.State == alert.Retracted {
		// What is resolved is told by the key alone.
		e.Client, e.Action = "", "resolve"
	} else {
		e.Incident = incident(a, p)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("%w: the event cannot be written: %w", notify.ErrMisconfigured, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func incident(a *alert.Alert, p *spec.PagerDuty) *detail {
	m := notify.Compose(a, p.Message)
	monitor := cmp.Or(a.MonitorName, a.MonitorID)
	d := &detail{
		Component: visible(monitor),
		Severity:  cmp.Or(p.Severity, spec.PagerDutyCritical),
		Source:    cmp.Or(a.NetworkSlug, a.Network, "unknown"), // which must not be empty
		Summary:   notify.Fit(m.Title, summaryLimit, line),
		CustomDetails: details{
			AlertID: a.ID.String(), State: a.State.String(), Tenant: a.Tenant,
			Monitor: visible(monitor), Network: a.Network, Transaction: visible(a.Tx),
			Block: a.Block.Hash.String(), BlockNumber: a.Block.Height,
			Message: visible(notify.Fit(m.Body, valueLimit, notify.Text.String)),
		},
	}
	d.CustomDetails.Variables, d.CustomDetails.LeftOut = bounded(a.Variables)
	at := a.BlockTime
	if at.IsZero() {
		at = a.Seen
	}
	if !at.IsZero() {
		d.Timestamp = at.UTC().Format(time.RFC3339)
	}
	return d
}

// visible is a text without what is not meant to be seen.
func visible(s string) string { return strings.Map(notify.Visible, s) }

// line is a text on one line, without what is not meant to be seen.
func line(t notify.Text) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		return notify.Visible(r)
	}, t.String())
}

// bounded are the variables that fit, in the order of their names, long ones
// shortened, and the number of those that do not fit.
func bounded(vars map[string]string) (fit map[string]string, left int) {
	fit = make(map[string]string, len(vars))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		value := visible(notify.Words(vars[name]).Cut(valueLimit).String())
		if size += len(name) + len(value); size > variableLimit {
			left++
			continue
		}
		fit[name] = value
	}
	return fit, left
}
