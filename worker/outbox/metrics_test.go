package outbox

import (
	"fmt"
	"strconv"
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
	var size int64
	var settled []fsm.Settled
	for n := range fsm.KeepDead + 7 {
		list = append(list, fsm.Outgoing{Key: keyOf(n), Tenant: "acme", Trigger: "hook", Delivery: []byte("12345678"), At: 1})
		size += list[n].Size()
		settled = append(settled, fsm.Settled{Tenant: "acme", Key: keyOf(n), Outcome: fsm.Refused})
	}
	r.put(list...)
	want("1007", strconv.FormatInt(size, 10), "0", "0")
	if _, err := r.apply(&fsm.Settle{Settled: settled, At: 2}); err != nil {
		t.Fatal(err)
	}
	want("0", "0", "1000", "7")
	c, _ := r.state.View().Cohort("c")
	if _, err := r.apply(&fsm.Progress{Cohort: "c", Epoch: c.Epoch, Network: "acme/net", Fired: []fsm.Fired{
		{Network: "acme/net", Alert: "a", Tenant: "acme", Content: []byte("alert")},
	}}); err != nil {
		t.Fatal(err)
	}
	sizes := fmt.Sprintf("# HELP ozmo_outbox_dead_bytes Size of the deliveries of the cluster that were given up.\n# TYPE ozmo_outbox_dead_bytes gauge\nozmo_outbox_dead_bytes %d\n"+
		"# HELP ozmo_outbox_retractable_bytes Size of what the fired ledger of the cluster keeps to retract alerts with.\n# TYPE ozmo_outbox_retractable_bytes gauge\nozmo_outbox_retractable_bytes 5\n",
		r.state.View().Box("acme").DeadBytes)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(sizes), "ozmo_outbox_dead_bytes", "ozmo_outbox_retractable_bytes"); err != nil {
		t.Error(err)
	}
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
