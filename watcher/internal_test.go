package watcher

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

func ref(height uint64, branch byte) fsm.BlockRef {
	return fsm.BlockRef{Height: height, Hash: fsm.Hash{branch, byte(height)}}
}

func refs(from, to uint64, branch byte) (out []fsm.BlockRef) {
	for h := from; h <= to; h++ {
		out = append(out, ref(h, branch))
	}
	return out
}

func TestSkipTo(t *testing.T) {
	for _, tc := range []struct {
		next, head, limit, confirmations, want uint64
		skips                                  bool
	}{
		{next: 11, head: 20, limit: 9, confirmations: 1, want: 11},
		{next: 11, head: 21, limit: 9, confirmations: 1, want: 12, skips: true},
		{next: 11, head: 10, limit: 1, confirmations: 1, want: 11},
		{next: 0, head: 1000, limit: 1, confirmations: 0, want: 1000, skips: true},
		{next: 11, head: 20, limit: math.MaxUint64, confirmations: 5, want: 11},
	} {
		got, skips := skipTo(tc.next, tc.head, tc.limit, tc.confirmations)
		if got != tc.want || skips != tc.skips {
			t.Errorf("%+v: %d, %v", tc, got, skips)
		}
	}
}

// What is left after a skip is never more than the limit and the depth.
func TestSkipToKeepsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next, head := rapid.Uint64().Draw(t, "next"), rapid.Uint64().Draw(t, "head")
		limit, depth := rapid.Uint64Min(1).Draw(t, "limit"), rapid.Uint64().Draw(t, "depth")
		to, skips := skipTo(next, head, limit, depth)
		if !skips && to != next || skips && (to <= next || to > head || head-to+1 != limit+depth) {
			t.Fatalf("to %d, %v", to, skips)
		}
	})
}

func TestBranchFromJournal(t *testing.T) {
	tip := ref(9, 1)
	for name, tc := range map[string]struct {
		head  Head
		limit int
		want  []fsm.BlockRef
		whole bool
	}{
		"young":       {Head{Tip: tip, Window: refs(5, 9, 1), First: 5}, 8, refs(5, 9, 1), true},
		"cut":         {Head{Tip: tip, Window: refs(5, 9, 1), First: 2}, 8, refs(5, 9, 1), false},
		"cut by us":   {Head{Tip: tip, Window: refs(5, 9, 1), First: 5}, 3, refs(7, 9, 1), false},
		"tip only":    {Head{Tip: tip, First: 10}, 8, refs(9, 9, 1), true},
		"with a gap":  {Head{Tip: tip, Window: append(refs(1, 3, 1), refs(7, 9, 1)...), First: 7}, 8, refs(7, 9, 1), true},
		"with anchor": {Head{Tip: tip, Window: refs(6, 9, 1), First: 7}, 8, refs(6, 9, 1), true},
	} {
		b := newBranch(tc.head, true, tc.limit)
		if got, _ := b.tip(); !slices.Equal(b.window, tc.want) || b.whole() != tc.whole || got != tip {
			t.Errorf("%s: %v, whole %v", name, b.window, b.whole())
		}
	}
	unknown := newBranch(Head{}, false, 8)
	if _, ok := unknown.tip(); ok || unknown.contains(tip) {
		t.Error("an unknown network has a branch")
	}
}

// The branch that follows announcements is the one read back from a journal
// that took them.
func TestBranchFollowsAnnouncements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(2, 10).Draw(t, "limit")
		b := newBranch(Head{}, false, limit)
		var all []fsm.BlockRef // the branch in full
		first, name := uint64(0), byte(0)
		extend := func(h uint64) {
			name++
			if len(all) == 0 {
				first = h
			}
			all = append(all, ref(h, name))
			b.apply(Announcement{Kind: Extend, Ref: all[len(all)-1]})
		}
		extend(rapid.Uint64Range(1, 50).Draw(t, "start"))
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			last := all[len(all)-1].Height
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				i := rapid.IntRange(max(0, len(all)-limit), len(all)-1).Draw(t, "back to")
				all = all[:i+1]
				b.apply(Announcement{Kind: Rollback, Ref: all[i]})
			case 1:
				if !b.whole() || first == 0 {
					continue
				}
				name++
				all = []fsm.BlockRef{ref(first-1, name)}
				b.apply(Announcement{Kind: Rollback, Ref: all[0]})
			case 2:
				all = nil
				b.apply(Announcement{Kind: Skip, From: last + 1, To: last + 3})
				extend(last + 4)
			default:
				extend(last + 1)
			}
			want := newBranch(Head{Tip: all[len(all)-1], Window: all, First: first}, true, limit)
			if n := min(len(b.window), len(want.window)); !slices.Equal(b.window[len(b.window)-n:], want.window[len(want.window)-n:]) ||
				b.first != first || len(b.window) > limit {
				t.Fatalf("branch %v from %d, want %v from %d", b.window, b.first, want.window, first)
			}
			for _, r := range b.window {
				if !b.contains(r) || b.contains(fsm.BlockRef{Height: r.Height, Hash: fsm.Hash{0xff}}) {
					t.Fatalf("contains is wrong about %v", r)
				}
			}
		}
	})
}

func TestMailbox(t *testing.T) {
	m := newMailbox(10 * time.Second)
	t0 := time.Unix(1_700_000_000, 0)
	at := func(height uint64, hash byte, after time.Duration) chain.Head {
		return chain.Head{Height: height, Hash: fsm.Hash{hash}, Seen: t0.Add(after)}
	}
	for _, tc := range []struct {
		offer chain.Head
		want  chain.Head
		why   string
	}{
		{at(10, 1, 0), at(10, 1, 0), "the first"},
		{at(12, 0, 1), at(12, 0, 1), "a higher one"},
		{at(11, 2, 2), at(12, 0, 1), "a lower one is of a node that lags"},
		{at(12, 3, 3), at(12, 3, 3), "another block of the same height"},
		{at(12, 0, 4), at(12, 3, 4), "the height alone takes nothing away"},
		{at(11, 4, 11*time.Second), at(11, 4, 11*time.Second), "the higher one is old"},
	} {
		m.offer(tc.offer)
		if got, known, _ := m.latest(); !known || got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.why, got, tc.want)
		}
	}
	if len(m.wake) != 1 {
		t.Errorf("%d tokens to wake up by, want one for all", len(m.wake))
	}
	m.revive()
	if _, _, revived := m.latest(); !revived {
		t.Error("not revived")
	}
	if _, _, revived := m.latest(); revived {
		t.Error("revived twice")
	}
}

func TestScheduleMakesUpForNothing(t *testing.T) {
	s := schedule{interval: time.Second}
	t0 := time.Unix(1_700_000_000, 0)
	for after, want := range map[time.Duration]time.Duration{
		0: time.Second, 300 * time.Millisecond: 700 * time.Millisecond, time.Second: 0, time.Hour: 0,
	} {
		if got, more := s.after(t0, t0.Add(after)); got != want || !more {
			t.Errorf("%s after the last poll: wait %s, want %s", after, got, want)
		}
	}
}

func TestHealthLogsChangesAndReminders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		h := newHealth(slog.New(slog.NewTextHandler(&out, nil)), time.Second)
		lines := func() int { return strings.Count(out.String(), "\n") }
		down := errors.New("down")
		for _, tc := range []struct {
			wait time.Duration
			err  error // nil: it works again
			want int   // lines so far
		}{
			{0, nil, 0},
			{0, chain.ErrNotFound, 0}, // a moment's lag
			{time.Second, nil, 0},
			{0, down, 1},
			{time.Second, down, 1},
			{time.Second, chain.ErrIncomplete, 2}, // another cause
			{30 * time.Second, chain.ErrIncomplete, 2},
			{31 * time.Second, chain.ErrIncomplete, 3}, // a reminder
			{0, nil, 4},
			{0, nil, 4},
			{0, chain.ErrNotFound, 4},
			{3 * time.Second, chain.ErrNotFound, 5},
		} {
			<-time.After(tc.wait)
			if tc.err == nil {
				h.blockDone(time.Now())
			} else {
				h.blockFailed(7, tc.err, time.Now())
			}
			if lines() != tc.want {
				t.Fatalf("after %+v: %d lines\n%s", tc, lines(), out.String())
			}
		}
		if reason, d := h.stalled(time.Now()); reason != "not-found" || d != 3*time.Second {
			t.Errorf("stalled for %s because of %q", d, reason)
		}
		h.headFailed(down, time.Now().Add(-time.Hour))
		if reason, d := h.stalled(time.Now()); reason != "other" || d != time.Hour {
			t.Errorf("the longer trouble: %s because of %q", d, reason)
		}
	})
}

func TestBackOffIsCapped(t *testing.T) {
	for _, tc := range []struct{ blockTime, first, most time.Duration }{
		{100 * time.Millisecond, 25 * time.Millisecond, time.Second},
		{2 * time.Second, 25 * time.Millisecond, 8 * time.Second},
		{12 * time.Second, 120 * time.Millisecond, 30 * time.Second},
		{10 * time.Minute, 500 * time.Millisecond, 30 * time.Second},
	} {
		b := newBackOff(tc.blockTime)
		if d := b.NextBackOff(); d < tc.first*6/10 || d > tc.first*14/10 {
			t.Errorf("block time %s: first wait %s", tc.blockTime, d)
		}
		var d time.Duration
		for range 50 {
			d = b.NextBackOff()
		}
		if d < tc.most*6/10 || d > tc.most*14/10 {
			t.Errorf("block time %s: wait after many failures %s, want about %s", tc.blockTime, d, tc.most)
		}
	}
}

// A network whose calls are held back stands still for that reason, unless something
// else lasts longer.
func TestHealthHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealth(slog.New(slog.DiscardHandler), time.Second)
		var since time.Time
		h.held = func() (string, time.Time) {
			if since.IsZero() {
				return "", since
			}
			return "rpc-quota", since
		}
		want := func(reason string, lasting time.Duration) {
			t.Helper()
			if got, d := h.stalled(time.Now()); got != reason || d != lasting {
				t.Errorf("stalled by %q for %v, want %q for %v", got, d, reason, lasting)
			}
		}
		want("", 0)
		since = time.Now()
		<-time.After(5 * time.Second)
		want("rpc-quota", 5*time.Second)
		h.blockFailed(7, chain.ErrIncomplete, time.Now())
		<-time.After(time.Second)
		want("rpc-quota", 6*time.Second)
		since = time.Time{}
		want(chain.Reason(chain.ErrIncomplete), time.Second)
	})
}
