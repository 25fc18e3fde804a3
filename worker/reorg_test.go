package worker

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// forks is a fleet over a chain whose branches share transactions.
type forks struct {
	*fleet
	monitors map[string]watching // "tenant/monitor"
	txs      []transfer          // every transaction there is
	inside   map[fsm.Hash][]int  // the transactions of a block
	last     map[int]uint64      // height of a transaction's last block
	former   [][]fsm.BlockRef    // branches that were left
	made     int
	away     bool // the fickle tenant does not want the network just now
}

// The network's depth, and its finality depth.
const (
	forkDepth  = 3
	forkWindow = 24
)

func newForks(t testing.TB, nodes int, monitors map[string]watching) *forks {
	f := &forks{
		fleet: newFleet(t, nodes), monitors: monitors, inside: map[fsm.Hash][]int{}, last: map[int]uint64{},
	}
	f.setShared("net", forkDepth)
	for _, tenant := range []string{"acme", "beta", fickle, "gamma"} {
		if d := f.document(tenant); len(d.monitors) > 0 {
			f.setTenant(tenant, d)
		}
	}
	f.window = forkWindow
	f.place()
	f.grow(rand.New(rand.NewPCG(1, 1)), 1)
	return f
}

// fickle is the tenant whose monitors come and go: all that is sure of it is that
// whoever was told of an alert is told when it is no more.
const fickle = "dune"

func (f *forks) document(tenant string) tenantDoc {
	d := tenantDoc{monitors: map[string]watching{}, hooks: []string{"hook", "flaky", "slow"}}
	for name, m := range f.monitors {
		if of, id, _ := strings.Cut(name, "/"); of == tenant {
			m.networks = []string{"net"}
			d.monitors[id] = m
		}
	}
	return d
}

// comeOrGo has the fickle tenant pause or delete its monitors, or have them again.
func (f *forks) comeOrGo(rng *rand.Rand) {
	d := f.document(fickle)
	if f.away = !f.away; f.away {
		paused := rng.IntN(2) == 0
		for id, m := range d.monitors {
			m.paused = true
			if d.monitors[id] = m; !paused {
				delete(d.monitors, id)
			}
		}
	}
	f.setTenant(fickle, d)
}

// block makes a block on top of the branch with transactions.
func (f *forks) block(txs []int) fsm.Entry {
	c := f.chain("net")
	e := fsm.Entry{Kind: fsm.Extend, Seen: time.Now().UnixMilli(), Ref: fsm.BlockRef{Height: 100}}
	if n := len(c.branch); n > 0 {
		e.Ref.Height, e.Parent = c.branch[n-1].Height+1, c.branch[n-1].Hash
	}
	f.made++
	e.Ref.Hash = sha256.Sum256(fmt.Appendf(nil, "fork %d", f.made))
	var list []transfer
	for _, i := range txs {
		list = append(list, f.txs[i])
		f.last[i] = e.Ref.Height
	}
	f.inside[e.Ref.Hash] = txs
	f.locked(func() { f.payloads[e.Ref.Hash] = payloadWith(e.Ref, list) })
	c.branch = append(c.branch, e.Ref)
	return e
}

// pick chooses new transactions and some of those that lost their block: not so
// long ago that the ledger has forgotten it.
func (f *forks) pick(rng *rand.Rand) (out []int) {
	held := map[int]bool{}
	var tip uint64
	for _, ref := range f.chain("net").branch {
		for _, i := range f.inside[ref.Hash] {
			held[i] = true
		}
		tip = ref.Height
	}
	for i := range f.txs {
		if !held[i] && tip < f.last[i]+forkWindow-2*forkDepth && rng.IntN(3) == 0 {
			out = append(out, i)
		}
	}
	for range rng.IntN(3) {
		f.txs = append(f.txs, transfer{sha256.Sum256(fmt.Appendf(nil, "tx %d", len(f.txs))), rng.IntN(addresses)})
		out = append(out, len(f.txs)-1)
	}
	return out
}

// tell announces entries, in one command or one each.
func (f *forks) tell(rng *rand.Rand, list []fsm.Entry) {
	if rng.IntN(2) == 0 {
		f.announce("net", list...)
		return
	}
	for _, e := range list {
		f.announce("net", e)
		if rng.IntN(4) == 0 {
			synctest.Wait()
		}
	}
}

func (f *forks) grow(rng *rand.Rand, n int) {
	var list []fsm.Entry
	for range n {
		list = append(list, f.block(f.pick(rng)))
	}
	f.tell(rng, list)
}

// leave rolls back to a height, if that is possible.
func (f *forks) leave(height uint64) (fsm.Entry, bool) {
	c := f.chain("net")
	n, _ := f.state.View().Network("net")
	i := slices.IndexFunc(c.branch, func(r fsm.BlockRef) bool { return r.Height == height })
	if i < 0 || i == len(c.branch)-1 || height < n.Floor {
		return fsm.Entry{}, false
	}
	f.former = append(f.former, slices.Clone(c.branch))
	c.branch = c.branch[: i+1 : i+1]
	return fsm.Entry{Kind: fsm.Rollback, Ref: c.branch[i], Seen: time.Now().UnixMilli()}, true
}

// reorganise replaces the newest blocks by others, one more than there were.
func (f *forks) reorganise(rng *rand.Rand, depth int) {
	c := f.chain("net")
	tip := c.branch[len(c.branch)-1].Height
	e, ok := f.leave(tip - uint64(min(depth, len(c.branch)-1)))
	if !ok {
		return
	}
	list := []fsm.Entry{e}
	for range tip - e.Ref.Height + 1 {
		list = append(list, f.block(f.pick(rng)))
	}
	f.tell(rng, list)
}

// comeBack returns to the branch that was left last, with one block more.
func (f *forks) comeBack(rng *rand.Rand) {
	if len(f.former) == 0 {
		return
	}
	old, c := f.former[len(f.former)-1], f.chain("net")
	i := 0
	for i < min(len(old), len(c.branch)) && old[i] == c.branch[i] {
		i++
	}
	if i == 0 || i == len(old) {
		return
	}
	e, ok := f.leave(old[i-1].Height)
	if !ok {
		return
	}
	list := []fsm.Entry{e}
	for ; i < len(old); i++ {
		list = append(list, fsm.Entry{Kind: fsm.Extend, Ref: old[i], Parent: old[i-1].Hash, Seen: time.Now().UnixMilli()})
		c.branch = append(c.branch, old[i])
	}
	f.tell(rng, append(list, f.block(f.pick(rng))))
}

// heard is what one trigger heard of one alert.
type heard struct {
	alert   alert.ID
	trigger string
}

// views are the last words, by position, that the receivers have.
func (f *forks) views() map[heard]sent {
	out := map[heard]sent{}
	for _, s := range f.sent {
		k := heard{s.Alert, s.Trigger}
		if last, ok := out[k]; !ok || s.Position > last.Position {
			out[k] = s
		}
	}
	return out
}

// depthFor is how deep a block must lie for a monitor.
func depthFor(mode string) uint64 {
	switch mode {
	case spec.ModeInstant, spec.ModeBoth:
		return 0
	case spec.ModeFinalized:
		return forkWindow
	default:
		return forkDepth
	}
}

// verify compares what the receivers believe with the canonical chain.
func (f *forks) verify() (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	branch := f.chain("net").branch
	tip := branch[len(branch)-1].Height
	home := map[int]fsm.BlockRef{}
	for _, ref := range branch {
		for _, i := range f.inside[ref.Hash] {
			home[i] = ref
		}
	}
	v, views := f.state.View(), f.views()
	for name, m := range f.monitors {
		tenant, id, _ := strings.Cut(name, "/")
		for i, tx := range f.txs {
			if tx.to != m.address {
				continue
			}
			a := alert.NewID(tenant, id, "net", tx.hash.String())
			ref, on := home[i]
			due := on && ref.Height+depthFor(m.mode) <= tip
			for _, trigger := range m.triggers {
				got, known := views[heard{a, trigger}]
				where := fmt.Sprintf("%s (%s), tx %d, %s: tip %d, canonical block %v (%v), last word %+v", name, m.mode, i, trigger, tip, ref, on, got)
				switch {
				case tenant == fickle:
					if known && got.State != alert.Retracted && !slices.Contains(branch, got.Block) {
						say("not retracted: %s", where)
					}
				case m.mode == "":
					if key := alert.NewKey(a, trigger, 0, ref.Hash, alert.Fired, 0).String(); due && !f.accepted(key) {
						say("plain alert lost: %s", where)
					}
				case due && (!known || got.State == alert.Retracted):
					say("lost: %s", where)
				case due && got.Block != ref:
					say("another block: %s", where)
				case due && m.mode == spec.ModeBoth && ref.Height+forkDepth <= tip && got.State != alert.Confirmed:
					say("not confirmed: %s", where)
				case !due && known && got.State != alert.Retracted:
					say("not retracted: %s", where)
				}
			}
			if _, retracted := v.Retracted("net", a.String(), mustTenant(f.t, v, tenant).Born); retracted && due && tenant != fickle {
				say("%s, tx %d counts as retracted", name, i)
			}
		}
	}
	owed := slices.ContainsFunc(slices.Collect(v.FiredOn("net")), func(e *fsm.Fired) bool { return e.Tenant == fickle && len(e.Content) > 0 })
	if t, ok := v.Tenant(fickle); ok && f.away && !owed && v.TenantCount(t.Cohort) == 1 {
		if c, ok := v.Cursor("net", t.Cohort); ok && !c.Parked() {
			say("the cursor %+v goes on for nobody", c)
		}
	}
	return append(problems, f.verifyKeys(v)...)
}

func (f *forks) accepted(key string) bool {
	return slices.ContainsFunc(f.sent, func(s sent) bool { return s.Key == key })
}

// verifyKeys checks identities, repetitions and the order of what was sent.
func (f *forks) verifyKeys(v *fsm.View) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	times := map[string]int{}
	furthest := map[listener]uint64{}
	for _, s := range f.sent {
		m := f.monitors[s.Tenant+"/"+s.Monitor]
		occurrence := 0
		for ; occurrence < len(m.triggers); occurrence++ {
			if s.Key == alert.NewKey(s.Alert, s.Trigger, occurrence, s.Block.Hash, s.State, s.Position).String() {
				break
			}
		}
		times[s.Key]++
		k := listener{s.Alert, s.Trigger, occurrence}
		switch {
		case occurrence == len(m.triggers):
			say("%+v has another key than it must have", s)
		case m.mode == "" && s.State != alert.Fired:
			say("%+v: a plain monitor's alert", s)
		case s.State == alert.Confirmed && m.mode != spec.ModeBoth:
			say("%+v: nobody asked to have it confirmed", s)
		// The ledger forgets a plain alert once its block is final by what is announced:
		// a cursor far behind may meet it again, with the same key.
		case m.mode != "" && times[s.Key] > 1 && !f.forced:
			say("%+v was sent twice, though nothing was forced", s)
		case m.mode != "" && s.Position < furthest[k] && !f.forced:
			say("%+v came after position %d", s, furthest[k])
		}
		furthest[k] = max(furthest[k], s.Position)
	}
	for o := range v.Outbox() {
		say("still in the outbox: %s of %s after %q: %s", o.Key, o.Tenant, o.After, o.Reason)
	}
	for d := range v.DeadLetters() {
		say("dead letter: %s", d.Reason)
	}
	n, _ := v.Network("net")
	if got := f.cursor("net"); got != n.Next-1 {
		say("a cursor is at %d of %d", got, n.Next-1)
	}
	return append(problems, f.broken...)
}

// reorgs draws what happens to chain and fleet.
func reorgs(t *rapid.T, rough bool) []action {
	kinds := []string{
		"grow", "grow", "grow", "fork", "fork", "fork", "back", "come or go", "come or go", "pass", "pass", "refuse", "accept", "hold", "answer", "move", "moves", "laggard",
		"merge", "fail", "uncertain", "delay", "lose", "find", "missing", "found",
	}
	if rough {
		kinds = append(kinds, "force", "crash", "crash", "crash", "revive", "failover", "cut", "heal", "restart")
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
		return action{
			kind:    rapid.SampledFrom(kinds).Draw(t, "kind"),
			n:       rapid.IntRange(1, 20).Draw(t, "n"),
			network: "net",
			tenant:  rapid.SampledFrom(append(fleetTenants, fickle)).Draw(t, "tenant"),
			node:    rapid.IntRange(0, 2).Draw(t, "node"),
			own:     rapid.Uint64().Draw(t, "seed"),
		}
	}), 1, 30).Draw(t, "reorgs")
}

func (f *forks) play(a action) {
	rng := rand.New(rand.NewPCG(a.own, uint64(a.n)))
	switch a.kind {
	case "grow":
		f.grow(rng, 1+a.n%5)
	case "fork":
		depth := a.n
		if rng.IntN(2) == 0 {
			depth = 1 + a.n%4
		}
		f.reorganise(rng, depth)
	case "back":
		f.comeBack(rng)
	case "come or go":
		f.comeOrGo(rng)
	default:
		f.act(a)
		return
	}
	f.place()
	f.look()
}

func runForks(t *testing.T, nodes int, list []action) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		f := newForks(t, nodes, map[string]watching{
			"acme/instant":   {mode: spec.ModeInstant, address: 0, triggers: []string{"hook", "slow"}},
			"acme/both":      {mode: spec.ModeBoth, address: 1, triggers: []string{"flaky", "hook"}},
			"beta/plain":     {address: 0, triggers: []string{"hook", "flaky"}},
			"beta/confirmed": {mode: spec.ModeConfirmed, address: 2, triggers: []string{"slow", "hook"}},
			"beta/both":      {mode: spec.ModeBoth, address: 0, triggers: []string{"slow"}},
			"gamma/final":    {mode: spec.ModeFinalized, address: 1, triggers: []string{"hook"}},
			"dune/instant":   {mode: spec.ModeInstant, address: 0, triggers: []string{"hook", "slow"}},
			"dune/both":      {mode: spec.ModeBoth, address: 1, triggers: []string{"flaky"}},
			"gamma/instant":  {mode: spec.ModeInstant, address: 2, triggers: []string{"flaky", "flaky"}},
		})
		synctest.Wait()
		for _, a := range list {
			f.play(a)
		}
		for range 4 { // a process may still be about to die
			f.calm()
			pass(time.Minute)
		}
		f.locked(func() {
			for _, p := range f.processes {
				p.life = -1
			}
		})
		f.grow(rand.New(rand.NewPCG(2, 2)), forkWindow+2)
		pass(3 * time.Hour) // the attempts that are still to come
		f.look()
		f.locked(func() { problems = f.verify() })
		for _, name := range slices.Sorted(maps.Keys(f.processes)) {
			if err := f.processes[name].stop(); err != nil {
				problems = append(problems, err.Error())
			}
		}
	})
	return problems
}

// Whatever happens to chain, nodes and receivers: in the end each receiver
// believes what the canonical chain says, as deep as its monitor asks.
func TestReorgs(t *testing.T) {
	for _, rough := range []bool{false, true} {
		t.Run(map[bool]string{false: "planned", true: "rough"}[rough], func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				nodes := rapid.IntRange(1, 3).Draw(rt, "nodes")
				list := reorgs(rt, rough)
				if problems := runForks(t, nodes, list); len(problems) > 0 {
					slices.Sort(problems)
					rt.Fatalf("%d problems:\n%s", len(problems), strings.Join(problems[:min(10, len(problems))], "\n"))
				}
			})
		})
	}
}
