package gossip

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	// lookAgain is how often the advertised name is looked up again.
	lookAgain = 10 * time.Second
	// settle is how long the members of an earlier instance of the library have
	// to be found again before they are taken for dead.
	settle = 30 * time.Second
)

// readdressing follows the advertised name to another address: the name may
// not have been known yet when this node started, or the address has changed.
type readdressing struct {
	looked    time.Time
	candidate netip.AddrPort // what the name led to at the last look
}

func (r *readdressing) look(g *Gossip, now time.Time) {
	if now.Sub(r.looked) < lookAgain {
		return
	}
	r.looked = now
	ctx, cancel := context.WithTimeout(g.ctx, resolveFor)
	defer cancel()
	found, err := g.o.resolve(ctx, g.o.Advertise)
	if err != nil || slices.ContainsFunc(found, g.isOwn) || pick(found).Addr().IsUnspecified() {
		r.candidate = netip.AddrPort{}
		return
	}
	// Two looks in a row: a name that changes hands does not tear gossip apart.
	if next := pick(found); r.candidate != next {
		r.candidate = next
		return
	}
	g.reopen(r.candidate)
}

// reopen replaces the library's instance by one that advertises another
// address: it has no way to change it. The members are found again by joining
// the known peers; until then Members goes on to list them as they were.
func (g *Gossip) reopen(own netip.AddrPort) {
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	g.mu.Lock()
	list, stop := g.list, g.closed || g.left
	if !stop {
		g.list = nil
	}
	g.mu.Unlock()
	if stop {
		return
	}
	before := g.transport.ownAddress()
	g.log.Info("the advertised address leads elsewhere now: gossip starts again", "from", before.String(), "to", own.String())
	g.transport.setOwn(own)
	var err error
	if list != nil {
		err = list.Shutdown()
	}
	if err = errors.Join(err, g.open()); err != nil {
		g.transport.setOwn(before) // so that it is tried again
		g.log.Error("gossip could not be started again", "error", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reopened = time.Now()
}
