package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ErrOtherKeys: the node that was to be joined encrypts with other keys.
var ErrOtherKeys = errors.New("other gossip keys")

// persuade is how many members a node whose name is contested joins again at a
// time, lest they do not know it.
const persuade = 3

// Join asks nodes to let this one in. Every address of every host is tried, all
// at the same time; one that answers is enough.
func (g *Gossip) Join(ctx context.Context, addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("gossip: no address to join")
	}
	answers := make(chan error, len(addresses))
	for _, address := range addresses {
		if !g.start(func() { answers <- g.join(ctx, address, nil) }) {
			return ErrClosed
		}
	}
	var failed []error
	for range addresses {
		select {
		case err := <-answers:
			if err != nil {
				failed = append(failed, err)
			}
		case <-ctx.Done():
			return errors.Join(append(failed, fmt.Errorf("gossip: join %s: %w", strings.Join(addresses, ", "), ctx.Err()))...)
		}
	}
	if len(failed) == len(addresses) {
		return errors.Join(failed...)
	}
	return nil
}

// start runs what Close waits for.
func (g *Gossip) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

// join contacts every address of one host, other than this node's and those to
// be skipped. It succeeds if one of them does.
func (g *Gossip) join(ctx context.Context, address string, skip func(ip string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	found, err := g.o.resolve(ctx, address)
	if err != nil {
		return fmt.Errorf("gossip: join %s: %w", address, err)
	}
	found = slices.DeleteFunc(found, func(ip netip.AddrPort) bool {
		return g.isOwn(ip) || skip != nil && skip(ip.String())
	})
	var failed []error
	for _, ip := range found {
		if err := g.contact(ip.String()); err != nil {
			failed = append(failed, fmt.Errorf("gossip: join %s: %w", address, err))
		}
	}
	if len(found) > 0 && len(failed) == len(found) {
		return errors.Join(failed...)
	}
	return nil
}

// contact exchanges all that is known with one node.
func (g *Gossip) contact(ip string) error {
	list := g.current()
	if list == nil {
		return ErrClosed
	}
	_ = g.transport.refusal(ip) // an older one
	_, err := list.Join([]string{ip})
	if err == nil {
		return nil
	}
	if refusal := g.transport.refusal(ip); refusal != nil {
		return refusal
	}
	// The library gives its reasons as text only.
	text := err.Error()
	switch {
	case strings.Contains(text, "crypt"):
		return fmt.Errorf("%w: %s and this node cannot read each other", ErrOtherKeys, ip)
	case strings.Contains(text, "EOF"), strings.Contains(text, "reset"):
		return fmt.Errorf("%s closed the connection without an answer: it may belong to another cluster, refuse this node's certificate, or be starting", ip)
	}
	return fmt.Errorf("%s: %w", ip, flat(err))
}

// flat is the text of the library's list of errors on one line.
func flat(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// rejoinLoop keeps everybody together: memberlist never speaks to the dead
// again once it has forgotten them, so a split would last for ever.
func (g *Gossip) rejoinLoop() {
	ticker := time.NewTicker(g.times.rejoin)
	defer ticker.Stop()
	var moved readdressing
	for {
		select {
		case <-g.ctx.Done():
			return
		case now := <-ticker.C:
			g.tick(now)
			moved.look(g, now)
		}
	}
}

func (g *Gossip) tick(now time.Time) {
	g.mu.Lock()
	if g.left {
		g.mu.Unlock()
		return
	}
	if g.table.prune(now) {
		g.note(change{})
	}
	if !g.reopened.IsZero() && now.Sub(g.reopened) >= settle {
		g.reopened = time.Time{}
		for _, name := range g.table.unfound() {
			g.note(g.table.gone(name, now))
		}
	}
	told := g.conflicts.due(now)
	contested := g.conflicts.contested(g.o.Name, now)
	g.mu.Unlock()
	for _, other := range told {
		g.log.Error("two nodes have the same name: rename or stop one of them",
			"peer", other.Name, "address", other.Address, "server", other.Server)
		g.o.Conflict(other)
	}
	known := slices.Clone(g.o.Known())
	rand.Shuffle(len(known), func(a, b int) { known[a], known[b] = known[b], known[a] })
	for k, address := range known {
		g.rejoin(address, contested && k < persuade)
	}
}

// rejoin joins a peer unless it is a living member, or being joined.
func (g *Gossip) rejoin(address string, anyway bool) {
	g.mu.Lock()
	skip := g.joining[address] || address == g.o.Advertise || !anyway && g.table.at(address)
	if !skip {
		g.joining[address] = true
	}
	g.mu.Unlock()
	if skip {
		return
	}
	started := g.start(func() {
		err := g.join(g.ctx, address, func(ip string) bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return !anyway && g.table.at(ip)
		})
		g.mu.Lock()
		delete(g.joining, address)
		g.mu.Unlock()
		switch {
		case errors.Is(err, ErrOtherCluster), errors.Is(err, ErrOtherKeys):
			g.bridge.say(g.ctx, slog.LevelWarn, "a known peer cannot be joined", "error", err.Error())
		case err != nil:
			g.log.Debug("a known peer is not there", "peer_address", address, "error", err)
		}
	})
	if !started {
		g.mu.Lock()
		delete(g.joining, address)
		g.mu.Unlock()
	}
}
