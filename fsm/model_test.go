package fsm

import (
	"maps"
	"slices"
	"strings"
)

// model is the replicated state as naively as it can be written down: plain
// maps, the whole history kept, everything recomputed. It says which commands
// are refused and what the state looks like after the others.
type model struct {
	index   uint64
	tenants map[string]*modelTenant
	nets    map[string]*modelNet
	nodes   map[string]Node
	cluster Cluster
	tokens  map[string]Token
	cohorts map[string]Cohort
	cursors map[[2]string]*modelCursor // network, cohort
	blobs   map[Hash]int64             // when last put
	fired   map[string]*modelFired
	outbox  map[string]Outgoing // tenant, key
	dead    map[string]Dead     // tenant, key
	delivery
	tenancy
	gone map[changeRecord]bool // deletions
}

type modelTenant struct {
	cohort   string
	born     uint64
	assigned Assignment
	placed   SetPlacement
	placedAt uint64
	versions []Version // all there ever were
	source   Source
	quota    Quota
	quotaAt  uint64
	behind   map[string]map[uint64]bool // positions passed over, by network
}

// modelCursor knows of every position how it was told, and so which were never.
type modelCursor struct {
	position uint64
	until    uint64          // 0 while the cohort needs to go on; see needs
	told     map[uint64]bool // positions passed by progress; true: superseded
}

// active cursors have, or will have, something to judge.
func (c *modelCursor) active() bool { return c.until == 0 || c.position+1 < c.until }

func (t *modelTenant) current() Version { return t.versions[len(t.versions)-1] }

// inForce is the version of the tenant at a log index; number 0: none yet.
func (t *modelTenant) inForce(index uint64) Version {
	var found Version
	for _, v := range t.versions {
		if v.Index <= index {
			found = v
		}
	}
	return found
}

// owed reports whether a tenant's configuration asks for an announcement.
func (t *modelTenant) owed(network string, e Entry) bool {
	v := t.inForce(e.Index)
	return v.Number != 0 && slices.Contains(v.Manifest.Wanted, network)
}

func (t *modelTenant) wants(network string) bool {
	return slices.Contains(t.current().Manifest.Wanted, network)
}

type modelNet struct {
	lease   Lease
	log     []Entry // position p is log[p-1]
	born    int     // len(log) when the network was last wanted anew
	ends    []int   // len(log) each time it had ended to be wanted
	chain   []BlockRef
	low     int // chain[low:] may be rolled back
	first   uint64
	gap     uint64
	start   *Start
	windows []Depth // every finality depth there ever was
	deepest uint64  // depth asked for by a monitor since the network was wanted anew
	judged  [depths]map[BlockRef]bool
	due     map[uint64][depths][]BlockRef // by position
	anchors map[BlockRef]bool
}

// depths is how many judging depths, 0 and up, the model follows. The least
// window in use is deeper.
const depths = 4

type modelFired struct {
	Fired
	releasable bool // at some moment its block was final and judged by all
}

func newModel() *model {
	return &model{
		tenants: map[string]*modelTenant{}, nets: map[string]*modelNet{}, cohorts: map[string]Cohort{}, cursors: map[[2]string]*modelCursor{},
		nodes: map[string]Node{}, tokens: map[string]Token{}, gone: map[changeRecord]bool{},
		blobs: map[Hash]int64{}, fired: map[string]*modelFired{}, outbox: map[string]Outgoing{}, dead: map[string]Dead{}, delivery: newModelDelivery(), tenancy: newModelTenancy(),
	}
}

func newModelNet() *modelNet {
	n := &modelNet{due: map[uint64][depths][]BlockRef{}}
	n.forget()
	return n
}

func (n *modelNet) forget() {
	if len(n.log) > n.born {
		n.ends = append(n.ends, len(n.log))
	}
	n.born, n.chain, n.low, n.gap, n.start, n.deepest = len(n.log), nil, 0, 0, nil, 0
	n.lease.Holder, n.lease.Pinned = "", false
	n.anchors = map[BlockRef]bool{}
	for d := range n.judged {
		n.judged[d] = map[BlockRef]bool{}
	}
}

func (n *modelNet) next() uint64 { return uint64(len(n.log)) + 1 }

func (n *modelNet) window() int {
	if n.lease.Window == 0 {
		return DefaultWindow
	}
	return int(n.lease.Window)
}

func (n *modelNet) tip() (BlockRef, bool) {
	if len(n.chain) == 0 {
		return BlockRef{}, false
	}
	return n.chain[len(n.chain)-1], true
}

// uses counts the pointers to a blob from the versions a tenant still shows, and from
// the backtests that are not over.
func uses(v *View) map[Hash]uint64 {
	n := map[Hash]uint64{}
	for t := range v.Tenants() {
		for _, version := range append(slices.Clone(t.Previous), t.Current) {
			for _, d := range version.Manifest.Docs {
				n[d.Hash]++
				for _, h := range d.Refs {
					n[h]++
				}
			}
		}
	}
	for b := range v.ActiveBacktests() {
		n[b.Doc.Hash]++
		for _, h := range b.Doc.Refs {
			n[h]++
		}
	}
	return n
}

func (m *model) wanted(network string) (n int) {
	for _, t := range m.tenants {
		if t.wants(network) {
			n++
		}
	}
	return n
}

// needs reports whether a cohort's cursor goes on for a tenant: one that wants the
// network, or did and has an alert there that may still be retracted.
func (m *model) needs(id, network string) bool {
	t := m.tenants[id]
	if _, some := m.last(t, network); !some || t.wants(network) {
		return some
	}
	for _, f := range m.fired {
		if f.Network == network && f.Tenant == id && f.Born == t.born && len(f.Content) > 0 {
			return true
		}
	}
	return false
}

func (m *model) cohortNeeds(network, cohort string) (n int) {
	for id, t := range m.tenants {
		if t.cohort == cohort && m.needs(id, network) {
			n++
		}
	}
	return n
}

// goesOn is for a tenant that is to need a network: its cohort's cursor goes on from
// where it is, or from now if it had arrived.
func (m *model) goesOn(network, cohort string) {
	n, at := m.net(network), [2]string{network, cohort}
	c := m.cursors[at]
	switch {
	case c == nil:
		m.cursors[at] = &modelCursor{position: n.next() - 1, told: map[uint64]bool{}}
	case !c.active():
		c.position, c.until = n.next()-1, 0
	default:
		c.until = 0
	}
}

// ends is for a tenant that needs a network no more: its cohort's cursor, if nobody
// else needs it, still goes on to where the network is.
func (m *model) ends(network, cohort string) {
	if c := m.cursors[[2]string{network, cohort}]; c != nil && c.until == 0 && m.cohortNeeds(network, cohort) == 0 {
		c.until = m.nets[network].next()
	}
}

// lapse follows what the ledger has forgotten with the last command: when that is its
// affair, as long as it may.
func (m *model) lapse(v *View) {
	needed := map[[2]string]bool{} // network, tenant
	for network := range m.nets {
		for id := range m.tenants {
			needed[[2]string{network, id}] = m.needs(id, network)
		}
	}
	for key, f := range m.fired {
		f.releasable = f.releasable || m.final(f)
		if _, kept := v.FindFired(f.Network, f.Block, f.Alert, f.Born); kept || !f.releasable {
			continue
		}
		delete(m.fired, key)
		if at := [2]string{f.Network, f.Alert}; m.retracted[at].Block == f.Block && m.retracted[at].Born == f.Born {
			delete(m.retracted, at)
		}
	}
	for at, was := range needed {
		if network, id := at[0], at[1]; was && !m.needs(id, network) {
			m.ends(network, m.tenants[id].cohort)
			m.retire(network)
		}
	}
}

// least is the active cursor furthest behind, or the newest position without any.
func (m *model) least(network string) uint64 {
	least := m.nets[network].next() - 1
	for key, c := range m.cursors {
		if key[0] == network && c.active() {
			least = min(least, c.position)
		}
	}
	return least
}

// final reports whether something fired is of a final block and judged by all.
func (m *model) final(f *modelFired) bool {
	n := m.nets[f.Network]
	tip, begun := n.tip()
	window := uint64(n.window())
	return begun && tip.Height >= window && f.Block.Height < tip.Height-window && f.Position <= m.least(f.Network)
}

// retire forgets what a network was about once nobody wants it and nobody is
// owed any of it.
func (m *model) retire(network string) {
	if m.wanted(network) > 0 {
		return
	}
	for key, c := range m.cursors {
		if key[0] == network && c.active() {
			return
		}
	}
	for _, f := range m.fired {
		if f.Network == network && m.final(f) {
			f.releasable = true
		}
	}
	m.nets[network].forget()
}

// apply does what the command asks or answers with the sentinel that the state
// must wrap, having changed nothing. Documents' blobs are looked up in view,
// since when versions are let go is the state's affair.
func (m *model) apply(index uint64, c Command, view *View) error {
	m.index = index
	switch c := c.(type) {
	case *PutBlobs:
		for _, b := range c.Blobs {
			m.blobs[HashBlob(b)] = c.At
		}
	case *CollectBlobs:
		used := uses(view)
		maps.DeleteFunc(m.blobs, func(h Hash, at int64) bool { return at < c.Before && used[h] == 0 })
	case *SetTenantVersion:
		return m.setVersion(c)
	case *DeleteTenant:
		return m.deleteTenant(c)
	case *GrantLease:
		n, ok := m.nets[c.Network]
		if !ok {
			return ErrNotFound
		}
		if n.lease.Epoch != c.IfEpoch {
			return ErrConflict
		}
		n.lease = Lease{Holder: c.Holder, Epoch: index, Window: c.Window, Pinned: c.Pin}
		n.windows = append(n.windows, Depth{From: n.next(), Depth: uint64(n.window())})
	case *Announce:
		return m.announce(c)
	case *StartNetwork:
		n := m.net(c.Network)
		if len(n.log) > 0 {
			return ErrConflict
		}
		n.start = &Start{Height: c.Height, Missed: c.Missed}
	case *Progress:
		return m.progress(c)
	default:
		if known, err := m.applyDelivery(c); known {
			return err
		}
		if known, err := m.applyTenancy(c, view); known {
			return err
		}
		if known, err := m.applyBacktest(c); known {
			return err
		}
		return m.applyCluster(c)
	}
	return nil
}

func (m *model) net(key string) *modelNet {
	if m.nets[key] == nil {
		m.nets[key] = newModelNet()
	}
	return m.nets[key]
}

func (m *model) setVersion(c *SetTenantVersion) error {
	t, exists := m.tenants[c.Tenant]
	if number := uint64(0); exists {
		number = t.current().Number
		if number != c.Expect {
			return ErrConflict
		}
	} else if c.Expect != number {
		return ErrConflict
	}
	if exists && t.source != c.Source {
		return ErrConflict
	}
	for _, d := range c.Manifest.Docs {
		for _, h := range append([]Hash{d.Hash}, d.Refs...) {
			if _, ok := m.blobs[h]; !ok {
				return ErrNotFound
			}
		}
	}
	if exists && t.over(&c.Manifest) && c.Tenant != Shared {
		return ErrQuota
	}
	if !exists {
		t = &modelTenant{born: m.index, source: c.Source, versions: []Version{{Manifest: &Manifest{}}}, behind: map[string]map[uint64]bool{}}
		m.tenants[c.Tenant] = t
	}
	was := t.current().Manifest.Wanted
	t.versions = append(t.versions, Version{Number: c.Expect + 1, Index: m.index, At: c.At, Manifest: &c.Manifest})
	m.rewant(t, was, c.Manifest.Wanted)
	m.keepReplayed(c.Tenant, &c.Manifest)
	for _, d := range c.Manifest.Docs {
		for _, w := range d.Watches {
			m.nets[w.Network].deepest = max(m.nets[w.Network].deepest, w.Depth)
		}
	}
	return nil
}

// rewant counts a tenant in and out. A cohort's cursor that nobody needs still
// goes on to where the network was then; wanted again, it goes on from where it
// is, or from now if it had arrived.
func (m *model) rewant(t *modelTenant, was, now []string) {
	for _, key := range was {
		if slices.Contains(now, key) {
			continue
		}
		m.ends(key, t.cohort)
		m.abandon(key, t.cohort)
		m.retire(key)
	}
	for _, key := range now {
		if slices.Contains(was, key) {
			continue
		}
		m.goesOn(key, t.cohort)
	}
}

// last is the last position of a network that a tenant is owed, 0 when none; some
// tells whether there is any, or will be.
func (m *model) last(t *modelTenant, network string) (last uint64, some bool) {
	for _, e := range m.nets[network].log {
		if t.owed(network, e) {
			last = e.Position
		}
	}
	return last, last > 0 || t.wants(network)
}

// members is how many tenants of a cohort have anything to do with a network.
func (m *model) members(network, cohort string) (n int) {
	for _, t := range m.tenants {
		if _, some := m.last(t, network); t.cohort == cohort && some {
			n++
		}
	}
	return n
}

// abandon forgets a cursor that tells nobody anything.
func (m *model) abandon(network, cohort string) {
	if m.members(network, cohort) == 0 {
		delete(m.cursors, [2]string{network, cohort})
	}
}

// forgive ends what a tenant that is gone was owed alone.
func (m *model) forgive(gone *modelTenant) {
	for _, key := range slices.Sorted(maps.Keys(m.nets)) {
		if _, some := m.last(gone, key); !some {
			continue
		}
		m.ends(key, gone.cohort)
		m.abandon(key, gone.cohort)
		if c := m.cursors[[2]string{key, gone.cohort}]; c != nil && c.until != 0 && c.active() {
			last := c.position
			for _, t := range m.tenants {
				if owed, _ := m.last(t, key); t.cohort == gone.cohort {
					last = max(last, owed)
				}
			}
			c.until = last + 1
		}
		m.retire(key)
	}
}

func (m *model) deleteTenant(c *DeleteTenant) error {
	t, exists := m.tenants[c.Tenant]
	if !exists {
		return ErrNotFound
	}
	if t.current().Number != c.Expect {
		return ErrConflict
	}
	if t.source != c.Source {
		return ErrConflict
	}
	was := t.current().Manifest.Wanted
	t.versions = append(t.versions, Version{Number: c.Expect + 1, Index: m.index, Manifest: &Manifest{}})
	m.rewant(t, was, nil)
	delete(m.tenants, c.Tenant)
	m.gone[changeRecord{Index: m.index, Tenant: c.Tenant}] = true
	m.forgive(t)
	m.vacate(t.cohort)
	for key := range m.nets {
		if c.Tenant != Shared && strings.HasPrefix(key, c.Tenant+"/") {
			delete(m.nets, key)
			maps.DeleteFunc(m.cursors, func(k [2]string, _ *modelCursor) bool { return k[0] == key })
			maps.DeleteFunc(m.fired, func(_ string, f *modelFired) bool { return f.Network == key })
			maps.DeleteFunc(m.retracted, func(k [2]string, _ Retraction) bool { return k[0] == key })
		}
	}
	m.dropDelivery(c.Tenant, c.At)
	m.dropTenancy(c.Tenant)
	return nil
}
