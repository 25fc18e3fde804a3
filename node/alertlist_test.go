package node

import (
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// What several journals have of an alert is one alert: each change once, dated as it was
// first told, with all its deliveries, and standing where the first change does.
func TestShownAlert(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_800_000_000+int64(s), 0) }
	first, second := fsm.BlockRef{Height: 7, Hash: fsm.Hash{1}}, fsm.BlockRef{Height: 8, Hash: fsm.Hash{2}}
	delivery := func(key string) []journal.Delivery {
		return []journal.Delivery{{Key: key, Trigger: "hook", Outcome: "sent"}}
	}
	fired := journal.Alert{
		ID: "a", MonitorID: "m", MonitorName: "Mon", Network: "net", Tx: "0x1", Block: first, FiredAt: at(0), Variables: map[string]string{"x": "1"},
		History: []journal.Change{{State: "fired", Position: 3, At: at(0), Deliveries: delivery("k1")}},
	}
	retracted := fired // by another node, which knows the ledger alone
	retracted.MonitorName, retracted.Variables, retracted.FiredAt = "m", nil, at(9)
	retracted.History = []journal.Change{
		{State: "fired", Position: 3, At: at(9), Deliveries: delivery("k0")},
		{State: "retracted", Position: 5, At: at(9), Deliveries: delivery("k2")},
	}
	again := retracted
	again.Block, again.FiredAt = second, at(12)
	again.History = []journal.Change{{State: "reinstated", Position: 6, At: at(12), Deliveries: delivery("k3")}}
	for _, list := range [][]journal.Alert{{fired, retracted, again}, {again, retracted, fired}, {retracted, fired, again, fired}} {
		got := shownAlert(fsm.New().View(), &fsm.Tenant{ID: "acme"}, list)
		if got.State != "reinstated" || got.Block != second || !got.FiredAt.Equal(at(0)) || got.Monitor != "Mon" || got.Variables["x"] != "1" {
			t.Errorf("%+v", got)
		}
		states := ""
		for _, c := range got.Changes {
			states += c.State + " "
		}
		if states != "fired retracted reinstated " || len(got.Changes[0].Deliveries) != 2 || !got.Changes[0].At.Equal(at(0)) || !got.Changes[1].At.Equal(at(9)) {
			t.Errorf("%+v", got.Changes)
		}
	}
}
