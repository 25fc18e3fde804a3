package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrClosed: gossip has been closed.
var ErrClosed = errors.New("gossip is closed")

// resolveFor is how long the look-up of an address may take.
const resolveFor = 5 * time.Second

// Gossip is this node's part in it.
type Gossip struct {
	o         Options
	times     times
	log       *slog.Logger
	bridge    *bridge
	metrics   *metrics
	transport *transport
	keys      *memberlist.Keyring // nil: plaintext

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	announce chan struct{} // Meta has changed
	// updating holds one token: only one goroutine at a time has the library
	// announce this node, or replaces the library's instance.
	updating chan struct{}

	mu        sync.Mutex // never held while waiting
	list      *memberlist.Memberlist
	reopened  time.Time // when list replaced another one; zero: never, or settled
	self      wire
	encoded   []byte // self
	table     table
	changed   chan struct{}
	conflicts conflicts
	joining   map[string]bool // addresses the re-join loop is busy with
	left      bool
	closed    bool
}

// New starts gossip with this node as its only member. Close closes the packet
// connection and the streams' listener too; when New fails, the caller has to.
func New(o Options) (*Gossip, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	g := &Gossip{
		o: o, log: o.Logger,
		self:     wire{Meta: o.Meta, Address: o.Advertise, Run: rand.Uint32()},
		announce: make(chan struct{}, 1), updating: make(chan struct{}, 1),
		table:   table{members: map[string]*entry{}},
		changed: make(chan struct{}), joining: map[string]bool{},
	}
	var err error
	if g.encoded, err = g.self.encode(); err != nil {
		return nil, err
	}
	if g.keys, err = newKeyring(o.Keys); err != nil {
		return nil, err
	}
	c, times := o.config()
	g.times = times
	g.conflicts = conflicts{after: g.times.conflict, seen: map[string]*sighting{}}
	resolving, cancel := context.WithTimeout(context.Background(), resolveFor)
	defer cancel()
	own, err := g.o.ownAddress(resolving)
	if err != nil {
		return nil, err
	}
	if g.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.bridge = newBridge(g.log, func(reason string) { g.metrics.dropped.WithLabelValues(reason).Inc() })
	g.transport = newTransport(&g.o, c.TCPTimeout, own, g.bridge, g.metrics, g.addressOf)
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	g.wg.Go(g.announceLoop)
	g.wg.Go(g.rejoinLoop)
	return g, nil
}

// open makes an instance of the library, which knows nobody but this node.
func (g *Gossip) open() error {
	g.mu.Lock()
	g.table.life++
	d := &delegate{g: g, life: g.table.life}
	g.mu.Unlock()
	c, _ := g.o.config()
	c.Transport = g.transport
	c.Keyring = g.keys
	c.Delegate, c.Events, c.Conflict = d, d, d
	c.Logger = slog.NewLogLogger(g.bridge, slog.LevelInfo)
	list, err := memberlist.Create(c)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = list
	return nil
}

// Members are all nodes known, this one and the dead of the last day included,
// by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.table.list()
}

// Changed is closed at the next change of Members.
func (g *Gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// SetMeta changes what this node says about itself. It is announced from now
// on, and known everywhere within a second or so.
func (g *Gossip) SetMeta(m Meta) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := g.self
	next.Meta = m
	encoded, err := next.encode()
	if err != nil {
		return err
	}
	if next == g.self {
		return nil
	}
	g.self, g.encoded = next, encoded
	select {
	case g.announce <- struct{}{}:
	default:
	}
	return nil
}

// SetKeys makes these the keys, the first one encrypting. To change keys without
// losing anybody: add the new one everywhere, put it first everywhere, remove the
// old one everywhere. What was started in plaintext stays so.
func (g *Gossip) SetKeys(keys [][]byte) error {
	switch {
	case g.keys == nil && len(keys) == 0:
		return nil
	case g.keys == nil:
		return fmt.Errorf("%w: this cluster gossips in plaintext; encryption begins when all nodes start with a key", ErrKeys)
	case len(keys) == 0:
		return fmt.Errorf("%w: an encrypted cluster needs at least one", ErrKeys)
	}
	if err := checkKeys(keys); err != nil {
		return err
	}
	// The ring has a lock of its own, but several steps are one change here.
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	return syncKeyring(g.keys, keys)
}

// KeyIDs names the keys held, the one in use first. See KeyID.
func (g *Gossip) KeyIDs() []string {
	if g.keys == nil {
		return nil
	}
	var ids []string
	for _, key := range g.keys.GetKeys() {
		ids = append(ids, KeyID(key))
	}
	return ids
}

// announceLoop has the library tell everybody when this node's Meta has changed.
func (g *Gossip) announceLoop() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.announce:
			g.update()
		}
	}
}

// update announces this node, and waits for a moment until that was sent.
func (g *Gossip) update() {
	const limit = time.Second / 4
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	if list := g.current(); list != nil {
		if err := list.UpdateNode(limit); err != nil {
			g.log.Debug("this node's announcement is still on its way", "error", err)
		}
	}
}

// Leave tells the others that this node leaves, within a second. Members go on
// to list it, as Left, and it takes no further part. Close is still needed.
func (g *Gossip) Leave(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := g.times.leave
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	g.mu.Lock()
	list, run, again := g.list, g.self.Run, g.left
	if list == nil || again {
		defer g.mu.Unlock()
		if list == nil {
			return ErrClosed
		}
		return nil
	}
	g.left = true
	g.table.leaving(g.o.Name, run)
	peers := g.table.reachable()
	g.mu.Unlock()
	delete(peers, g.o.Name)
	// Once before and once after, since a packet may be lost. Whoever misses both
	// takes this node for dead, which makes little difference.
	word := encodeLeaving(g.o.Name, run)
	tell := func() {
		for name, ip := range peers {
			if err := list.SendToAddress(memberlist.Address{Addr: ip, Name: name}, word); err != nil {
				g.log.Debug("a peer cannot be told that this node leaves", "peer", name, "error", err)
			}
		}
	}
	tell()
	err := list.Leave(limit)
	tell()
	if err != nil {
		return fmt.Errorf("gossip: not all nodes may know that this one leaves: %w", err)
	}
	return nil
}

// Close ends gossip without a word to the others; see Leave. A probe that is
// under way ends on its own some seconds later: a test in a synctest bubble has
// to let that time pass.
func (g *Gossip) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.transport.cancel()
	g.updating <- struct{}{}
	var err error
	g.mu.Lock()
	list := g.list
	g.list = nil
	g.mu.Unlock()
	if list != nil {
		err = list.Shutdown()
	}
	<-g.updating
	g.transport.close()
	g.wg.Wait()
	g.bridge.close()
	g.metrics.unregister()
	return err
}

// current is the library's instance, or nil after Close.
func (g *Gossip) current() *memberlist.Memberlist {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list
}

func (g *Gossip) addressOf(name, ip string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.table.addressOf(name, ip)
}

// note logs and counts a change of the table, and wakes who waits for one.
// Callers hold the lock.
func (g *Gossip) note(c change) {
	if c.none {
		return
	}
	close(g.changed)
	g.changed = make(chan struct{})
	g.metrics.count(g.table.count())
	if c.falseDeath {
		g.metrics.falseDeaths.Inc()
	}
	if c.Name == g.o.Name {
		return
	}
	attrs := []any{"peer", c.Name, "address", c.Address, "server", c.Server}
	switch {
	case c.falseDeath:
		g.log.Warn("a node taken for dead is back: it had not stopped", attrs...)
	case c.State == Alive && c.was != Alive:
		g.log.Info("a node is there", append(attrs, "version", c.Version)...)
	case c.State == Dead:
		g.log.Warn("a node does not answer", attrs...)
	case c.State == Left:
		g.log.Info("a node has left", attrs...)
	}
}

// delegate is what one instance of the library calls, holding locks of its own:
// it must neither wait nor call back.
type delegate struct {
	g    *Gossip
	life int
}

func (d *delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.encoded
}

// NotifyMsg is told of nothing but nodes that leave.
func (d *delegate) NotifyMsg(b []byte) {
	g := d.g
	name, run, ok := decodeLeaving(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok && g.table.life == d.life {
		g.note(g.table.leaving(name, run))
	}
}

// Nothing but membership is gossiped.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d *delegate) LocalState(bool) []byte          { return nil }
func (d *delegate) MergeRemoteState([]byte, bool)   {}

func (d *delegate) NotifyJoin(n *memberlist.Node)   { d.alive(n) }
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.alive(n) }

func (d *delegate) alive(n *memberlist.Node) {
	g := d.g
	w, err := decodeWire(n.Meta)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.table.life != d.life {
		return
	}
	if err != nil {
		g.log.Warn("a node says something about itself that this version does not understand", "peer", n.Name, "address", n.Address(), "error", err)
	}
	g.note(g.table.alive(n.Name, n.Address(), w, time.Now()))
}

func (d *delegate) NotifyLeave(n *memberlist.Node) {
	g := d.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.table.life == d.life {
		g.note(g.table.gone(n.Name, time.Now()))
	}
}

func (d *delegate) NotifyConflict(_, other *memberlist.Node) {
	g := d.g
	w, err := decodeWire(other.Meta)
	if err != nil {
		w = wire{}
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conflicts.note(memberOf(other, w, now), now)
}

func memberOf(n *memberlist.Node, w wire, now time.Time) Member {
	m := Member{Name: n.Name, Address: n.Address(), State: Alive, Meta: w.Meta, Since: now}
	if w.Address != "" {
		m.Address = w.Address
	}
	return m
}

// isOwn reports whether a number is this node's own.
func (g *Gossip) isOwn(ip netip.AddrPort) bool { return ip == g.transport.ownAddress() }
