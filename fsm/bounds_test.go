package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// However small the finality depth is, the branch keeps what the greatest depth
// asks for, so that a monitor that asks for it late finds every block.
func TestBranchServesEveryDepth(t *testing.T) {
	const depth = MaxWindow / 2
	p := newPausing(t)
	p.wants("acme", "base")
	for range 5 {
		p.announce("base", 300) // under a window of 4
	}
	n := p.network("base")
	if len(n.Branch.Refs) != KeepRefs || len(n.Window()) != 4 {
		t.Fatalf("%d blocks kept, %d may be rolled back", len(n.Branch.Refs), len(n.Window()))
	}
	p.progress(1499)
	p.do(&GrantLease{Network: "base", Holder: "n1", IfEpoch: n.Lease.Epoch, Window: WindowFor(depth)})
	p.announce("base", 100)
	n = p.network("base")
	due, branch := n.DueAt(depth, 0, 5000), n.Base
	for _, e := range n.Entries {
		next := branch.Step(e, KeepRefs)
		for _, r := range branch.Due(next, depth) {
			if due[r.Height] != e.Position {
				t.Fatalf("block %v is due at %d, said to be at %d", r, e.Position, due[r.Height])
			}
			delete(due, r.Height)
		}
		branch = next
	}
	for h, position := range due {
		if position >= n.Entries[0].Position {
			t.Fatalf("height %d is said to be due at %d and was not", h, position)
		}
	}
	if !slices.Equal(branch.Refs, n.Branch.Refs) {
		t.Fatal("replayed to another branch")
	}
}

// Though older blocks are kept, none that is final is rolled back, also not
// step by step.
func TestFinalBlocksAreNotRolledBack(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 20) // under a window of 4: 17 to 20
	back := func(height uint64) error {
		p.index++
		_, err := p.Apply(p.index, mustEncode(t, &Announce{
			Network: "base", Epoch: p.network("base").Lease.Epoch, Entries: []Entry{{Kind: Rollback, Ref: ref(height, "a")}},
		}))
		return err
	}
	if err := back(16); err == nil {
		t.Fatal("a final block's successor was rolled back")
	}
	if err := back(18); err != nil {
		t.Fatal(err)
	}
	if err := back(16); err == nil {
		t.Fatal("a final block's successor was rolled back after a roll-back")
	}
	if err := back(17); err != nil {
		t.Fatal(err)
	}
}

// Under a load that never ends, and however much one command records, the ledger
// holds little more than what is not final.
func TestLedgerIsBounded(t *testing.T) {
	const parts, alerts = 3, 2 * pruneStep
	p := newPausing(t)
	p.wants("acme", "base")
	record := func(height, to uint64, name string) {
		c := &Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", To: to}
		for i := range alerts {
			c.Fired = append(c.Fired, Fired{Network: "base", Block: ref(height, "a"), Alert: fmt.Sprint(name, i), Position: height})
		}
		p.do(c)
	}
	kept := func(want, slack int) {
		t.Helper()
		if n := len(slices.Collect(p.View().FiredOn("base"))); n < want || n > want+slack {
			t.Fatalf("%d alerts kept, want %d and at most %d more", n, want, slack)
		}
	}
	for height := uint64(1); height <= 12; height++ {
		p.announce("base", 1)
		for part := range parts {
			to := uint64(0) // records without moving
			if part == parts-1 {
				to = height
			}
			record(height, to, fmt.Sprint(part, "/"))
		}
		kept(parts*alerts*int(min(height, 5)), 0) // a window of 4 and the tip
	}
	// What comes late, of blocks that are final already, goes at once.
	for i := range 5 {
		record(2, 0, fmt.Sprint("late", i, "/"))
		kept(parts*alerts*5, 0)
	}
}

// Alerts that a slow cursor holds back in front do not keep those behind them.
func TestPrunePastAlertsHeldBack(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	slow := p.do(&RegisterNode{Name: "n2"}).(uint64)
	p.wantsOn("n2", "bolt", "base")
	p.announce("base", 10)
	p.do(&Progress{Cohort: "n2", Epoch: slow, Network: "base", To: 3})
	c := &Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", To: 10}
	for i := range pruneStep - 1 {
		c.Fired = append(c.Fired, Fired{Network: "base", Block: ref(2, "a"), Alert: fmt.Sprint(i), Position: 9})
	}
	c.Fired = append(c.Fired, Fired{Network: "base", Block: ref(3, "a"), Alert: "judged by all", Position: 3})
	p.do(c)
	p.announce("base", 1)
	if _, ok := p.View().FindFired("base", ref(3, "a"), "judged by all", 0); ok {
		t.Error("an alert of a final block that all have judged is kept")
	}
	if kept := len(slices.Collect(p.View().FiredOn("base"))); kept != pruneStep-1 {
		t.Errorf("%d alerts kept, want those that the slow cursor has not passed", kept)
	}
}

// Of a tenant's dead letters the newest are kept, of another's none is lost.
func TestDeadLettersAreBounded(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 1)
	dead := func(tenant, key string, at int64) {
		p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Dead: []Dead{{Outgoing: Outgoing{Key: key, Tenant: tenant}, DiedAt: at}}})
	}
	dead("bolt", "b", 1)
	for i := range KeepDead {
		dead("acme", fmt.Sprintf("a%04d", i), int64(i%7+10))
	}
	dead("acme", "old", 9) // older than all the others: it goes itself
	dead("acme", "a0001", 20)
	if n := p.View().DeadLen(); n != KeepDead+1 {
		t.Fatalf("%d dead letters, want %d and another tenant's", n, KeepDead)
	}
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Outbox: []Outgoing{{Key: "o1", Tenant: "acme"}, {Key: "o2", Tenant: "acme"}}})
	p.do(&Settle{At: 30, Settled: []Settled{{Tenant: "acme", Key: "o1", Outcome: Refused}, {Tenant: "acme", Key: "o2", Outcome: Refused}}})

	restored := New()
	if err := restored.Restore(bytes.NewReader(snapshot(t, p.View()))); err != nil {
		t.Fatal(err)
	}
	end := &Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Dead: []Dead{{Outgoing: Outgoing{Key: "z", Tenant: "acme"}, DiedAt: 31}}}
	bear(p.View(), end)
	last := mustEncode(t, end)
	for _, s := range []*State{p.State, restored} {
		if _, err := s.Apply(p.index+1, last); err != nil {
			t.Fatal(err)
		}
		kept := map[string]bool{}
		for d := range s.View().DeadLetters() {
			kept[d.Key] = true
		}
		if len(kept) != KeepDead+1 {
			t.Fatalf("%d dead letters, want %d and another tenant's", len(kept), KeepDead)
		}
		// Those that died at 10 went first, by key.
		for key, want := range map[string]bool{
			"b": true, "old": false, "a0000": false, "a0007": false, "a0014": false, "a0021": true, "a0001": true, "a0008": true, "o1": true, "o2": true, "z": true,
		} {
			if kept[key] != want {
				t.Errorf("dead letter %s kept: %v, want %v", key, kept[key], want)
			}
		}
	}

	p.index++
	p.do(&Purge{Tenant: "acme", Keys: []string{"z", "o1", "gone"}})
	dead("acme", "y", 32)
	dead("acme", "x", 33)
	if n := p.View().DeadLen(); n != KeepDead+1 {
		t.Errorf("%d dead letters after a purge of two and two more", n)
	}
}

// A roll-back costs what it takes out, not what the range is.
func TestDueAtWithManyRollbacks(t *testing.T) {
	const rollbacks, heights = 20_000, 200_000
	n := Network{Next: heights + 1, Last: Run{Position: 1, Height: 1, Count: heights, Kind: Extend}}
	for range rollbacks {
		n.record(Entry{Position: n.Next, Kind: Rollback, Ref: ref(heights-1, "")})
		n.record(Entry{Position: n.Next + 1, Kind: Extend, Ref: ref(heights, "")})
		n.Next += 2
	}
	due := n.DueAt(0, 1, heights)
	if len(due) != heights || due[heights] != n.Next-1 || due[heights-1] != heights-1 {
		t.Errorf("%d heights are due, the last at %d, the one before at %d", len(due), due[heights], due[heights-1])
	}
}
