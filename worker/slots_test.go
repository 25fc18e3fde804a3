package worker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// However many tenants' receivers never answer, one more tenant's first attempt
// begins at once.
func TestHostileTenantsLeaveSlots(t *testing.T) {
	for _, hostile := range []int{1, maxFirstAttempts / tenantFirstAttempts, 100, 1000, maxFirstAttempts - 100} {
		w := New(Options{Registerer: prometheus.NewRegistry()})
		taken := map[string]int{}
		for more := true; more; {
			more = false
			for i := range hostile {
				tenant := fmt.Sprint("hostile-", i)
				if _, ok := w.trySlot(tenant); ok {
					taken[tenant]++
					more = true
				}
			}
		}
		if len(taken) != hostile {
			t.Errorf("%d of %d tenants have got a slot", len(taken), hostile)
		}
		for i := range 10 {
			if _, ok := w.trySlot(fmt.Sprint("healthy-", i)); !ok {
				t.Errorf("beside %d tenants whose receivers are silent, a tenant gets no slot", hostile)
				break
			}
		}
		if hostile == 1 && taken["hostile-0"] != tenantFirstAttempts {
			t.Errorf("one tenant alone has got %d slots, want %d", taken["hostile-0"], tenantFirstAttempts)
		}
	}
}

// Who waits gets a slot in turn as soon as one is free, and nothing is lost when
// somebody has waited enough.
func TestSlotsAreGivenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{size: 2}
		if !s.try("a") || s.try("a") || !s.try("b") || s.try("c") {
			t.Fatal("the first of each gets a slot, and no other")
		}
		var mu sync.Mutex
		var got []string
		var wg sync.WaitGroup
		over, never := make(chan struct{}), make(chan struct{})
		wait := func(name, tenant string, over chan struct{}) {
			wg.Go(func() {
				if s.await(tenant, over) {
					mu.Lock()
					got = append(got, name)
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		wait("a2", "a", never)
		wait("c1", "c", never)
		wait("c2", "c", over)
		wait("c3", "c", never)
		wait("d1", "d", never)
		close(over)
		for _, tenant := range []string{"b", "c", "a", "a", "d"} {
			synctest.Wait()
			s.release(tenant)
		}
		wg.Wait()
		if want := []string{"c1", "d1", "a2", "c3"}; !slices.Equal(got, want) {
			t.Errorf("slots were given to %v, want %v", got, want)
		}
		s.release("c")
		if s.used != 0 || len(s.tenants)+len(s.line) != 0 {
			t.Errorf("%d slots of %d tenants are taken, %d wait", s.used, len(s.tenants), len(s.line))
		}
	})
}

// Whatever tenants do: no more than there are is taken, who has none gets one while
// any is free, and nobody waits for what is free.
func TestSlotsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &slots{size: rapid.IntRange(1, 100).Draw(t, "size")}
		taken := map[string]int{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			tenant := fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "tenant"))
			if taken[tenant] > 0 && rapid.IntRange(0, 2).Draw(t, "release") == 0 {
				s.release(tenant)
				taken[tenant]--
				continue
			}
			free := s.size - s.used
			ok := s.try(tenant)
			if ok != (free > 0 && (taken[tenant] == 0 || taken[tenant] < min(tenantFirstAttempts, free/freeShare))) {
				t.Fatalf("with %d slots, %d of them free, a tenant with %d gets another: %v", s.size, free, taken[tenant], ok)
			}
			if ok {
				taken[tenant]++
			}
		}
		used := 0
		for tenant, n := range taken {
			for used += n; n > 0; n-- {
				s.release(tenant)
			}
		}
		if used > s.size || s.used != 0 || len(s.tenants) != 0 {
			t.Fatalf("%d of %d slots were taken; %d are left, of %d tenants", used, s.size, s.used, len(s.tenants))
		}
	})
}
