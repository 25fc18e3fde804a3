package main

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func drawPayments(seed uint64, n int) []payment {
	plan := newPayments(seed)
	all := make([]payment, n)
	for i := range all {
		all[i] = plan.next()
	}
	return all
}

func TestPaymentsFollowTheSeed(t *testing.T) {
	same := cmp.Comparer(func(a, b payment) bool {
		return a.from == b.from && a.to == b.to && a.fails == b.fails && a.amount.Cmp(b.amount) == 0
	})
	if diff := cmp.Diff(drawPayments(5, 200), drawPayments(5, 200), same); diff != "" {
		t.Errorf("one seed, two sequences:\n%s", diff)
	}
	if cmp.Equal(drawPayments(5, 200), drawPayments(6, 200), same) {
		t.Error("two seeds, one sequence")
	}
}

func TestPaymentsMix(t *testing.T) {
	const n = 10_000
	var failing, large int
	for _, p := range drawPayments(1, n) {
		if p.from == p.to || min(p.from, p.to) < 0 || max(p.from, p.to) >= accountCount {
			t.Fatalf("from %d to %d", p.from, p.to)
		}
		if tokens := p.amount.Int64() / tokenUnit; p.amount.Int64() < 1 || tokens >= 5_000_000 {
			t.Fatalf("amount %v", p.amount)
		} else if tokens >= 1_000_000 {
			large++
		}
		if p.fails {
			failing++
		}
	}
	// The sequence is fixed, so these cannot flicker.
	if failing < n/25 || failing > n/16 {
		t.Errorf("%d of %d fail, want about one in twenty", failing, n)
	}
	if large < n/25 || large > n/16 {
		t.Errorf("%d of %d are large, want about one in twenty", large, n)
	}
}

func TestAccountsFollowTheSeed(t *testing.T) {
	addresses := func(seed uint64) []common.Address {
		accounts, err := newAccounts(seed)
		if err != nil {
			t.Fatal(err)
		}
		var all []common.Address
		for _, a := range accounts {
			all = append(all, a.address)
		}
		return all
	}
	if !cmp.Equal(addresses(3), addresses(3)) || cmp.Equal(addresses(3), addresses(4)) {
		t.Error("accounts do not follow the seed")
	}
}

func TestNextDue(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, maxRate).Draw(t, "rate")
		behind := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "behind"))
		due := nextDue(start, start.Add(behind), rate)
		if !due.After(start) {
			t.Fatalf("due %v after the last", due.Sub(start))
		}
		if lag := start.Add(behind).Sub(due); lag > maxLag {
			t.Fatalf("lag %v, want at most %v", lag, maxLag)
		}
	})
	if got := nextDue(start, start, 4); !got.Equal(start.Add(250 * time.Millisecond)) {
		t.Errorf("at 4 a second the next is due after %v", got.Sub(start))
	}
}

func TestNextTime(t *testing.T) {
	for _, test := range []struct{ parent, want, got uint64 }{
		{100, 105, 105}, {100, 101, 101}, {100, 100, 101}, {100, 7, 101},
	} {
		if got := nextTime(test.parent, test.want); got != test.got {
			t.Errorf("nextTime(%d, %d) = %d, want %d", test.parent, test.want, got, test.got)
		}
	}
}
