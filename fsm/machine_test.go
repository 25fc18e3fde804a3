package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestModel feeds random commands to two states and to the model. One of the
// two states is replaced by a restored snapshot of itself now and then.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		m.prelude(t)
		actions := map[string]func(*rapid.T){
			"":            m.check,
			"blobs":       m.putBlobs,
			"collect":     m.collect,
			"tenant":      m.setTenant,
			"tenant2":     m.setTenant,
			"pause":       m.pause,
			"pause2":      m.pause,
			"delete":      m.deleteTenant,
			"register":    m.registerNode,
			"drain":       m.drainNode,
			"removeNode":  m.removeNode,
			"cluster":     m.setCluster,
			"token":       m.token,
			"place":       m.place,
			"move":        m.move,
			"move2":       m.move,
			"release":     m.release,
			"catchUp":     m.catchUp,
			"merge":       m.merge,
			"merge2":      m.merge,
			"unite":       m.unite,
			"passOver":    m.passOver,
			"fallBehind":  m.fallBehind,
			"lease":       m.grantLease,
			"announce":    m.announce,
			"announce2":   m.announce,
			"announce3":   m.announce,
			"announce4":   m.announce,
			"start":       m.startNetwork,
			"progress":    m.progress,
			"progress2":   m.progress,
			"progress3":   m.progress,
			"settle":      m.settle,
			"purge":       m.purge,
			"redeliver":   m.redeliver,
			"replay":      m.replay,
			"secret":      m.secret,
			"key":         m.key,
			"key2":        m.key,
			"quota":       m.quota,
			"backtest":    m.backtest,
			"backtest2":   m.backtest,
			"ignorable":   m.ignorable,
			"restoreTwin": m.restoreTwin,
			"holdView":    m.holdView,
		}
		t.Repeat(actions)
		m.finish(t)
		for _, h := range m.held {
			if !bytes.Equal(h.bytes, snapshot(t, h.view)) {
				t.Fatalf("the view of index %d has changed since it was taken", h.view.index)
			}
		}
	})
}

type heldView struct {
	view  *View
	bytes []byte
}

type machine struct {
	s, twin *State
	m       *model
	index   uint64
	clock   int64
	forks   int
	held    []heldView
	epochs  map[string]uint64
	cursors map[[2]string]uint64 // positions, as of the last check
	judged  map[judgedKey]uint64 // how far each tenant was judged, as of the last check
	before  *View                // before the last command
}

// judgedKey is a tenant, which may come again under the same name, on a network.
type judgedKey struct {
	tenant  string
	born    uint64
	network string
}

func newMachine() *machine {
	m := &machine{s: New(), twin: New(), m: newModel(), epochs: map[string]uint64{}, cursors: map[[2]string]uint64{}, judged: map[judgedKey]uint64{}}
	m.before = m.s.View()
	return m
}

// prelude brings the cluster to where announcements and progress are possible,
// so that the random commands meet an interesting state soon.
func (m *machine) prelude(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "from nothing") == 0 {
		return
	}
	m.do(t, &PutBlobs{Blobs: [][]byte{blob(0), blob(1), blob(2), blob(3)}, At: 1})
	for _, name := range nodeNames {
		m.do(t, &RegisterNode{Name: name, Server: name + "@1", Roles: AllRoles})
	}
	var moves []Moved
	for i, id := range tenantIDs[1:] {
		watched := Doc{Kind: DocMonitor, ID: "monitor-0", Hash: HashBlob(blob(i)), Watches: []Watch{{Network: "base", Slug: "base"}}}
		m.do(t, &SetTenantVersion{Tenant: id, Manifest: Manifest{Docs: []Doc{watched}, Wanted: []string{"base"}}, Source: Source(i % 2)})
		moves = append(moves, Moved{Tenant: id, To: nodeNames[i%2], Reason: ReasonInitial})
	}
	m.do(t, &GrantLease{Network: "base", Holder: "n1", Window: 6})
	m.do(t, &Move{Moves: moves, At: m.clock})
}

var (
	netKeys     = []string{"ethereum_mainnet", "acme/anvil", "base"}
	tenantIDs   = []string{Shared, "acme", "bolt", "corp", "dune"}
	nodeNames   = []string{"n1", "n2", "n3"}
	windowSizes = []uint32{6, 6, 6, 9, 0, 5}
)

// bodyOf is a view's snapshot without its index.
func bodyOf(t failer, v *View) []byte {
	c := *v
	c.index = 0
	return snapshot(t, &c)
}

// do applies a command everywhere and compares the answers.
func (m *machine) do(t *rapid.T, c Command) {
	m.index += rapid.Uint64Range(1, 3).Draw(t, "index step")
	m.clock += rapid.Int64Range(0, 5).Draw(t, "clock step")
	m.before = m.s.View()
	body := bodyOf(t, m.before)
	proposed := m.perhapsAudited(t, c)
	entry := mustEncode(t, proposed)
	want := m.m.apply(m.index, proposed, m.before)
	got, err := m.s.Apply(m.index, entry)
	twinGot, twinErr := m.twin.Apply(m.index, entry)
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("%#v answered %v, the model says %v", c, err, want)
	}
	if fmt.Sprint(err) != fmt.Sprint(twinErr) || !reflect.DeepEqual(got, twinGot) {
		t.Fatalf("two states answered %v, %v and %v, %v", got, err, twinGot, twinErr)
	}
	if err != nil {
		if !bytes.Equal(body, bodyOf(t, m.s.View())) {
			t.Fatalf("%#v was refused (%v) and yet changed the state", c, err)
		}
		return
	}
	m.m.lapse(m.s.View())
	switch c := c.(type) {
	case *Announce:
		if n := len(m.m.nets[c.Network].log); got != uint64(n) {
			t.Fatalf("announcement answered position %v, the model is at %d", got, n)
		}
	case *Move:
		if n := len(m.m.moved(m.index)); got != n {
			t.Fatalf("%#v answered %v, the model moved %d tenants", c, got, n)
		}
	case *Merge:
		if into := m.s.View().TenantCount(c.Into) - m.before.TenantCount(c.Into); m.before.TenantCount(c.From) > 0 && got != into {
			t.Fatalf("%#v answered %v, %d tenants came", c, got, into)
		}
	case *Purge:
		v := m.s.View()
		if n := m.before.OutboxLen() + m.before.DeadLen() - v.OutboxLen() - v.DeadLen(); got != n {
			t.Fatalf("%#v answered %v, %d are gone", c, got, n)
		}
	case *Replay:
		for _, o := range c.Outbox {
			_, dead := m.s.View().FindDead(c.Tenant, o.Key)
			if keys, ok := got.([]string); !ok || slices.Contains(keys, o.Key) != dead {
				t.Fatalf("%#v answered %v; that %s is dead is %t", c, got, o.Key, dead)
			}
		}
	case *RegisterNode, *Release, *SetCluster, *PutSecret, *SetQuota:
		if got != m.index {
			t.Fatalf("%#v answered %v at index %d", c, got, m.index)
		}
	case *GrantLease:
		if epoch := got.(uint64); epoch <= m.epochs[c.Network] {
			t.Fatalf("epoch %d of %s after %d", epoch, c.Network, m.epochs[c.Network])
		}
		m.epochs[c.Network] = got.(uint64)
	}
}

func (m *machine) putBlobs(t *rapid.T) {
	blobs := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 9), blob), 1, 4).Draw(t, "blobs")
	m.do(t, &PutBlobs{Blobs: blobs, At: m.clock})
}

func blob(i int) []byte { return fmt.Appendf(nil, "document %d", i) }

func (m *machine) collect(t *rapid.T) {
	m.do(t, &CollectBlobs{Before: m.clock - rapid.Int64Range(-1, 20).Draw(t, "age")})
}

func (m *machine) setTenant(t *rapid.T) {
	c := &SetTenantVersion{
		Tenant: rapid.SampledFrom(tenantIDs).Draw(t, "tenant"),
		At:     m.clock,
	}
	c.Source = m.source(t, c.Tenant)
	if old, ok := m.m.tenants[c.Tenant]; ok {
		c.Expect = old.current().Number
	}
	if rapid.IntRange(0, 7).Draw(t, "wrong version") == 0 {
		c.Expect++
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "docs") {
		d := Doc{Kind: DocMonitor, ID: fmt.Sprint("monitor-", i)}
		d.Hash = HashBlob(blob(m.blob(t)))
		if rapid.Bool().Draw(t, "points further") {
			d.Refs = []Hash{HashBlob(blob(m.blob(t)))}
		}
		if c.Tenant != Shared {
			for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom(netKeys), rapid.ID[string]).Draw(t, "watched") {
				if key == "acme/anvil" && c.Tenant != "acme" {
					continue // that one is private
				}
				d.Watches = append(d.Watches, Watch{
					Network: key, Slug: key, Depth: rapid.Uint64Range(0, 3).Draw(t, "depth"), Mode: Mode(rapid.IntRange(0, 4).Draw(t, "mode")),
				})
			}
		}
		c.Manifest.Docs = append(c.Manifest.Docs, d)
	}
	c.Manifest.Normalize()
	m.do(t, c)
}

// pause makes a tenant want nothing, or "base" again.
func (m *machine) pause(t *rapid.T) {
	c := &SetTenantVersion{Tenant: rapid.SampledFrom(tenantIDs[1:]).Draw(t, "tenant"), At: m.clock}
	c.Source = m.source(t, c.Tenant)
	if old, ok := m.m.tenants[c.Tenant]; ok {
		c.Expect = old.current().Number
		if len(old.current().Manifest.Wanted) == 0 {
			c.Manifest.Wanted = []string{"base"}
		}
	}
	m.do(t, c)
}

// blob is mostly one that was put.
func (m *machine) blob(t *rapid.T) int {
	var known []int
	for i := range 10 {
		if _, ok := m.m.blobs[HashBlob(blob(i))]; ok {
			known = append(known, i)
		}
	}
	if len(known) == 0 || rapid.IntRange(0, 9).Draw(t, "unknown blob") == 0 {
		return rapid.IntRange(0, 9).Draw(t, "blob")
	}
	return rapid.SampledFrom(known).Draw(t, "blob")
}

func (m *machine) deleteTenant(t *rapid.T) {
	c := &DeleteTenant{Tenant: rapid.SampledFrom(tenantIDs).Draw(t, "tenant"), At: m.clock}
	c.Source = m.source(t, c.Tenant)
	if old, ok := m.m.tenants[c.Tenant]; ok {
		c.Expect = old.current().Number
	}
	if rapid.IntRange(0, 2).Draw(t, "wrong version") != 0 {
		c.Expect++
	}
	m.do(t, c)
}

func (m *machine) grantLease(t *rapid.T) {
	c := &GrantLease{
		Network: rapid.SampledFrom(netKeys).Draw(t, "network"),
		Holder:  rapid.SampledFrom([]string{"n1", "n2", "n2", ""}).Draw(t, "holder"),
		Window:  rapid.SampledFrom(windowSizes).Draw(t, "window"),
		Pin:     rapid.Bool().Draw(t, "pin"),
	}
	if n, ok := m.m.nets[c.Network]; ok {
		c.IfEpoch = n.lease.Epoch
	}
	if rapid.IntRange(0, 5).Draw(t, "stale") == 0 {
		c.IfEpoch++
	}
	m.do(t, c)
}

// leased is a network with a lease, where there is one.
func (m *machine) leased(t *rapid.T) string {
	var leased []string
	for _, key := range slices.Sorted(maps.Keys(m.m.nets)) {
		if m.m.nets[key].lease.Holder != "" {
			leased = append(leased, key)
		}
	}
	if len(leased) == 0 {
		return rapid.SampledFrom(netKeys).Draw(t, "network")
	}
	return rapid.SampledFrom(leased).Draw(t, "network")
}

// announce draws entries against a copy of the model's network, so that most of
// them follow.
func (m *machine) announce(t *rapid.T) {
	key := m.leased(t)
	n, ok := m.m.nets[key]
	if !ok {
		m.do(t, &Announce{Network: key})
		return
	}
	c := &Announce{Network: key, Epoch: n.lease.Epoch}
	if rapid.IntRange(0, 9).Draw(t, "deposed") == 0 {
		c.Epoch--
	}
	try := n.clone()
	for range rapid.IntRange(0, 8).Draw(t, "entries") {
		e := m.entry(t, try)
		c.Entries = append(c.Entries, e)
		e.Position = try.next()
		if !try.step(e) {
			break
		}
	}
	m.do(t, c)
}

func (m *machine) entry(t *rapid.T, n *modelNet) Entry {
	m.forks++
	fork := fmt.Sprint(m.forks)
	tip, begun := n.tip()
	if n.gap == 0 && begun {
		switch rapid.IntRange(0, 11).Draw(t, "kind") {
		case 0, 1, 2: // back to a block of the window, or just below it
			return Entry{Kind: Rollback, Ref: rapid.SampledFrom(n.chain[max(0, n.low-1):]).Draw(t, "back to")}
		case 3: // back to where the network began
			return Entry{Kind: Rollback, Ref: ref(n.first-1, rapid.SampledFrom([]string{"root", fork}).Draw(t, "root"))}
		case 4:
			from := tip.Height + 1
			return Entry{Kind: Skip, From: from, Ref: BlockRef{Height: from + rapid.Uint64Range(0, 5).Draw(t, "skip")}}
		default:
		}
	}
	e := Entry{Kind: Extend, Time: m.clock, Seen: m.clock + 1}
	switch {
	case n.gap != 0:
		e.Ref = ref(n.gap+1, fork)
	case !begun && rapid.IntRange(0, 4).Draw(t, "skip first") == 0:
		from := rapid.Uint64Range(1, 20).Draw(t, "first")
		return Entry{Kind: Skip, From: from, Ref: BlockRef{Height: from + 3}}
	case !begun:
		e.Ref = ref(rapid.Uint64Range(1, 20).Draw(t, "first"), fork)
	default:
		e.Ref, e.Parent = ref(tip.Height+1, fork), tip.Hash
	}
	switch rapid.IntRange(0, 40).Draw(t, "flaw") {
	case 0:
		e.Parent = Hash{1}
	case 1:
		e.Ref.Height++
	case 2:
		e.Kind = 9
	default:
	}
	return e
}

func (m *machine) startNetwork(t *rapid.T) {
	m.do(t, &StartNetwork{Network: rapid.SampledFrom(netKeys).Draw(t, "network"), Height: rapid.Uint64Range(1, 50).Draw(t, "height"), Missed: []uint64{7}})
}

func (m *machine) progress(t *rapid.T) {
	c := &Progress{Network: rapid.SampledFrom(netKeys).Draw(t, "network"), Cohort: m.cohort(t)}
	behind := slices.SortedFunc(maps.Keys(m.m.cursors), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	behind = slices.DeleteFunc(behind, func(k [2]string) bool {
		c := m.m.cursors[k]
		return !c.active() || c.position+1 == m.m.nets[k[0]].next()
	})
	if all := slices.Collect(values(m.s.View().cursors)); len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "any cursor") == 0 {
		k := rapid.SampledFrom(all).Draw(t, "cursor, perhaps parked")
		c.Network, c.Cohort = k.Network, k.Cohort
	} else if len(behind) > 0 && rapid.IntRange(0, 5).Draw(t, "behind") != 0 {
		k := rapid.SampledFrom(behind).Draw(t, "cursor")
		c.Network, c.Cohort = k[0], k[1]
	}
	c.Epoch = m.m.cohorts[c.Cohort].Epoch
	if rapid.IntRange(0, 9).Draw(t, "deposed") == 0 {
		c.Epoch++
	}
	position, last := uint64(0), uint64(0)
	if cursor := m.m.cursors[[2]string{c.Network, c.Cohort}]; cursor != nil {
		position = cursor.position
	}
	n, ok := m.m.nets[c.Network]
	if ok {
		last = n.next() - 1
	}
	switch rapid.IntRange(0, 9).Draw(t, "move") {
	case 0: // records without moving
	case 1:
		c.To = rapid.Uint64Range(0, position).Draw(t, "told before")
	case 2:
		c.To = last + 1
	default:
		c.To = rapid.Uint64Range(min(position+1, last), last).Draw(t, "to")
		if c.To > position && rapid.Bool().Draw(t, "some superseded") {
			from := rapid.Uint64Range(position+1, c.To).Draw(t, "from")
			c.Superseded = []Span{{From: from, To: rapid.Uint64Range(from, c.To).Draw(t, "until")}}
		}
	}
	if ok && len(n.log) > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "fired") {
			c.Fired = append(c.Fired, m.drawFired(t, c.Network, n))
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "outbox") {
		c.Outbox = append(c.Outbox, m.outgoing(t))
	}
	if rapid.IntRange(0, 4).Draw(t, "dead") == 0 {
		c.Dead = []Dead{{Outgoing: m.outgoing(t), DiedAt: m.clock}}
	}
	m.do(t, c)
}

// finish gives every tenant a node and lets every cohort judge all it still owes: then nothing is pending, and
// no network that nobody wants holds anything.
func (m *machine) finish(t *rapid.T) {
	m.settleAll(t)
	for c := range m.s.View().AllCursors() {
		n := m.m.nets[c.Network]
		if to := n.next() - 1; to > c.Position {
			m.do(t, &Progress{Network: c.Network, Cohort: c.Cohort, Epoch: m.m.cohorts[c.Cohort].Epoch, To: to})
		}
	}
	m.check(t)
	v := m.s.View()
	for tenant := range v.Tenants() {
		for key := range m.m.nets {
			for _, r := range announcedRows(v, tenant, key) {
				if r.Status == Pending {
					t.Fatalf("tenant %q on %s: %+v after all was judged", tenant.ID, key, r)
				}
			}
		}
	}
	for n := range v.Networks() {
		if len(n.Entries) > 0 {
			t.Fatalf("network %s keeps %v after all was judged", n.Key, n.Entries)
		}
	}
	for c := range v.AllCursors() {
		if c.Tenants == 0 {
			t.Fatalf("cursor %+v is not parked after all was judged", c)
		}
	}
}

// ignorable is a command of a newer version that this one may skip.
func (m *machine) ignorable(t *rapid.T) {
	m.index++
	body := bodyOf(t, m.s.View())
	for _, s := range []*State{m.s, m.twin} {
		if got, err := s.Apply(m.index, []byte{0xfe, 1, 2, 3}); got != nil || err != nil {
			t.Fatalf("an ignorable entry answered %v, %v", got, err)
		}
	}
	if !bytes.Equal(body, bodyOf(t, m.s.View())) {
		t.Fatal("an ignorable entry changed the state")
	}
}

// restoreTwin replaces the twin by what its snapshot says.
func (m *machine) restoreTwin(t *rapid.T) {
	written := snapshot(t, m.twin.View())
	m.twin = New()
	if err := m.twin.Restore(bytes.NewReader(written)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, snapshot(t, m.twin.View())) {
		t.Fatal("a restored state writes another snapshot")
	}
}

func (m *machine) holdView(t *rapid.T) {
	m.held = append(m.held, heldView{m.s.View(), snapshot(t, m.s.View())})
}
