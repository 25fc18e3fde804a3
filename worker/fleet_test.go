package worker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// fleet is a world with several nodes over one state, each with its own outbox,
// and a leader that places tenants.
type fleet struct {
	*world
	names     []string
	processes map[string]*process
	weather   map[string]*weather
	forced    bool // something happened after which an alert may come twice
	judged    map[string]uint64
	turn      int
}

// weather is what befalls the next proposals of a node.
type weather struct {
	mu   sync.Mutex
	left int
	kind string // fail: not applied; uncertain: applied, and an error; delay: applied late
}

func newFleet(t testing.TB, nodes int) *fleet {
	f := &fleet{world: newWorld(t), processes: map[string]*process{}, weather: map[string]*weather{}, judged: map[string]uint64{}}
	f.unplaced = true
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i+1)
		f.names = append(f.names, name)
		f.weather[name] = &weather{}
		f.begin(name)
	}
	return f
}

// begin starts a process of a node.
func (f *fleet) begin(name string) *process {
	p := f.prepareOn(name, -1, func(p *process, o *Options) {
		p.outbox = outbox.New(outbox.Options{
			Node: name, Contact: p.contact, Log: p, Sender: p, Triggers: store.NewTriggers(unsealed{}), Logger: o.Logger, Registerer: p.reg,
		})
		o.Outbox = p.outbox
		p.propose = func(c fsm.Command) error { return f.befall(name, c) }
	})
	f.processes[name] = p
	p.run()
	return p
}

var errWeather = errors.New("leadership lost")

func (f *fleet) befall(name string, c fsm.Command) error {
	w := f.weather[name]
	w.mu.Lock()
	kind := w.kind
	if w.left--; w.left < 0 {
		kind = ""
	}
	w.mu.Unlock()
	switch kind {
	case "fail":
		return errWeather
	case "uncertain":
		_, _ = f.apply(c)
		return errWeather
	case "delay":
		<-time.After(300 * time.Millisecond)
	}
	return nil
}

func (f *fleet) dead(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.processes[name].dead
}

// live is some live node, another one each time.
func (f *fleet) live() string {
	for range f.names {
		f.turn++
		if name := f.names[f.turn%len(f.names)]; !f.dead(name) {
			return name
		}
	}
	f.revive(f.names[0])
	return f.names[0]
}

func (f *fleet) revive(name string) {
	if f.dead(name) {
		_ = f.processes[name].stop()
		f.begin(name)
		f.forced = true
	}
}

// place does what a leader does at once: nobody stays without a node.
func (f *fleet) place() {
	v := f.state.View()
	for t := range v.Tenants() {
		c, ok := v.Cohort(t.Cohort)
		if t.ID != fsm.Shared && (!ok || c.Node == "") {
			f.move(f.live(), false, t.ID)
		}
	}
}

// failOver takes the tenants of a node away from it.
func (f *fleet) failOver(from string) {
	v := f.state.View()
	for t := range v.Tenants() {
		if c, ok := v.Cohort(t.Cohort); ok && c.Node == from {
			to := f.live()
			if to == from {
				continue
			}
			f.forced = true
			f.move(to, true, t.ID)
		}
	}
}

// look checks, after each action, that nobody's judging ever goes back.
func (f *fleet) look() {
	v := f.state.View()
	for t := range v.Tenants() {
		for network := range t.Coverage {
			c, ok := v.Cursor(network, t.Cohort)
			key := fmt.Sprintf("%s of %d on %s", t.ID, t.Born, network)
			switch {
			case !ok:
				f.broken = append(f.broken, fmt.Sprintf("%s has coverage and no cursor", key))
			case c.Position < f.judged[key]:
				f.broken = append(f.broken, fmt.Sprintf("%s: judged to %d, then to %d", key, f.judged[key], c.Position))
			default:
				f.judged[key] = c.Position
			}
		}
	}
}

var fleetTenants = []string{"acme", "beta", "gamma"}

// events draws what happens to a fleet.
func events(t *rapid.T, rough bool) []action {
	kinds := []string{
		"extend", "extend", "extend", "extend", "extend", "reorg", "tenant", "tenant", "delete", "depth", "pass", "pass", "missing", "found", "refuse", "accept",
		"hold", "answer", "move", "move", "move", "move", "moves", "laggard", "merge", "merge", "lose", "find", "fail", "uncertain", "delay", "race",
		"slow move", "slow move", "late move",
	}
	if rough {
		kinds = append(kinds, "force", "force", "crash", "crash", "revive", "failover", "cut", "heal", "restart")
	}
	monitor := rapid.Custom(func(t *rapid.T) choice {
		return choice{
			slug:    rapid.SampledFrom([]string{"net", "net", "other", "mine"}).Draw(t, "slug"),
			address: rapid.IntRange(0, addresses-1).Draw(t, "address"),
			trigger: rapid.SampledFrom([]string{"hook", "flaky", "slow"}).Draw(t, "trigger"),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
		return action{
			kind:    rapid.SampledFrom(kinds).Draw(t, "kind"),
			network: rapid.SampledFrom([]string{"net", "net", "other"}).Draw(t, "network"),
			n:       rapid.IntRange(1, 6).Draw(t, "n"),
			tenant:  rapid.SampledFrom(append(fleetTenants, "keeper")).Draw(t, "tenant"),
			node:    rapid.IntRange(0, 2).Draw(t, "node"),
			doc:     rapid.MapOfN(rapid.SampledFrom([]string{"m", "o"}), monitor, 1, 2).Draw(t, "monitors"),
			own:     uint64(rapid.IntRange(1, 5).Draw(t, "own")),
		}
	}), 1, 40).Draw(t, "events")
}

func (f *fleet) act(a action) {
	name := f.names[a.node%len(f.names)]
	p := f.processes[name]
	_, exists := f.state.View().Tenant(a.tenant)
	switch a.kind {
	case "tenant":
		if a.tenant == "keeper" {
			return
		}
		mine := networkDoc("mine", a.own)
		mine.Watch = "net"
		d := tenantDoc{networks: map[string]*spec.Network{"mine": mine}, monitors: map[string]watching{}, hooks: []string{"hook", "flaky", "slow"}}
		for id, c := range a.doc {
			d.monitors[id] = watching{networks: []string{c.slug}, address: c.address, triggers: []string{c.trigger}}
		}
		f.configure(a.tenant, d, a.own)
	case "delete":
		if a.tenant != "keeper" {
			f.remove(a.tenant)
		}
	case "hold":
		f.hold()
	case "answer":
		f.answer()
	case "move", "force":
		if exists {
			f.forced = f.forced || a.kind == "force"
			f.move(name, a.kind == "force", a.tenant)
		}
	case "moves":
		for t := range f.state.View().Tenants() {
			if t.ID != fsm.Shared {
				f.move(name, false, t.ID)
			}
		}
	case "laggard":
		if exists {
			t := mustTenant(f.t, f.state.View(), a.tenant)
			if c, ok := f.state.View().Cohort(t.Cohort); ok && c.Node != "" {
				f.must(&fsm.Move{Moves: []fsm.Moved{{Tenant: t.ID, Cohort: t.Cohort, To: c.Node, Reason: fsm.ReasonLaggard}}, At: 1})
			}
		}
	case "merge":
		f.mergeAll()
	case "race": // a move while rounds are on their way
		f.say(a.network, f.nextBlock(a.network))
		if exists {
			f.move(name, false, a.tenant)
		}
		f.mergeAll()
	case "slow move": // while first attempts hang
		f.hold()
		f.say(a.network, f.nextBlock(a.network))
		f.say(a.network, f.nextBlock(a.network))
		pass(time.Duration(a.n) * 400 * time.Millisecond)
		if exists {
			f.move(name, false, a.tenant)
		}
		pass(time.Duration(a.n) * 800 * time.Millisecond)
	case "late move": // while attempts from the outbox hang
		f.locked(func() { f.refuse["slow"] = notify.Result{Status: 503} })
		for range 3 {
			f.say(a.network, f.nextBlock(a.network))
		}
		pass(2 * time.Second)
		f.hold()
		f.locked(func() { delete(f.refuse, "slow") })
		pass(time.Duration(a.n) * 1700 * time.Millisecond)
		if exists {
			f.move(name, false, a.tenant)
		}
		pass(time.Duration(a.n) * 800 * time.Millisecond)
	case "lose":
		synctest.Wait() // nobody is between the last look and the send
		p.contact.lose()
	case "find":
		p.contact.find()
	case "fail", "uncertain", "delay":
		w := f.weather[name]
		w.mu.Lock()
		w.kind, w.left = a.kind, min(a.n, 3)
		w.mu.Unlock()
	case "crash":
		f.forced = true
		f.locked(func() { p.life = a.n })
	case "revive":
		f.revive(name)
	case "restart":
		f.forced = true // what is under way is cut off
		_ = p.stop()
		f.begin(name)
	case "failover":
		f.failOver(name)
	case "cut": // from the leader, which waits longer than the node
		p.freeze()
		pass(time.Second)
		p.contact.lose()
		pass(250 * time.Millisecond)
		f.failOver(name)
	case "heal":
		p.thaw()
		p.contact.find()
	default:
		f.play(a, nil)
	}
	f.place()
	f.look()
}

// hold makes the slow receiver hang, until answer.
func (f *fleet) hold() {
	f.locked(func() {
		if f.silent["slow"] == nil {
			f.silent["slow"] = make(chan struct{})
		}
	})
}

func (f *fleet) answer() {
	f.locked(func() {
		if gate := f.silent["slow"]; gate != nil {
			close(gate)
			delete(f.silent, "slow")
		}
	})
}

// mergeAll does what a leader does about cohorts of one node that are equally far.
func (f *fleet) mergeAll() {
	v := f.state.View()
	for c := range v.Cohorts() {
		if c.Node != "" && c.ID != c.Node {
			f.merge(c.ID, c.Node)
		}
	}
}

// calm ends all that goes wrong.
func (f *fleet) calm() {
	f.found()
	f.answer()
	f.locked(func() { clear(f.refuse) })
	for _, name := range f.names {
		f.revive(name)
		f.processes[name].thaw()
		f.processes[name].contact.find()
	}
	f.place()
}

// check compares what was delivered with the reference.
func (f *fleet) check() (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	expected := f.expect()
	v := f.state.View()
	times := map[string]int{}
	for _, s := range f.sent {
		times[s.Key]++
		reasons, ok := expected[s.Key]
		switch {
		case !ok:
			say("nobody asked for %+v", s)
		case !slices.ContainsFunc(reasons, func(d due) bool { return d.position == s.Position && d.version == s.Version }):
			say("%+v, but it was due %v", s, reasons)
		}
	}
	for key, reasons := range expected {
		waiting := slices.ContainsFunc(slices.Collect(v.Outbox()), func(o *fsm.Outgoing) bool { return o.Key == key })
		if slices.ContainsFunc(reasons, func(d due) bool { return d.must }) && times[key] == 0 {
			say("lost: %s, due %v, in the outbox: %v", key, reasons, waiting)
		}
	}
	for key, n := range times {
		if n > 1 && !f.forced {
			say("%s was sent %d times, though nothing was forced: %v", key, n, expected[key])
		}
	}
	for o := range v.Outbox() {
		say("still in the outbox: %s of %s: %s", o.Key, o.Tenant, o.Reason)
	}
	for dead := range v.DeadLetters() {
		if f.gone[dead.Tenant] == 0 {
			say("dead letter: %s", dead.Reason)
		}
	}
	for t := range v.Tenants() {
		if t.ID == fsm.Shared {
			continue
		}
		if v.Owner(t) == "" {
			say("%s is with nobody: cohort %q", t.ID, t.Cohort)
		}
		for network := range t.Coverage {
			next := uint64(0)
			for _, row := range v.Coverage(t, network, 0, 0) {
				if row.Status == fsm.Pending || next != 0 && row.FromPosition != next {
					say("coverage of %s on %s: %+v, %d expected", t.ID, network, row, next)
				}
				next = row.ToPosition + 1
			}
		}
	}
	return append(problems, f.broken...)
}

func runFleet(t *testing.T, nodes int, list []action) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, nodes)
		f.setShared("net", 2)
		f.setShared("other", 1)
		keeper := tenantDoc{hooks: []string{"hook"}, monitors: map[string]watching{
			"n": {networks: []string{"net"}, triggers: []string{"hook"}}, "o": {networks: []string{"other"}, triggers: []string{"hook"}},
		}}
		f.configure("keeper", keeper, 0)
		f.act(action{kind: "tenant", tenant: "acme", own: 3, doc: map[string]choice{"m": {"net", 0, "slow"}, "o": {"net", 1, "hook"}}})
		f.act(action{kind: "tenant", tenant: "beta", own: 3, doc: map[string]choice{"m": {"mine", 0, "flaky"}, "o": {"net", 1, "slow"}}})
		f.say("net", f.nextBlock("net"))
		f.say("other", f.nextBlock("other"))
		synctest.Wait()
		for _, a := range list {
			f.act(a)
		}
		for range 4 { // a process may still be about to die
			f.calm()
			pass(time.Minute)
		}
		pass(20 * time.Minute) // the third attempt of what was refused
		f.look()
		f.locked(func() { problems = f.check() })
		for _, name := range slices.Sorted(maps.Keys(f.processes)) {
			if err := f.processes[name].stop(); err != nil {
				problems = append(problems, err.Error())
			}
		}
	})
	return problems
}

// Whatever happens to tenants, nodes and the log: every alert that is due is
// delivered, nothing else is, judging never goes back, and coverage is complete.
// As long as nothing is forced and nobody dies, every alert is delivered once.
func TestFleet(t *testing.T) {
	for _, rough := range []bool{false, true} {
		t.Run(map[bool]string{false: "planned", true: "rough"}[rough], func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				nodes := rapid.IntRange(2, 3).Draw(rt, "nodes")
				list := events(rt, rough)
				if problems := runFleet(t, nodes, list); len(problems) > 0 {
					rt.Fatalf("%d problems:\n%s", len(problems), strings.Join(slices.Sorted(slices.Values(problems)), "\n"))
				}
			})
		})
	}
}

var _ outbox.Sender = (*process)(nil)
