package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// action is one step of a schedule.
type action struct {
	kind    string
	network string
	n       int               // blocks, depth, effects
	tenant  string            // whose configuration
	doc     map[string]choice // its monitors
	own     uint64            // depth of its own network
	node    int               // which node, in a fleet
}

// choice is what a monitor of a schedule watches.
type choice struct {
	slug    string // net, other, or mine: the tenant's own, which watches net
	address int
	trigger string
}

// schedules draws what happens to a cluster.
func schedules(t *rapid.T, crashes bool) []action {
	kinds := []string{"extend", "extend", "extend", "extend", "reorg", "tenant", "tenant", "delete", "depth", "pass", "missing", "found", "refuse", "accept"}
	if crashes {
		kinds = append(kinds, "crash", "crash", "restart")
	}
	networks := rapid.SampledFrom([]string{"net", "net", "other"})
	monitor := rapid.Custom(func(t *rapid.T) choice {
		return choice{
			slug:    rapid.SampledFrom([]string{"net", "other", "mine"}).Draw(t, "slug"),
			address: rapid.IntRange(0, addresses-1).Draw(t, "address"),
			trigger: rapid.SampledFrom([]string{"hook", "flaky"}).Draw(t, "trigger"),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
		a := action{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), network: networks.Draw(t, "network")}
		switch a.kind {
		case "extend":
			a.n = rapid.IntRange(1, 6).Draw(t, "blocks")
		case "reorg":
			a.n = rapid.IntRange(1, 5).Draw(t, "blocks")
		case "depth":
			a.n = rapid.IntRange(1, 5).Draw(t, "depth")
		case "crash":
			a.n = rapid.IntRange(1, 12).Draw(t, "effects")
		case "tenant":
			a.tenant = rapid.SampledFrom([]string{"acme", "beta"}).Draw(t, "tenant")
			a.doc = rapid.MapOfN(rapid.SampledFrom([]string{"m", "o"}), monitor, 0, 2).Draw(t, "monitors")
			a.own = uint64(rapid.IntRange(1, 5).Draw(t, "own"))
		case "delete":
			a.tenant = rapid.SampledFrom([]string{"acme", "beta"}).Draw(t, "tenant")
		}
		return a
	}), 1, 30).Draw(t, "schedule")
}

// world plays a schedule and keeps what the reference needs to know.
type world struct {
	*rig
	docs   map[string]tenantDoc
	depths map[string]uint64
	own    map[string]uint64
	seen   map[string][]told // per network: what was announced, with what was in force
	count  int               // announcements made, of all networks
	gone   map[string]int    // tenant -> count when it was last deleted
	born   map[string]int    // tenant -> how often it was made
	// unwanted is, for "tenant network", the count when the tenant last did not
	// want the network. Wanted again before the next announcement, it may count as
	// wanted all the time, or as wanted anew.
	unwanted map[string]int
}

// told is one announcement with the configuration in force.
type told struct {
	fsm.Entry
	order    int
	monitors map[string]inForce // "tenant/monitor"
}

type inForce struct {
	tenant, id, trigger string
	address             int
	depth, version      uint64
	born                int
}

func (w *world) say(network string, e fsm.Entry) {
	e.Position = w.announce(network, e)
	w.count++
	w.seen[network] = append(w.seen[network], told{Entry: e, order: w.count, monitors: w.inForce(network)})
}

func (w *world) inForce(network string) map[string]inForce {
	out := map[string]inForce{}
	for tenant, d := range w.docs {
		for id, m := range d.monitors {
			slug := m.networks[0]
			depth := w.depths[network]
			if slug == "mine" {
				slug, depth = "net", w.own[tenant]
			}
			if slug == network {
				out[tenant+"/"+id] = inForce{tenant, id, m.triggers[0], m.address, depth, w.versions[tenant], w.born[tenant]}
			}
		}
	}
	return out
}

// configure puts a configuration of a tenant in force.
func (w *world) configure(tenant string, d tenantDoc, own uint64) {
	w.setTenant(tenant, d)
	if w.versions[tenant] == 1 {
		w.born[tenant]++
	}
	w.docs[tenant], w.own[tenant] = d, own
	for _, network := range []string{"net", "other"} {
		wanted := false
		for _, m := range w.inForce(network) {
			wanted = wanted || m.tenant == tenant
		}
		if !wanted {
			w.unwanted[tenant+" "+network] = w.count
		}
	}
}

func (w *world) remove(tenant string) {
	if w.versions[tenant] > 0 {
		w.deleteTenant(tenant)
		delete(w.docs, tenant)
		w.gone[tenant] = w.count
	}
}

func newWorld(t testing.TB) *world {
	return &world{
		rig: newRig(t), docs: map[string]tenantDoc{}, depths: map[string]uint64{"net": 2, "other": 1}, own: map[string]uint64{},
		seen: map[string][]told{}, gone: map[string]int{}, born: map[string]int{}, unwanted: map[string]int{},
	}
}

func (w *world) play(a action, p *process) *process {
	switch a.kind {
	case "extend":
		for range a.n {
			w.say(a.network, w.nextBlock(a.network))
		}
	case "reorg":
		if n := len(w.chain(a.network).branch); n > 1 {
			depth := min(a.n, n-1)
			w.say(a.network, w.rollback(a.network, depth))
			for range depth + 1 {
				w.say(a.network, w.nextBlock(a.network))
			}
		}
	case "depth":
		w.depths[a.network] = uint64(a.n)
		w.setShared(a.network, uint64(a.n))
	case "tenant":
		mine := networkDoc("mine", a.own)
		mine.Watch = "net"
		d := tenantDoc{networks: map[string]*spec.Network{"mine": mine}, monitors: map[string]watching{}, hooks: []string{"hook", "flaky"}}
		for id, c := range a.doc {
			d.monitors[id] = watching{networks: []string{c.slug}, address: c.address, triggers: []string{c.trigger}}
		}
		w.configure(a.tenant, d, a.own)
	case "delete":
		w.remove(a.tenant)
	case "pass":
		pass(time.Duration(a.n+1) * time.Second)
	case "missing":
		w.locked(func() {
			if branch := w.chain(a.network).branch; len(branch) > 0 {
				w.missing[branch[len(branch)-1].Hash] = true
			}
		})
	case "found":
		w.found()
	case "refuse":
		w.locked(func() { w.refuse["flaky"] = notify.Result{Status: 503} })
	case "accept":
		w.locked(func() { delete(w.refuse, "flaky") })
	case "crash":
		w.locked(func() { p.life = a.n })
	case "restart":
		w.found() // Run finishes what it has begun
		_ = p.stop()
		return w.start(-1)
	}
	return w.revive(p)
}

// revive starts another process in the place of a dead one.
func (w *world) revive(p *process) *process {
	if p == nil {
		return nil
	}
	dead := false
	w.locked(func() { dead = p.dead })
	if !dead {
		return p
	}
	_ = p.stop()
	return w.start(-1)
}

// due is one reason for a delivery.
type due struct {
	position, version uint64
	must              bool
}

// expect is the reference: block by block and monitor by monitor, as the rule
// is written, with neither index nor batches.
func (w *world) expect() map[string][]due {
	out := map[string][]due{}
	for network, list := range w.seen {
		type laid struct {
			ref  fsm.BlockRef
			peak uint64 // greatest tip so far while it lay on the branch; its own height at first
		}
		var branch []laid
		var before map[string]inForce
		for i, e := range list {
			final := func(ref fsm.BlockRef) bool { // no later announcement takes it off
				return !slices.ContainsFunc(list[i+1:], func(l told) bool { return l.Kind == fsm.Rollback && l.Ref.Height < ref.Height })
			}
			add := func(m inForce, ref fsm.BlockRef, must bool) {
				key := keyOf(m.tenant, m.id, network, m.trigger, 0, ref, m.address)
				out[key] = append(out[key], due{e.Position, m.version, must && final(ref) && e.order > w.gone[m.tenant]})
			}
			for name, m := range e.monitors {
				old, held := before[name]
				held = held && m.born == old.born
				always := i > 0 && w.unwanted[m.tenant+" "+network] < list[i-1].order
				for _, b := range branch {
					if held && m.depth < old.depth && b.peak >= b.ref.Height+m.depth && b.peak < b.ref.Height+old.depth {
						add(m, b.ref, always)
					}
				}
			}
			before = e.monitors
			if e.Kind == fsm.Rollback {
				branch = slices.DeleteFunc(branch, func(b laid) bool { return b.ref.Height > e.Ref.Height })
				continue
			}
			branch = append(branch, laid{ref: e.Ref})
			for k := range branch {
				b := &branch[k]
				was, first := b.peak, b.peak == 0
				b.peak = max(b.peak, e.Ref.Height)
				for _, m := range e.monitors {
					line := b.ref.Height + m.depth
					if b.peak >= line && (first || was < line) {
						add(m, b.ref, true)
					}
				}
			}
		}
	}
	return out
}

// verify compares what was delivered with the reference.
func (w *world) verify(crashes bool) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	expected := w.expect()
	v := w.state.View()
	for key, reasons := range expected {
		must := slices.ContainsFunc(reasons, func(d due) bool { return d.must })
		waiting := slices.ContainsFunc(slices.Collect(v.Outbox()), func(o *fsm.Outgoing) bool { return o.Key == key })
		accepted := slices.ContainsFunc(w.sent, func(s sent) bool { return s.Key == key })
		if must && !accepted && !waiting {
			say("lost: %s, due %v", key, reasons)
		}
	}
	times := map[string]int{}
	for _, s := range w.sent {
		times[s.Key]++
		reasons, ok := expected[s.Key]
		switch {
		case !ok:
			say("nobody asked for %+v", s)
		case !slices.ContainsFunc(reasons, func(d due) bool { return d.position == s.Position && d.version == s.Version }):
			say("%+v, but it was due %v", s, reasons)
		}
	}
	if !crashes {
		for key, n := range times {
			if n > 1 {
				say("%s was sent %d times without a crash: %v", key, n, expected[key])
			}
		}
	}
	for _, dead := range slices.Collect(v.DeadLetters()) {
		if w.gone[dead.Tenant] == 0 {
			say("dead letter: %s", dead.Reason)
		}
	}
	for _, network := range []string{"net", "other"} {
		n, _ := v.Network(network)
		if got := w.cursor(network); got != n.Next-1 {
			say("network %s: the cursor is at %d of %d", network, got, n.Next-1)
		}
	}
	return append(problems, w.broken...)
}

func runSchedule(t *testing.T, list []action, crashes bool) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setShared("net", 2)
		w.setShared("other", 1)
		keeper := tenantDoc{hooks: []string{"hook"}, monitors: map[string]watching{
			"n": {networks: []string{"net"}, triggers: []string{"hook"}}, "o": {networks: []string{"other"}, triggers: []string{"hook"}},
		}}
		w.setTenant("keeper", keeper)
		w.docs["keeper"] = keeper
		w.say("net", w.nextBlock("net"))
		w.say("other", w.nextBlock("other"))
		p := w.start(-1)
		synctest.Wait()
		for _, a := range list {
			p = w.play(a, p)
		}
		w.found()
		for range 3 { // a process may still be about to die
			pass(30 * time.Second)
			p = w.revive(p)
		}
		pass(time.Minute)
		w.locked(func() { problems = w.verify(crashes) })
		if err := p.stop(); err != nil {
			problems = append(problems, err.Error())
		}
	})
	return problems
}

// Whatever happens to chains, configurations and processes, nothing due is
// lost, nothing else is sent, and every alert is judged with the version in
// force.
func TestNothingIsLost(t *testing.T) {
	for _, crashes := range []bool{false, true} {
		t.Run(map[bool]string{false: "one process", true: "processes die"}[crashes], func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				list := schedules(rt, crashes)
				if problems := runSchedule(t, list, crashes); len(problems) > 0 {
					rt.Fatalf("%d problems:\n%s", len(problems), strings.Join(slices.Sorted(slices.Values(problems)), "\n"))
				}
			})
		})
	}
}

// The same schedule gives the same deliveries on every node.
func TestJudgingIsDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := schedules(rt, false)
		steps := func() (out []string) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.rig
				r.setShared("net", 2)
				r.setShared("other", 1)
				r.setTenant("keeper", simple("net", "other"))
				for _, a := range list {
					if slices.Contains([]string{"extend", "reorg", "depth", "tenant", "delete"}, a.kind) {
						w.play(a, &process{rig: r, life: -1})
					}
				}
				p := r.start(-1)
				pass(time.Minute)
				for _, s := range r.deliveries() {
					out = append(out, fmt.Sprint(s))
				}
				slices.Sort(out)
				_ = p.stop()
			})
			return out
		}
		a, b := steps(), steps()
		if !slices.Equal(a, b) {
			rt.Fatalf("%d deliveries, then %d others", len(a), len(b))
		}
	})
}
