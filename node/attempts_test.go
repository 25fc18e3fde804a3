package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// The ledger tells what states an alert went through, each with its deliveries.
func TestJournalAlert(t *testing.T) {
	f := &fsm.Fired{
		Network: "net", Block: fsm.BlockRef{Height: 7}, Alert: "a", Tenant: "acme", Monitor: "m", Tx: "0x1", Version: 3, At: 1000,
		State: fsm.AlertRetracted, Position: 9, Deliveries: []fsm.Delivered{
			{Key: "f", Trigger: "hook", State: fsm.AlertFired, Position: 5, Outcome: fsm.Sent},
			{Key: "r", Trigger: "hook", State: fsm.AlertRetracted, Position: 9, Outcome: fsm.HandedOver},
			{Key: "g", Trigger: "mail", State: fsm.AlertFired, Position: 5, Outcome: fsm.Refused},
		},
	}
	got := journalAlert(f)
	at := time.UnixMilli(1000)
	want := []journal.Change{
		{State: "fired", Position: 5, At: at, Deliveries: []journal.Delivery{{Key: "f", Trigger: "hook", Outcome: "sent"}, {Key: "g", Trigger: "mail", Outcome: "dead"}}},
		{State: "retracted", Position: 9, At: at, Deliveries: []journal.Delivery{{Key: "r", Trigger: "hook", Outcome: "outbox"}}},
	}
	if diff := cmp.Diff(want, got.History); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if got.State() != "retracted" || got.Version != 3 || !got.FiredAt.Equal(at) {
		t.Errorf("%+v", got)
	}
}
