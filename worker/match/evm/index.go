package evm

import (
	"container/heap"
	"math"
	"sync"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
)

// Index holds the monitors of one network, each with the positions at which it
// is in force, and finds the matches of a block. It is safe for concurrent use;
// changes wait for blocks being matched.
type Index struct {
	mu       sync.RWMutex
	accounts map[chainevm.Address]*account
	filter   filter
	tenants  map[string]*tenant
	ended    endHeap
	added    uint64 // instances ever added: their order
	live     int
	opts     Options
	runs     sync.Pool
}

// Options are what an Index reports to. The zero value reports nothing.
type Options struct {
	// OnPanic is called when judging a monitor panics; the condition counts as
	// not met. It may be called concurrently and must not call the Index.
	OnPanic func(key match.Key, value any)
}

// instance is one monitor in force for some positions.
type instance struct {
	tenant      *tenant
	id          string
	monitor     *Monitor
	from, until uint64 // positions from <= p < until
	order       uint64
	gone        bool
}

func (i *instance) key() match.Key { return match.Key{Tenant: i.tenant.name, Monitor: i.id} }

func (i *instance) inForce(pos uint64) bool { return i.from <= pos && pos < i.until }

// Handle names what Add added.
type Handle struct{ inst *instance }

// NewIndex returns an empty index.
func NewIndex(opts ...Options) *Index {
	x := &Index{
		accounts: make(map[chainevm.Address]*account),
		tenants:  make(map[string]*tenant),
	}
	for _, o := range opts {
		x.opts = o
	}
	x.runs.New = func() any { return &run{} }
	return x
}

// Len is the number of monitors held, those that ended included until Prune.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.live
}

// Add puts a monitor in force for positions from the given one on. A paused
// monitor is held but never matches.
func (x *Index) Add(k match.Key, m *Monitor, from uint64) Handle {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.tenants[k.Tenant]
	if t == nil {
		t = &tenant{name: k.Tenant}
		x.tenants[k.Tenant] = t
	}
	x.added++
	x.live++
	inst := &instance{tenant: t, id: k.Monitor, monitor: m, from: from, until: math.MaxUint64, order: x.added}
	if !m.Paused() {
		x.file(inst)
	}
	return Handle{inst}
}

// Remove ends a monitor: it is in force for positions before until only. The
// earliest end counts when it is called again.
func (x *Index) Remove(h Handle, until uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if h.inst == nil || h.inst.gone || until >= h.inst.until {
		return
	}
	h.inst.until = until
	heap.Push(&x.ended, ending{until, h.inst})
}

// Prune forgets the monitors that ended at or before a position. It must not be
// called while an earlier position may still be judged.
func (x *Index) Prune(before uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.ended) > 0 && x.ended[0].until <= before {
		inst := heap.Pop(&x.ended).(ending).inst //nolint:forcetypeassert // the heap holds nothing else
		if inst.gone {
			continue
		}
		inst.gone = true
		x.live--
		if !inst.monitor.Paused() {
			x.unfile(inst)
		}
	}
}

// file puts the postings of an instance where blocks will find them.
func (x *Index) file(inst *instance) {
	m := inst.monitor
	inst.tenant.add(inst)
	if m.hasTxs && len(m.txs) == 0 { // never matches
		return
	}
	for i := range m.targets {
		t := &m.targets[i]
		if m.gateOnly() {
			x.fileInvolved(inst, x.account(t.address))
			continue
		}
		for _, r := range t.rules() {
			g := x.account(t.address).grow(r.def.Layout)
			for k := range r.conds {
				g.add(posting{inst, &r.conds[k]})
			}
		}
		if t.contract == nil && m.hasFunctions {
			a := x.account(t.address)
			if a.open == nil {
				a.open = &group{}
			}
			a.open.add(posting{inst: inst})
		}
	}
}

func (x *Index) fileInvolved(inst *instance, a *account) {
	if a.involved == nil {
		a.involved = &group{}
	}
	if !inst.monitor.hasTxs {
		a.involved.add(posting{inst: inst})
	}
	for k := range inst.monitor.txs {
		a.involved.add(posting{inst, &inst.monitor.txs[k]})
	}
}

// unfile takes the postings of an instance that is gone out again.
func (x *Index) unfile(inst *instance) {
	m := inst.monitor
	if inst.tenant.drop(inst); len(inst.tenant.all) == 0 {
		delete(x.tenants, inst.tenant.name)
	}
	if m.hasTxs && len(m.txs) == 0 {
		return
	}
	for i := range m.targets {
		t := &m.targets[i]
		a := x.accounts[t.address]
		if a == nil {
			continue
		}
		if m.gateOnly() {
			a.involved = dropped(a.involved, max(1, len(m.txs)))
		}
		for _, r := range t.rules() {
			if g := a.group(r.def.Layout); g != nil && dropped(g, len(r.conds)) == nil {
				a.remove(g)
			}
		}
		if t.contract == nil && m.hasFunctions {
			a.open = dropped(a.open, 1)
		}
		if a.empty() {
			delete(x.accounts, t.address)
		}
	}
}

// dropped is the group without n postings that are gone, nil when nothing is
// left of it.
func dropped(g *group, n int) *group {
	if g == nil {
		return nil
	}
	for range n {
		g.drop()
	}
	if g.size == 0 {
		return nil
	}
	return g
}

// account returns the account of an address, made if need be.
func (x *Index) account(address chainevm.Address) *account {
	a := x.accounts[address]
	if a != nil {
		return a
	}
	a = &account{}
	x.accounts[address] = a
	if x.filter.full() {
		size := filterMin / 64
		for size*64 < 2*filterLoad*len(x.accounts) {
			size *= 2
		}
		x.filter = filter{bits: make([]uint64, size)}
		for other := range x.accounts {
			x.filter.add(&other)
		}
		return a
	}
	x.filter.add(&address)
	return a
}

// endHeap orders instances by their end.
type endHeap []ending

type ending struct {
	until uint64
	inst  *instance
}

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h endHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *endHeap) Push(v any) { *h = append(*h, v.(ending)) } //nolint:forcetypeassert // as above

// Pop is for package heap.
func (h *endHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = ending{}
	*h = old[:len(old)-1]
	return last
}
