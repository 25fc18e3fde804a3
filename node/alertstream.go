package node

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/journal"
)

const (
	// pastPatience is how long a follower waits for what nodes have of the past
	// before it goes on without those that do not answer.
	pastPatience = 3 * time.Second
	// silentAfter is how long a node may not answer before the follower is told.
	silentAfter = 10 * time.Second
	followPause = 500 * time.Millisecond // before a node is asked again
	// keptSeen is how many changes are known again when they are told twice.
	keptSeen = 4096
)

// FollowAlerts implements v1.Backend.
func (n tenantAPI) FollowAlerts(ctx context.Context, t *fsm.Tenant, since time.Time) (<-chan api.AlertNews, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	f := &follower{
		node: n.Node, tenant: journal.Tenant{ID: t.ID, Born: t.Born}, out: make(chan api.AlertNews), live: newFeed(),
		past: make(chan pastOf), sources: map[string]*source{}, seen: map[string]bool{},
	}
	if !since.IsZero() {
		f.since = since.Add(-overlap).UnixMilli()
	}
	go f.run(ctx)
	return f.out, nil
}

// follower puts together what all nodes tell of a tenant's alerts.
type follower struct {
	node    *Node
	tenant  journal.Tenant
	since   int64
	out     chan api.AlertNews
	live    *feed       // what the nodes tell; none of them waits for the reader
	past    chan pastOf // what each has had before it was followed
	sources map[string]*source
	seen    map[string]bool
	order   []string // of what was seen
}

// source is a node that is followed.
type source struct {
	end   context.CancelFunc
	upTo  atomic.Int64 // when it was last heard of, Unix milliseconds; 0: never
	told  bool         // the reader knows that it is silent
	began int64
}

type pastOf struct {
	node   string
	events []*api.AlertEvent
	cut    bool
}

func (f *follower) run(ctx context.Context) {
	defer close(f.out)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	begin := func() (changed <-chan struct{}) {
		changed = f.node.state.Changed(fsm.TopicLeases) // which covers the nodes
		f.align(ctx, &all)
		return changed
	}
	changed := begin()
	if !f.tellPast(ctx) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.node.news.over:
			return
		case <-changed:
			changed = begin()
		case p := <-f.past: // of a node that came, or came back
			for _, e := range p.events {
				if !f.tell(ctx, e) {
					return
				}
			}
			if p.cut && !f.gap(ctx, api.AlertGap{Nodes: []string{p.node}, Reason: tooMuchPast}) {
				return
			}
		case e := <-f.live.events:
			if !f.tell(ctx, e) {
				return
			}
		case <-tick.C:
			if !f.tellSilent(ctx) {
				return
			}
		}
		if missed := f.live.missed.Swap(0); missed > 0 && !f.gap(ctx, api.AlertGap{Missed: missed, Reason: "the reader is too slow: list the alerts to see what was left out"}) {
			return
		}
	}
}

const tooMuchPast = "more has changed since than is told again: list the alerts to see what was left out"

// align follows the nodes there are.
func (f *follower) align(ctx context.Context, all *sync.WaitGroup) {
	there := map[string]bool{}
	for node := range f.node.state.View().Nodes() {
		there[node.Name] = true
		if f.sources[node.Name] != nil {
			continue
		}
		ctx, end := context.WithCancel(ctx)
		s := &source{end: end, began: time.Now().UnixMilli()}
		f.sources[node.Name] = s
		all.Go(func() { f.follow(ctx, node.Name, s) })
	}
	for name, s := range f.sources {
		if !there[name] {
			s.end()
			delete(f.sources, name)
		}
	}
}

// follow follows one node, again when the connection breaks.
func (f *follower) follow(ctx context.Context, name string, s *source) {
	q := followQuery{Tenant: f.tenant, Since: f.since}
	for ctx.Err() == nil {
		var past []*api.AlertEvent
		live := false
		take := func(line followLine) error {
			s.upTo.Store(time.Now().UnixMilli())
			switch {
			case line.Live:
				live = true
				select {
				case f.past <- pastOf{name, past, line.Cut}:
				case <-ctx.Done():
				}
				past = nil
			case line.Event != nil && live:
				f.live.push(line.Event)
			case line.Event != nil:
				past = append(past, line.Event)
			case line.Missed > 0:
				f.live.missed.Add(line.Missed)
			}
			return ctx.Err()
		}
		v := f.node.state.View()
		if name == f.node.opts.Name {
			_ = f.node.followHere(ctx, q, take) // it is tried again
		} else if node, ok := v.Node(name); ok {
			address := f.node.addressOf(consensus.Server{ID: node.Server, Address: node.Address})
			_ = f.node.followThere(ctx, address, q, take) // it is tried again
		}
		if at := s.upTo.Load(); at != 0 {
			q.Since = at - overlap.Milliseconds()
		} else if q.Since == 0 {
			q.Since = s.began - overlap.Milliseconds()
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// tellPast waits for what the nodes have of the past and tells it in order.
func (f *follower) tellPast(ctx context.Context) bool {
	patience := time.NewTimer(pastPatience)
	defer patience.Stop()
	waiting := map[string]bool{}
	for name := range f.sources {
		waiting[name] = true
	}
	var events []*api.AlertEvent
	var cut []string
	for len(waiting) > 0 {
		select {
		case p := <-f.past:
			delete(waiting, p.node)
			events = append(events, p.events...)
			if p.cut {
				cut = append(cut, p.node)
			}
			continue
		case <-patience.C:
		case <-ctx.Done():
			return false
		case <-f.node.news.over:
			return false
		}
		break
	}
	if len(waiting) > 0 {
		silent := slices.Sorted(maps.Keys(waiting))
		for _, name := range silent {
			f.sources[name].told = true
		}
		if !f.gap(ctx, api.AlertGap{Nodes: silent, Reason: silentNodes}) {
			return false
		}
	}
	slices.Sort(cut)
	if len(cut) > 0 && !f.gap(ctx, api.AlertGap{Nodes: cut, Reason: tooMuchPast}) {
		return false
	}
	slices.SortStableFunc(events, func(a, b *api.AlertEvent) int { return a.At.Compare(b.At) })
	for _, e := range events {
		mark := e.At.UnixMilli()
		if f.isNew(e) && !f.send(ctx, api.AlertNews{Event: e, Mark: mark}) {
			return false
		}
	}
	return true
}

const silentNodes = "these nodes do not answer: what they tell comes when they do"

// tellSilent tells which nodes have become silent.
func (f *follower) tellSilent(ctx context.Context) bool {
	var silent []string
	now := time.Now().UnixMilli()
	for name, s := range f.sources {
		quiet := now-max(s.upTo.Load(), s.began) > silentAfter.Milliseconds()
		if quiet && !s.told {
			silent = append(silent, name)
		}
		s.told = quiet
	}
	slices.Sort(silent)
	return len(silent) == 0 || f.gap(ctx, api.AlertGap{Nodes: silent, Reason: silentNodes})
}

// mark is up to when all nodes have told everything, those left out of which the
// reader knows that they are silent.
func (f *follower) mark() int64 {
	out := time.Now().UnixMilli()
	for _, s := range f.sources {
		if !s.told {
			out = min(out, max(s.upTo.Load(), s.began))
		}
	}
	return out
}

func (f *follower) tell(ctx context.Context, e *api.AlertEvent) bool {
	return !f.isNew(e) || f.send(ctx, api.AlertNews{Event: e, Mark: f.mark()})
}

func (f *follower) gap(ctx context.Context, g api.AlertGap) bool {
	return f.send(ctx, api.AlertNews{Gap: &g, Mark: f.mark()})
}

func (f *follower) send(ctx context.Context, news api.AlertNews) bool {
	select {
	case f.out <- news:
		return true
	case <-ctx.Done():
		return false
	case <-f.node.news.over:
		return false
	}
}

// isNew reports whether a change was not told yet.
func (f *follower) isNew(e *api.AlertEvent) bool {
	if f.seen[e.Event] {
		return false
	}
	if len(f.order) == keptSeen {
		delete(f.seen, f.order[0])
		f.order = f.order[1:]
	}
	f.seen[e.Event] = true
	f.order = append(f.order, e.Event)
	return true
}
