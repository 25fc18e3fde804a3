package proc

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster/history"
)

// Observer asks every node all the time what it knows, for as long as a test
// runs: it checks the answers against each other and notes when positions were
// first seen.
type Observer struct {
	Agreement history.Agreement

	cluster *Cluster
	every   time.Duration
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]*progress // by network
	asked int
}

// progress is what is known of a network's sequence.
type progress struct {
	position uint64
	at       time.Time     // when that was first seen
	stall    time.Duration // the longest time without a new position, since Reset
}

// Observe starts to ask every node so often.
func Observe(t testing.TB, c *Cluster, every time.Duration) *Observer {
	ctx, cancel := context.WithCancel(context.Background())
	o := &Observer{cluster: c, every: every, cancel: cancel, seen: map[string]*progress{}}
	for _, m := range c.Members {
		o.running.Go(func() { o.follow(ctx, m) })
	}
	t.Cleanup(o.Stop)
	return o
}

// Stop ends the asking.
func (o *Observer) Stop() {
	o.cancel()
	o.running.Wait()
}

func (o *Observer) follow(ctx context.Context, m *Member) {
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if m.pid.Load() == 0 || m.paused.Load() {
			continue
		}
		s, err := m.Local(ctx)
		if err != nil || s.Index == 0 {
			continue // it is down, or just starting
		}
		o.note(m.Name, s, time.Now())
	}
}

func (o *Observer) note(node string, s api.Status, now time.Time) {
	v := history.View{Node: node, Index: s.Index, Networks: map[string]history.Lease{}, Owners: map[string]string{}}
	for _, n := range s.Networks {
		v.Networks[n.Key] = history.Lease{Holder: n.Holder, Epoch: n.Epoch, Position: n.Position, Height: n.Head.Height, Hash: n.Head.Hash.String()}
	}
	for _, t := range s.Tenants {
		v.Owners[t.ID] = t.Assigned
	}
	o.Agreement.Add(v)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	for _, n := range s.Networks {
		p := o.seen[n.Key]
		switch {
		case p == nil:
			o.seen[n.Key] = &progress{position: n.Position, at: now}
		case n.Position > p.position:
			p.stall = max(p.stall, now.Sub(p.at))
			p.position, p.at = n.Position, now
		}
	}
}

// Worst is the longest time that any network went without a new announcement
// since the last call, the time until now included.
func (o *Observer) Worst() (worst time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, p := range o.seen {
		worst = max(worst, p.stall, now.Sub(p.at))
		p.stall = 0
	}
	return worst
}
