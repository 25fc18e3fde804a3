package evm_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

func tenantsOf(hits []evm.Hit) string {
	var list []string
	for _, h := range hits {
		list = append(list, h.Tenant)
	}
	return strings.Join(slices.Compact(list), " ")
}

// each gives all tenants the same budget.
func each(n int) func(string) int { return func(string) int { return n } }

func TestLimits(t *testing.T) {
	x, specs := evm.NewIndex(), &evm.ABIs{}
	add := func(tenant string, n int) {
		for i := range n {
			m, _ := evm.Compile(transferMonitor(fmt.Sprint(i), token(0), fmt.Sprintf("value > %d AND value != 0", i%7)), specs)
			x.Add(match.Key{Tenant: tenant, Monitor: fmt.Sprint(i)}, m, 0)
		}
	}
	add("small", 2)
	add("large", 50)
	add("other", 2)
	b := oneTransfer(t, "0x1")
	if got := tenantsOf(x.Match(b, 0)); got != "small large other" {
		t.Errorf("without limits: %q", got)
	}
	only := evm.Limits{Tenants: func(tenant string) bool { return tenant == "large" }}
	if got := x.MatchLimited(b, 0, only); tenantsOf(got.Hits) != "large" || got.OverBudget != nil {
		t.Errorf("one tenant: %q, over budget %q", tenantsOf(got.Hits), got.OverBudget)
	}
	got := x.MatchLimited(b, 0, evm.Limits{Budget: each(30)})
	if tenantsOf(got.Hits) != "small other" || !slices.Equal(got.OverBudget, []string{"large"}) {
		t.Errorf("budget: %q, over budget %q", tenantsOf(got.Hits), got.OverBudget)
	}
	got = x.MatchLimited(b, 0, evm.Limits{Budget: each(30), Tenants: func(tenant string) bool { return tenant == "small" }})
	if tenantsOf(got.Hits) != "small" || got.OverBudget != nil {
		t.Errorf("both: %q, over budget %q", tenantsOf(got.Hits), got.OverBudget)
	}
	if got := x.MatchLimited(b, 0, evm.Limits{Budget: each(550)}); tenantsOf(got.Hits) != "small large other" {
		t.Errorf("budget just enough: %q, over budget %q", tenantsOf(got.Hits), got.OverBudget)
	}
	asked := map[string]int{}
	got = x.MatchLimited(b, 0, evm.Limits{Budget: func(tenant string) int {
		asked[tenant]++
		return map[string]int{"small": 1, "large": 600}[tenant]
	}})
	if tenantsOf(got.Hits) != "large other" || !slices.Equal(got.OverBudget, []string{"small"}) {
		t.Errorf("a budget each: %q, over budget %q", tenantsOf(got.Hits), got.OverBudget)
	}
	if want := []evm.Spent{{"large", 550}, {"other", 22}, {"small", 22}}; !slices.Equal(got.Spent, want) || x.MatchLimited(b, 0, evm.Limits{}).Spent != nil {
		t.Errorf("spent %v, want %v", got.Spent, want)
	}
	for tenant, n := range asked {
		if n != 1 {
			t.Errorf("asked %d times for the budget of %s", n, tenant)
		}
	}
}

// TestPruneForgets checks that nothing remains of monitors that ended.
func TestPruneForgets(t *testing.T) {
	x, specs := evm.NewIndex(), &evm.ABIs{}
	var handles []evm.Handle
	for round := range 2 {
		for i := range 300 {
			doc := spreadMonitor(i)
			switch i % 3 {
			case 0:
				doc = popularMonitor(i)
			case 1: // needs another monitor's ABI
				doc = conditions(token(i%20), nil, nil, []string{"transfer(address,uint256)"})
			}
			m, _ := evm.Compile(doc, specs)
			handles = append(handles, x.Add(match.Key{Tenant: fmt.Sprint(i % 7), Monitor: fmt.Sprint(i)}, m, 0))
		}
		for i, h := range handles {
			x.Remove(h, uint64(10*round+i%5))
			x.Remove(h, uint64(10*round+i%5+3)) // too late
		}
		x.Prune(uint64(10*round + 2))
		if left := x.Len(); left != 120 {
			t.Errorf("%d monitors are left, want 120", left)
		}
		x.Prune(uint64(10*round + 4))
		accounts, tenants, ended := x.Sizes()
		if x.Len() != 0 || accounts != 0 || tenants != 0 || ended != 0 {
			t.Errorf("%d monitors, %d addresses, %d tenants, %d ends are left", x.Len(), accounts, tenants, ended)
		}
		handles = handles[:0]
	}
}

func TestPanicIsIsolated(t *testing.T) {
	var mu sync.Mutex
	var reported []string
	x := evm.NewIndex(evm.Options{OnPanic: func(key match.Key, value any) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, fmt.Sprintf("%s/%s %v", key.Tenant, key.Monitor, value != nil))
	}})
	specs := &evm.ABIs{}
	for _, name := range []string{"before", "broken", "after"} {
		m, _ := evm.Compile(transferMonitor(name, token(0), "value > 1"), specs)
		if name == "broken" {
			evm.Break(m)
		}
		x.Add(match.Key{Tenant: "t", Monitor: name}, m, 0)
	}
	var names []string
	for _, h := range x.Match(oneTransfer(t, "0x1"), 0) {
		names = append(names, h.Key.Monitor)
	}
	if !slices.Equal(names, []string{"before", "after"}) || !slices.Equal(reported, []string{"t/broken true"}) {
		t.Errorf("found %q, reported %q", names, reported)
	}
}

// TestConcurrentUse judges blocks while monitors come and go; the race detector
// does the checking, and a monitor in force throughout is always found.
func TestConcurrentUse(t *testing.T) {
	x, specs := evm.NewIndex(), &evm.ABIs{}
	always, _ := evm.Compile(transferMonitor("always", token(0), "value > 1"), specs)
	x.Add(match.Key{Tenant: "t", Monitor: "always"}, always, 0)
	b := oneTransfer(t, "0x1")
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 60 {
				m, _ := evm.Compile(transferMonitor("m", token(0), fmt.Sprintf("value > %d", i)), specs)
				h := x.Add(match.Key{Tenant: fmt.Sprint(g), Monitor: fmt.Sprint(i)}, m, uint64(i))
				x.Remove(h, uint64(i+2))
				x.Prune(uint64(i))
			}
		})
		wg.Go(func() {
			for i := range 60 {
				hits := x.Match(b, uint64(i))
				if len(hits) == 0 || hits[0].Key.Monitor != "always" {
					t.Errorf("position %d: found %v", i, tenantsOf(hits))
				}
				for k := range hits {
					hits[k].Match("n")
				}
			}
		})
	}
	wg.Wait()
}
