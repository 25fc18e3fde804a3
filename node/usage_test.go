package node

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// applied is a state after some commands.
func applied(t *testing.T, list ...fsm.Command) *fsm.View {
	t.Helper()
	state := fsm.New()
	for i, c := range list {
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := state.Apply(uint64(i+1), entry); err != nil {
			t.Fatal(err)
		}
	}
	return state.View()
}

func TestMeter(t *testing.T) {
	v := applied(t, &fsm.SetTenantVersion{Tenant: "other"}, &fsm.SetTenantVersion{Tenant: "acme"})
	var m meter
	m.Evaluated("acme", time.Second)
	m.Evaluated("acme", time.Second)
	m.Matched("acme", 3)
	m.OverQuota("acme")
	m.attempted("acme", notify.Result{Bytes: 10}, nil)
	m.attempted("acme", notify.Result{Bytes: 7}, errors.New("refused"))
	m.Matched("gone", 1)
	acme, _ := v.Tenant("acme")
	want := map[journal.UsageOwner]journal.Usage{
		{Tenant: "acme", Born: acme.Born}: {Evaluation: 2 * time.Second, Matches: 3, Sent: 1, Failed: 1, OverQuota: 1, Bytes: 17},
	}
	if diff := cmp.Diff(want, m.take(v)); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
	if left := m.take(v); len(left) != 0 {
		t.Errorf("told again: %v", left)
	}
}

func TestNetworkMeter(t *testing.T) {
	wants := fsm.Manifest{Wanted: []string{"net"}}
	list := []fsm.Command{
		&fsm.SetTenantVersion{Tenant: "a", Manifest: wants}, &fsm.SetTenantVersion{Tenant: "b", Manifest: wants},
		&fsm.GrantLease{Network: "net", Holder: "n1", Window: fsm.DefaultWindow},
	}
	v := applied(t, list...)
	var m networkMeter
	n, _ := v.Network("net")
	want := func(v *fsm.View, node string, calls map[string]uint64, u map[string]journal.NetworkUsage) {
		t.Helper()
		if diff := cmp.Diff(u, m.take(v, node, calls)); diff != "" {
			t.Errorf("used (-want +got):\n%s", diff)
		}
	}
	none := map[string]journal.NetworkUsage{}
	want(v, "n1", map[string]uint64{"net": 5}, map[string]journal.NetworkUsage{"net": {Calls: 5, From: n.Next, To: n.Next, Tenants: 2}})
	want(v, "n1", map[string]uint64{"net": 5}, none)
	later := applied(t, append(list, &fsm.Announce{Network: "net", Epoch: n.Lease.Epoch, Entries: []fsm.Entry{{Kind: fsm.Extend, Ref: fsm.BlockRef{Height: 1, Hash: fsm.Hash{1}}}}})...)
	want(later, "n1", map[string]uint64{"net": 7}, map[string]journal.NetworkUsage{"net": {Calls: 2, From: n.Next, To: n.Next + 1, Tenants: 2}})
	// What another node announces is in its own journal.
	want(later, "n2", map[string]uint64{"net": 7}, none)
	want(later, "n1", map[string]uint64{"net": 7}, none)
	want(later, "n1", map[string]uint64{"net": 7, "gone": 4}, none)
}

// What one tenant alone has asked for is its own, and no part of what the others bear,
// whether it is told while it is under way or afterwards.
func TestOwnCalls(t *testing.T) {
	v := applied(t, &fsm.SetTenantVersion{Tenant: "a", Manifest: fsm.Manifest{Wanted: []string{"net"}}},
		&fsm.GrantLease{Network: "net", Holder: "n1", Window: fsm.DefaultWindow})
	var m meter
	told := func(all uint64) (own, shared uint64) {
		for _, u := range m.take(v) {
			own += u.Calls
		}
		return own, m.networks.take(v, "n1", m.others(map[string]uint64{"net": all}))["net"].Calls
	}
	want := func(all, own, shared uint64) {
		t.Helper()
		if o, s := told(all); o != own || s != shared {
			t.Errorf("of %d calls: %d of the tenant's and %d of all, want %d and %d", all, o, s, own, shared)
		}
	}
	want(10, 0, 10)
	m.called("a", "net", 4)
	m.called("", "net", 100) // of whom, is not known
	want(16, 4, 2)
	want(19, 0, 3) // three of them are of a fetch that is under way
	m.called("a", "net", 3)
	want(19, 3, 0)
	want(22, 0, 0)
	want(24, 0, 2)
}

func TestPartOf(t *testing.T) {
	tenant := &fsm.Tenant{ID: "acme", Coverage: map[string][]fsm.CoverageRun{
		"net":    {{From: 5, To: 10}, {From: 20}},
		"acme/x": {{From: 1}},
	}}
	v := applied(t)
	for _, tc := range []struct {
		key    string
		used   journal.NetworkUsage
		calls  float64
		blocks uint64
	}{
		{"net", journal.NetworkUsage{Calls: 100, From: 20, To: 30, Tenants: 4}, 25, 10},
		{"net", journal.NetworkUsage{Calls: 100, From: 0, To: 10, Tenants: 2}, 25, 5},  // for half of the time
		{"net", journal.NetworkUsage{Calls: 100, From: 10, To: 20, Tenants: 2}, 0, 0},  // not at all
		{"net", journal.NetworkUsage{Calls: 100, From: 25, To: 25, Tenants: 2}, 50, 0}, // heads without blocks
		{"net", journal.NetworkUsage{Calls: 100, From: 15, To: 15, Tenants: 2}, 0, 0},
		{"net", journal.NetworkUsage{Calls: 100, From: 25, To: 26}, 100, 1}, // nobody is left that wants it
		{"acme/x", journal.NetworkUsage{Calls: 100, From: 5, To: 5, Tenants: 1}, 100, 0},
		{"other", journal.NetworkUsage{Calls: 100, From: 5, To: 6, Tenants: 1}, 0, 0},
	} {
		if got := partOf(v, tenant, tc.key, tc.used); got.RPCCalls != tc.calls || got.Blocks != tc.blocks {
			t.Errorf("%s %+v: %v calls, %d blocks; want %v, %d", tc.key, tc.used, got.RPCCalls, got.Blocks, tc.calls, tc.blocks)
		}
	}
}

// The parts of those that want a network all the time add up to the whole.
func TestPartsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := journal.NetworkUsage{
			Calls: uint64(rapid.IntRange(0, 1000).Draw(t, "calls")), From: uint64(rapid.IntRange(1, 50).Draw(t, "from")),
			Tenants: rapid.IntRange(1, 20).Draw(t, "tenants"),
		}
		u.To = u.From + uint64(rapid.IntRange(0, 50).Draw(t, "blocks"))
		sum := 0.0
		for range u.Tenants {
			cut := uint64(rapid.IntRange(1, 100).Draw(t, "another version at"))
			runs := []fsm.CoverageRun{{From: 1, To: cut}, {From: cut}}
			sum += partOf(fsm.New().View(), &fsm.Tenant{ID: "t", Coverage: map[string][]fsm.CoverageRun{"net": runs}}, "net", u).RPCCalls
		}
		if math.Abs(sum-float64(u.Calls)) > 1e-6 {
			t.Fatalf("parts add up to %v of %d", sum, u.Calls)
		}
	})
}
