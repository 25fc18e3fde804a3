package fsm

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
)

// TestChangedTopics: each command wakes those who wait for what it touched, and
// nobody else. A refused command wakes nobody.
func TestChangedTopics(t *testing.T) {
	const eth, anvil = "ethereum_mainnet", "acme/anvil"
	all := []Topic{TopicSecrets, TopicKeys, TopicTenants, TopicLeases, TopicOutbox, TopicCluster, TopicNetwork(eth), TopicNetwork(anvil)}
	script := goldenScript()
	again := *script[3].(*SetTenantVersion)
	again.Expect = 3
	script = append(script,
		&Release{Cohort: "@24.0", Epoch: 24},                        // 25
		&SetTenantVersion{Tenant: "acme", Expect: 2},                // 26: paused; an alert may still be retracted
		&Progress{Cohort: "@24.0", Epoch: 25, Network: eth, To: 12}, // 27: one position is still owed
		&Progress{Cohort: "@24.0", Epoch: 25, Network: eth, To: 13}, // 28: the last of them
		&Progress{Cohort: "@24.0", Epoch: 25, Network: eth, To: 13}, // 29: told again
		&again, // 30
		&SetPlacement{Tenant: "acme", Expect: 23},                                                    // 31
		&Move{Moves: []Moved{{Tenant: "bolt", To: "node-1"}}},                                        // 32
		&RegisterNode{Name: "node-2"},                                                                // 33
		&Merge{From: "@24.0", Into: "node-2", FromEpoch: 33, IntoEpoch: 33},                          // 34
		&DeleteTenant{Tenant: "acme", Expect: 4},                                                     // 35
		&RemoveNode{Name: "node-2"},                                                                  // 36
		&Purge{Tenant: "acme", Keys: []string{"d1"}},                                                 // 37
		&CollectBlobs{Before: 1 << 60},                                                               // 38
		&Move{Moves: []Moved{{Tenant: "acme", To: "node-1"}, {Tenant: Shared, To: "n1"}}},            // 39: nobody
		&Progress{Cohort: "node-1", Epoch: 999, Network: eth, To: 4, Outbox: []Outgoing{{Key: "x"}}}, // 40, refused
		&Announce{Network: eth, Epoch: 1, Entries: []Entry{{Kind: Extend, Ref: ref(111, "z")}}},      // 41, refused
	)
	wakes := map[int][]Topic{ // by place in the script, from 1
		2:  {TopicLeases},
		3:  {TopicTenants, TopicLeases, TopicNetwork(eth)},
		4:  {TopicTenants, TopicLeases, TopicNetwork(eth), TopicNetwork(anvil)},
		5:  {TopicLeases, TopicNetwork(eth), TopicNetwork(anvil)},
		6:  {TopicNetwork(anvil)},
		7:  {TopicLeases, TopicNetwork(eth)},
		8:  {TopicNetwork(eth)},
		9:  {TopicNetwork(eth), TopicOutbox},
		10: {TopicNetwork(eth)},
		11: {TopicTenants, TopicLeases, TopicNetwork(anvil)},
		12: {TopicOutbox},
		13: {TopicNetwork(eth)},
		14: {TopicLeases, TopicNetwork(eth)},
		15: {TopicNetwork(anvil)},
		16: {TopicTenants, TopicLeases, TopicNetwork(eth)},
		17: {TopicNetwork(eth)},
		18: {TopicTenants, TopicLeases, TopicNetwork(eth)},
		19: {TopicLeases},
		20: {TopicCluster},
		21: {TopicCluster},
		22: {TopicCluster},
		23: {TopicTenants, TopicLeases},
		24: {TopicLeases, TopicNetwork(eth)},
		25: {TopicLeases},
		26: {TopicTenants, TopicLeases, TopicNetwork(eth)},
		27: {TopicNetwork(eth)},
		28: {TopicNetwork(eth)},
		30: {TopicTenants, TopicLeases, TopicNetwork(eth), TopicNetwork(anvil)},
		31: {TopicTenants, TopicLeases},
		32: {TopicLeases, TopicNetwork(eth)},
		33: {TopicLeases, TopicNetwork(eth)},
		34: {TopicLeases, TopicNetwork(eth), TopicNetwork(anvil)},
		35: {TopicTenants, TopicLeases, TopicNetwork(eth), TopicNetwork(anvil), TopicOutbox},
		36: {TopicLeases, TopicCluster},
		37: {TopicOutbox},
	}
	const refused = 40
	s := New()
	for i, c := range script {
		waiting := map[Topic]<-chan struct{}{}
		for _, topic := range all {
			waiting[topic] = s.Changed(topic)
		}
		_, err := s.Apply(uint64(i+1), mustEncode(t, c))
		if (i+1 >= refused) != (err != nil) {
			t.Fatalf("command %d: %v", i+1, err)
		}
		for _, topic := range all {
			woken := false
			select {
			case <-waiting[topic]:
				woken = true
			default:
			}
			if want := slices.Contains(wakes[i+1], topic); woken != want {
				t.Errorf("command %d (%T): %s woken: %v, want %v", i+1, c, topic, woken, want)
			}
		}
	}
}

func TestRestoreWakesEverybody(t *testing.T) {
	s := New()
	tenants, network := s.Changed(TopicTenants), s.Changed(TopicNetwork("base"))
	if err := s.Restore(bytes.NewReader(goldenSnapshot(t))); err != nil {
		t.Fatal(err)
	}
	<-tenants
	<-network
}

// TestNoMissedWakeup: whoever takes the channel before the view and waits on
// nothing else sees every change in the end, however many readers there are.
// While they wait, some replay the branch and some write snapshots.
func TestNoMissedWakeup(t *testing.T) {
	const blocks = 300
	networks := []string{"one", "two"}
	s := New()
	var index uint64
	apply := func(c Command) any {
		index++
		result, err := s.Apply(index, mustEncode(t, c))
		if err != nil {
			t.Errorf("command %d: %v", index, err)
		}
		return result
	}
	epochs := map[string]uint64{}
	apply(&SetTenantVersion{Tenant: "acme", Manifest: Manifest{Wanted: networks}})
	apply(&Move{Moves: []Moved{{Tenant: "acme", To: "n1"}}}) // to @2.0
	for _, key := range networks {
		epochs[key] = apply(&GrantLease{Network: key, Holder: "n1", Window: 16}).(uint64)
	}

	var readers sync.WaitGroup
	for i := range 8 {
		key := networks[i%2]
		readers.Go(func() {
			for {
				changed := s.Changed(TopicNetwork(key))
				v := s.View()
				n, _ := v.Network(key)
				replayed := n.Base
				for _, e := range n.Entries {
					replayed = replayed.Step(e, KeepRefs)
				}
				if !slices.Equal(replayed.Refs, n.Branch.Refs) {
					t.Errorf("network %s: replayed to %v, want %v", key, replayed.Refs, n.Branch.Refs)
				}
				if i < 2 {
					snapshot(t, v)
				}
				if c, ok := v.Cursor(key, "@2.0"); ok && c.Position == blocks {
					return
				}
				<-changed
			}
		})
	}
	for height := uint64(1); height <= blocks; height++ {
		for _, key := range networks {
			e := Entry{Kind: Extend, Ref: ref(height, key), Parent: ref(height-1, key).Hash}
			apply(&Announce{Network: key, Epoch: epochs[key], Entries: []Entry{e}})
			if height%5 == 0 {
				apply(&Progress{Cohort: "@2.0", Epoch: 2, Network: key, To: height})
			}
		}
	}
	readers.Wait()
}

// Two readers that go on from one view do not disturb each other.
func TestBranchIsAValue(t *testing.T) {
	for _, window := range []int{1, 2, 5, 64} {
		var b Branch
		for h := uint64(1); h <= 20; h++ {
			b = b.Extend(ref(h, "a"), window)
			left, right := b.Extend(ref(h+1, "left"), window), b.Extend(ref(h+1, "right"), window)
			back := right.Rollback(ref(h, "a"))
			again := back.Extend(ref(h+1, "again"), window)
			for name, branch := range map[string]Branch{"left": left, "right": right, "again": again} {
				if tip, _ := branch.Tip(); tip != ref(h+1, name) {
					t.Fatalf("window %d, height %d: %s ends with %v", window, h, name, tip)
				}
				if len(branch.Refs) > window {
					t.Fatalf("window %d: %d refs", window, len(branch.Refs))
				}
			}
		}
	}
}

// A roll-back to right below the first block begins a new branch there; that
// block was before the beginning and is never due.
func TestRollbackBelowTheBeginning(t *testing.T) {
	b := Branch{}.Extend(ref(100, "a"), 64).Extend(ref(101, "a"), 64)
	var due []BlockRef
	step := func(e Entry) {
		next := b.Step(e, 64)
		due = append(due, b.Due(next, 2)...)
		b = next
	}
	step(Entry{Kind: Rollback, Ref: ref(99, "b")})
	step(Entry{Kind: Extend, Ref: ref(100, "b")})
	step(Entry{Kind: Rollback, Ref: ref(99, "c")})
	if got := []BlockRef{ref(99, "c")}; !slices.Equal(b.Refs, got) {
		t.Fatalf("branch %v, want %v", b.Refs, got)
	}
	for h := uint64(100); h <= 104; h++ {
		step(Entry{Kind: Extend, Ref: ref(h, "c")})
	}
	if want := []BlockRef{ref(100, "c"), ref(101, "c"), ref(102, "c")}; !slices.Equal(due, want) {
		t.Fatalf("due at depth 2: %v, want %v", due, want)
	}
}

// A roll-back below a skip links the sequence to what was before it: the heights
// right below the skip's end are announced blocks from then on.
func TestRollbackBelowASkip(t *testing.T) {
	s := New()
	apply := func(index uint64, entries ...Entry) error {
		_, err := s.Apply(index, mustEncode(t, &Announce{Network: "base", Epoch: 3, Entries: entries}))
		return err
	}
	extend := func(height uint64, branch, parent string) Entry {
		return Entry{Kind: Extend, Ref: ref(height, branch), Parent: ref(height-1, parent).Hash}
	}
	for i, c := range []Command{
		&RegisterNode{Name: "n1"},
		&SetTenantVersion{Tenant: "acme", Manifest: Manifest{Wanted: []string{"base"}}},
		&GrantLease{Network: "base", Holder: "n1", Window: 3},
	} {
		if _, err := s.Apply(uint64(i+1), mustEncode(t, c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(4, extend(10, "a", "a"), Entry{Kind: Skip, From: 11, Ref: BlockRef{Height: 12}}, extend(13, "a", "a")); err != nil {
		t.Fatal(err)
	}
	if err := apply(5, Entry{Kind: Rollback, Ref: ref(10, "a")}); err != nil {
		t.Fatal(err)
	}
	if err := apply(6, Entry{Kind: Rollback, Ref: ref(12, "x")}); !errors.Is(err, ErrConflict) {
		t.Fatalf("a roll-back to above the tip: %v", err)
	}
	if err := apply(7, extend(11, "b", "a"), extend(12, "b", "b"), extend(13, "b", "b"), Entry{Kind: Rollback, Ref: ref(12, "x")}); !errors.Is(err, ErrConflict) {
		t.Fatalf("a roll-back to a block that is not on the branch: %v", err)
	}
}
