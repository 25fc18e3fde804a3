package main

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// testSender delivers the matches of a test.
type testSender struct {
	sender   *notify.Sender
	docs     *testDocuments
	triggers map[string][]string // monitor -> ids of its triggers
}

// delivered is what came of one delivery.
type delivered struct {
	Monitor     string `json:"monitor"`
	Trigger     string `json:"trigger"`
	Transaction string `json:"transaction"`
	Destination string `json:"destination"`
	Key         string `json:"key"`
	OK          bool   `json:"ok"`
	Status      int    `json:"status,omitempty"` // HTTP status
	LatencyMS   int64  `json:"latency_ms,omitempty"`
	Error       string `json:"error,omitempty"`
}

func newTestSender(docs *testDocuments, out io.Writer, log *slog.Logger) *testSender {
	s := &testSender{docs: docs, triggers: make(map[string][]string), sender: notify.NewSender(notify.SenderOptions{
		Channels: allChannels(out), Logger: log,
	})}
	for _, m := range docs.monitors {
		s.triggers[m.doc.Name] = m.doc.Triggers
	}
	return s
}

// send delivers a match through the triggers of its monitor, one after the
// other. The error says that sending was interrupted.
func (s *testSender) send(ctx context.Context, m *match.Match, blockTime time.Time) ([]delivered, error) {
	body, err := m.JSON()
	if err != nil {
		return nil, err
	}
	a := &alert.Alert{
		ID:     alert.NewID(m.Tenant, m.Key.Monitor, m.Network, m.Transaction),
		Tenant: m.Tenant, MonitorID: m.Key.Monitor, MonitorName: m.MonitorName,
		Network: m.Network, NetworkSlug: m.Network,
		Block: m.Block, BlockTime: blockTime,
		Tx: m.Transaction, State: alert.Fired,
		Variables: m.Variables(), Match: body,
	}
	var out []delivered
	for _, d := range alert.Deliveries(a, s.triggers[m.Key.Monitor]) {
		t := s.docs.triggers[d.Trigger]
		result, err := s.sender.Deliver(ctx, &notify.Notification{Alert: a, Key: d.Key, Trigger: t, Attempt: 1, Time: time.Now()})
		o := delivered{
			Monitor: m.MonitorName, Trigger: d.Trigger, Transaction: m.Transaction,
			Destination: notify.Destination(t), Key: d.Key.String(),
			OK: err == nil, Status: result.Status, LatencyMS: result.Latency.Milliseconds(),
		}
		if err != nil {
			o.Error = err.Error()
		}
		out = append(out, o)
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
	}
	return out, nil
}

// outcome is the result in a few words.
func (d *delivered) outcome() string {
	switch {
	case d.Error != "":
		return "failed: " + d.Error
	case d.Status != 0:
		return "sent, HTTP " + strconv.Itoa(d.Status)
	default:
		return "sent"
	}
}
