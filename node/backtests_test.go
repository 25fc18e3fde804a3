package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/backtest"
)

// jobs is a state with tenants that have backtests.
type jobs struct {
	*fsm.State
	t     failing
	index uint64
}

type failing interface {
	Helper()
	Fatal(args ...any)
}

func (j *jobs) do(c fsm.Command) any {
	j.t.Helper()
	entry, err := fsm.Encode(c)
	if err != nil {
		j.t.Fatal(err)
	}
	j.index++
	out, err := j.Apply(j.index, entry)
	if err != nil {
		j.t.Fatal(err)
	}
	return out
}

func newJobs(t failing, blocks map[string]uint64) *jobs {
	j := &jobs{State: fsm.New(), t: t}
	j.do(&fsm.PutBlobs{Blobs: [][]byte{[]byte("draft")}})
	for _, tenant := range []string{"acme", "bolt", "corp"} {
		j.do(&fsm.SetTenantVersion{Tenant: tenant, Source: fsm.SourceAPI})
		if n := blocks[tenant]; n > 0 {
			j.do(&fsm.PutBacktest{Job: fsm.Backtest{ID: "job", Tenant: tenant, Doc: fsm.Doc{Kind: fsm.DocMonitor, Hash: fsm.HashBlob([]byte("draft"))}, From: 1, To: n}})
		}
	}
	return j
}

const testTTL = time.Second

// able is a member that takes work; silent, one that is lost.
func able(name string, silent bool) *member {
	m := &member{Node: &fsm.Node{Name: name, Roles: fsm.AllRoles}, Heard: true}
	if silent {
		m.Silent = time.Hour
	}
	return m
}

// However jobs and nodes are: no node has too many parts, none waits while there
// is room, and what has a living node stays there.
func TestPlanBacktests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := map[string]uint64{}
		for _, tenant := range []string{"acme", "bolt", "corp"} {
			blocks[tenant] = rapid.Uint64Range(0, 500).Draw(t, tenant)
		}
		j := newJobs(t, blocks)
		nodes := map[string]*member{}
		for i := range rapid.IntRange(0, 5).Draw(t, "nodes") {
			name := fmt.Sprint("n", i)
			nodes[name] = able(name, false)
		}
		for range 4 {
			for _, m := range nodes {
				m.Silent = 0
				if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
					m.Silent = time.Hour
				}
			}
			before := holders(j.View())
			for _, c := range planBacktests(j.View(), nodes, testTTL, time.Now()) {
				j.do(c)
			}
			if more := planBacktests(j.View(), nodes, testTTL, time.Now()); len(more) > 0 {
				t.Fatalf("planned again: %+v", more)
			}
			load, waiting, under := map[string]int{}, map[string]int{}, map[string]int{}
			for part, node := range holders(j.View()) {
				m := nodes[node]
				if m == nil || m.lost(testTTL) {
					waiting[part.tenant]++
					continue
				}
				load[node]++
				under[part.tenant]++
				if was := nodes[before[part]]; was != nil && !was.lost(testTTL) && before[part] != node {
					t.Fatalf("%+v went from %s to %s", part, before[part], node)
				}
			}
			free := 0
			for _, m := range nodes {
				if load[m.Name] > backtestsPerNode {
					t.Fatalf("%d parts on %s", load[m.Name], m.Name)
				}
				if !m.lost(testTTL) {
					free += backtestsPerNode - load[m.Name]
				}
			}
			if free > 0 && len(waiting) > 0 {
				t.Fatalf("room for %d, and %v wait", free, waiting)
			}
		}
	})
}

type heldPart struct {
	tenant string
	part   int
}

func holders(v *fsm.View) map[heldPart]string {
	out := map[heldPart]string{}
	for b := range v.ActiveBacktests() {
		for i := range b.Parts {
			if !b.Parts[i].Done() {
				out[heldPart{b.Tenant, i}] = b.Parts[i].Node
			}
		}
	}
	return out
}

// A tenant with a long job does not keep the others waiting.
func TestPlanBacktestsIsFair(t *testing.T) {
	j := newJobs(t, map[string]uint64{"acme": 10_000, "bolt": 10, "corp": 10})
	nodes := map[string]*member{"a": able("a", false), "b": able("b", false)}
	got := map[string]int{}
	on := map[string]int{}
	for _, c := range planBacktests(j.View(), nodes, testTTL, time.Now()) {
		got[c.Tenant]++
		on[c.Node]++
	}
	if got["acme"] != 2 || got["bolt"] != 1 || got["corp"] != 1 || on["a"] != 2 || on["b"] != 2 {
		t.Errorf("%v on %v", got, on)
	}
	// A node that drains gives its parts away.
	for _, c := range planBacktests(j.View(), nodes, testTTL, time.Now()) {
		j.do(c)
	}
	drained := able("b", false)
	drained.Node = &fsm.Node{Name: "b", Roles: fsm.AllRoles, Drain: fsm.DrainOperator}
	nodes = map[string]*member{"a": able("a", false), "b": drained, "c": able("c", false)}
	for _, c := range planBacktests(j.View(), nodes, testTTL, time.Now()) {
		if c.Node != "c" {
			t.Errorf("%+v", c)
		}
		j.do(c)
	}
	if on := holders(j.View()); len(on) == 0 {
		t.Error("nothing is under way")
	} else {
		for part, node := range on {
			if node == "b" {
				t.Errorf("%+v is still with b", part)
			}
		}
	}
}

func TestThePastWaitsForTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAside()
		took := func(fetch time.Duration, err error) (time.Duration, error) {
			began := time.Now()
			got := a.do(t.Context(), func() error { <-time.After(fetch); return err })
			return time.Since(began), got
		}
		a.begin()
		time.AfterFunc(3*time.Second, a.end)
		if d, err := took(0, nil); d != 3*time.Second || err != nil {
			t.Errorf("beside the head for 3 s: %v, %v", d, err)
		}
		a.begin()
		if d, err := took(0, nil); d != headPatience || !errors.Is(err, backtest.ErrBusy) {
			t.Errorf("beside the head for ever: %v, %v", d, err)
		}
		a.end()
		// Each takes as long to rest: two at a time are one after another in effect.
		began := time.Now()
		for range 20 {
			if _, err := took(100*time.Millisecond, nil); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 1900*time.Millisecond || d > 2200*time.Millisecond {
			t.Errorf("20 fetches of 100 ms took %v", d)
		}
		<-time.After(time.Second)
		began = time.Now()
		for range 100 {
			if _, err := took(0, nil); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 1900*time.Millisecond || d > 2100*time.Millisecond {
			t.Errorf("100 fetches that take no time took %v, at %d a second", d, pastRate)
		}
		<-time.After(time.Second)
		// What fails is not asked for at once again.
		began = time.Now()
		for range 6 {
			if _, err := took(0, errors.New("429")); err == nil {
				t.Fatal("no error")
			}
		}
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("6 fetches that fail took %v", d)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.do(canceled, func() error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		<-time.After(5 * time.Second)
		if len(a.slots) != 0 {
			t.Error("a turn is not given back")
		}
	})
}
