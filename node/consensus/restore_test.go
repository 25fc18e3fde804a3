package consensus

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestRestoreReplacesEveryState(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		origin := fsm.New()
		for i, fact := range []string{"from", "a", "backup"} {
			entry, err := fsm.Encode(put(fact))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := origin.Apply(uint64(3+i), entry); err != nil {
				t.Fatal(err)
			}
		}
		backup := encoded(t, origin)

		all := w.group("a", "b", "c")
		lead := leader(t, all)
		for i := range 20 {
			if _, err := lead.Propose(t.Context(), put(fmt.Sprint("old", i))); err != nil {
				t.Fatal(err)
			}
		}
		last := lead.raft.LastIndex()
		follower := others(all, lead)[0]
		if err := follower.Restore(t.Context(), 5, 1, int64(len(backup)), strings.NewReader(backup)); !errors.Is(err, ErrNotLeader) {
			t.Fatalf("restored on a follower: %v", err)
		}
		// What is no snapshot changes nothing.
		for _, bad := range []string{"", "garbage", backup[:len(backup)-1], backup[:len(backup)/2] + "?" + backup[len(backup)/2+1:]} {
			if err := lead.Restore(t.Context(), 5, 1, int64(len(bad)), strings.NewReader(bad)); err == nil {
				t.Fatalf("restored from %d bytes that are no snapshot", len(bad))
			}
		}
		if !has(lead.state, "old3") {
			t.Fatal("a refused snapshot changed the state")
		}
		if err := lead.Restore(t.Context(), 5, 1, int64(len(backup)), strings.NewReader(backup)); err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if err := m.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !has(m.state, "backup") || has(m.state, "old3") {
				t.Errorf("%s does not hold the backup", m.id)
			}
			if i := m.state.View().Index(); i <= last {
				t.Errorf("%s: the state's index %d is not above the old log's %d", m.id, i, last)
			}
		}
		// Epochs granted from now on are greater than any of before.
		given, err := follower.Propose(t.Context(), &fsm.SetCluster{})
		if index, ok := given.(uint64); err != nil || !ok || index <= last+1 {
			t.Fatalf("got index %v, %v after %d", given, err, last)
		}
		same(t, all)
	})
}

// A follower that was away so long that it gets a snapshot cannot tell what its
// proposals gave, and says so.
func TestAnswerLostInSnapshot(t *testing.T) {
	a := newAnswers(4)
	ctx := t.Context()
	done := make(chan error, 1)
	go func() {
		_, err := a.wait(ctx, 10)
		done <- err
	}()
	a.install(12)
	if err := <-done; !errors.Is(err, ErrUncertain) {
		t.Fatalf("got %v", err)
	}
	if _, err := a.wait(ctx, 12); !errors.Is(err, ErrUncertain) {
		t.Fatalf("an entry inside the snapshot: %v", err)
	}
	if err := a.reach(ctx, 12); err != nil {
		t.Fatal(err)
	}
}

func TestLateJoinerGetsSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.group("a")[0]
		for i := range 50 {
			if _, err := a.Propose(t.Context(), put(fmt.Sprint("fact", i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Snapshot(); err != nil {
			t.Fatal(err)
		}
		if err := a.store.log.DeleteRange(1, a.Committed()-5); err != nil {
			t.Fatal(err)
		}
		b := w.start("b@00000001", nil)
		if err := a.AddNonvoter(b.server()); err != nil {
			t.Fatal(err)
		}
		same(t, []*member{a, b})
		if ap, c := b.Applied(), b.Committed(); ap != c {
			t.Fatalf("applied %d of %d committed", ap, c)
		}
	})
}
