package node

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

const maxAhead = 4096

// A tenant judged apart since it is slow holds up a network later than others do.
func TestRoomForLaggards(t *testing.T) {
	state, index := fsm.New(), uint64(0)
	do := func(c fsm.Command) any {
		t.Helper()
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		out, err := state.Apply(index, entry)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	do(&fsm.RegisterNode{Name: "n1", Server: "n1@1", Address: "n1:7000", Version: "1", Roles: fsm.AllRoles})
	move := func(tenant string, reason fsm.Reason) *fsm.Cohort {
		t.Helper()
		one, _ := state.View().Tenant(tenant)
		do(&fsm.Move{Moves: []fsm.Moved{{Tenant: tenant, Cohort: one.Cohort, To: "n1", Reason: reason}}, At: 1})
		one, _ = state.View().Tenant(tenant)
		c, _ := state.View().Cohort(one.Cohort)
		if c.To != "" {
			do(&fsm.Release{Cohort: c.ID, Epoch: c.Epoch})
			c, _ = state.View().Cohort(one.Cohort)
		}
		return c
	}
	for _, tenant := range []string{"quiet", "noisy"} {
		do(&fsm.SetTenantVersion{Tenant: tenant, Manifest: fsm.Manifest{Wanted: []string{"net"}}})
	}
	do(&fsm.GrantLease{Network: "net", Holder: "n1", Window: fsm.DefaultWindow})
	quiet := move("quiet", fsm.ReasonInitial)
	move("noisy", fsm.ReasonInitial)
	noisy := move("noisy", fsm.ReasonLaggard)
	var parent fsm.Hash
	height := uint64(0)
	announce := func(count int) {
		t.Helper()
		n, _ := state.View().Network("net")
		c := &fsm.Announce{Network: "net", Epoch: n.Lease.Epoch}
		for range count {
			height++
			hash := fsm.Hash(sha256.Sum256(fmt.Appendf(nil, "%d", height)))
			c.Entries = append(c.Entries, fsm.Entry{Kind: fsm.Extend, Ref: fsm.BlockRef{Height: height, Hash: hash}, Parent: parent})
			parent = hash
		}
		do(c)
	}
	advance := func(c *fsm.Cohort, to uint64) {
		t.Helper()
		cursor, _ := state.View().Cursor("net", c.ID)
		do(&fsm.Progress{Cohort: c.ID, Epoch: c.Epoch, Born: cursor.Born, Network: "net", To: to})
	}
	want := func(room int) {
		t.Helper()
		n, _ := state.View().Network("net")
		if got, _ := roomOf(state.View(), n, maxAhead); got != room {
			t.Errorf("room for %d, want %d", got, room)
		}
	}
	want(maxAhead)
	announce(maxAhead)
	want(0) // of the quiet one
	advance(quiet, maxAhead)
	want(maxAhead)
	announce(3*maxAhead - 10)
	advance(quiet, 4*maxAhead-10)
	want(10) // of the noisy one
	announce(20)
	want(0)
	advance(noisy, maxAhead)
	want(maxAhead - 20)
}
