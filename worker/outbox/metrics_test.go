package outbox

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What the metrics tell is in the state, and a counter never falls: not even when
// the tenant goes that it counted for.
func TestMetrics(t *testing.T) {
	r := newRig(t)
	reg := prometheus.NewRegistry()
	newMetrics(reg, r)
	want := func(entries, bytes, dead, forgotten string) {
		t.Helper()
		text := "# HELP ozmo_outbox_bytes Size of the deliveries of the cluster still to be made.\n# TYPE ozmo_outbox_bytes gauge\nozmo_outbox_bytes " + bytes +
			"\n# HELP ozmo_outbox_dead_letters Deliveries of the cluster that were given up.\n# TYPE ozmo_outbox_dead_letters gauge\nozmo_outbox_dead_letters " + dead +
			"\n# HELP ozmo_outbox_entries Deliveries of the cluster still to be made.\n# TYPE ozmo_outbox_entries gauge\nozmo_outbox_entries " + entries +
			"\n# HELP ozmo_outbox_forgotten_total Dead letters of the cluster that had to make room for newer ones." +
			"\n# TYPE ozmo_outbox_forgotten_total counter\nozmo_outbox_forgotten_total " + forgotten + "\n"
		err := testutil.GatherAndCompare(reg, strings.NewReader(text),
			"ozmo_outbox_entries", "ozmo_outbox_bytes", "ozmo_outbox_dead_letters", "ozmo_outbox_forgotten_total")
		if err != nil {
			t.Error(err)
		}
	}
	want("0", "0", "0", "0")
	var list []fsm.Outgoing
	var settled []fsm.Settled
	for n := range fsm.KeepDead + 7 {
		list = append(list, fsm.Outgoing{Key: keyOf(n), Tenant: "acme", Trigger: "hook", Delivery: []byte("12345678"), At: 1})
		settled = append(settled, fsm.Settled{Tenant: "acme", Key: keyOf(n), Outcome: fsm.Refused})
	}
	r.put(list...)
	want("1007", "8056", "0", "0")
	if _, err := r.apply(&fsm.Settle{Settled: settled, At: 2}); err != nil {
		t.Fatal(err)
	}
	want("0", "0", "1000", "7")
	if _, err := r.apply(&fsm.DeleteTenant{Tenant: "acme", Expect: 1, At: 5}); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for d := range r.state.View().DeadOf("acme") {
		keys = append(keys, d.Key)
	}
	if _, err := r.apply(&fsm.Purge{Tenant: "acme", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	want("0", "0", "0", "7")
}
