package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/worker"
)

// replicated is the state with its log, as workers and outbox see them.
type replicated struct{ n *Node }

func (r replicated) View() *fsm.View                     { return r.n.state.View() }
func (r replicated) Changed(t fsm.Topic) <-chan struct{} { return r.n.state.Changed(t) }
func (r replicated) Propose(ctx context.Context, c fsm.Command) (any, error) {
	return r.n.group.Propose(ctx, c)
}

// blocks gives workers the payloads of announced blocks.
type blocks struct{ fetcher *blockcache.Fetcher }

func (b blocks) Block(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
	return b.fetcher.Fetch(ctx, network, ref.Hash)
}

// sequence is the announcements of a network, as its watcher sees them.
type sequence struct{ n *Node }

// Head is what the state holds of a network. After heights were left out with
// nothing following yet, the next block follows nothing: that is a network
// without a head, which starts right above them.
func (s sequence) Head(network string) (watcher.Head, bool) {
	n, ok := s.n.state.View().Network(network)
	if !ok {
		return watcher.Head{}, false
	}
	tip, begun := n.Branch.Tip()
	if !begun || n.Gap != 0 {
		return watcher.Head{Next: n.Next}, false
	}
	window := n.Window()
	for len(window) > 0 && window[0].Height < n.First {
		if window[len(window)-1].Height < n.First {
			break // rolled back to right below the first block
		}
		window = window[1:]
	}
	return watcher.Head{Next: n.Next, Tip: tip, Window: window, First: n.First}, true
}

// Announce commits announcements under a lease's epoch.
func (s sequence) Announce(ctx context.Context, network string, epoch uint64, list []watcher.Announcement) error {
	c := &fsm.Announce{Network: network, Epoch: epoch, Entries: make([]fsm.Entry, len(list))}
	for i, a := range list {
		e := fsm.Entry{Ref: a.Ref, Parent: a.Parent}
		if !a.Seen.IsZero() {
			e.Seen = a.Seen.UnixMilli()
		}
		switch a.Kind {
		case watcher.Extend:
			e.Kind, e.Time = fsm.Extend, a.Time.UnixMilli()
		case watcher.Rollback:
			e.Kind = fsm.Rollback
		case watcher.Skip:
			e.Kind, e.From, e.Ref = fsm.Skip, a.From, fsm.BlockRef{Height: a.To}
		}
		c.Entries[i] = e
	}
	_, err := s.n.group.Propose(ctx, c)
	switch {
	case errors.Is(err, fsm.ErrStaleEpoch), errors.Is(err, fsm.ErrNotFound):
		return errors.Join(watcher.ErrFenced, err)
	case errors.Is(err, fsm.ErrConflict):
		return errors.Join(watcher.ErrConflict, err)
	}
	return err
}

// recorder keeps fired alerts in the journal.
type recorder struct {
	j    *journal.Journal
	news *news
}

func (r recorder) Record(list []worker.Recorded) {
	alerts := make([]journal.Alert, len(list))
	for i, f := range list {
		alerts[i] = journalAlert(&f.Fired)
		alerts[i].MonitorName = f.Alert.MonitorName
		alerts[i].Variables = f.Alert.Variables
	}
	r.j.Record(alerts)
	for i, f := range list {
		r.news.publish(&alerts[i], f.Fired.State.String(), f.Fired.Position)
	}
}

func journalAlert(f *fsm.Fired) journal.Alert {
	at := time.UnixMilli(f.At)
	history := []journal.Change{{State: f.State.String(), Position: f.Position, At: at}}
	for _, d := range f.Deliveries { // the ledger has those of earlier states too
		told := journal.Delivery{Key: d.Key, Trigger: d.Trigger, Outcome: d.Outcome.String()}
		i := 0
		if d.State != 0 {
			i = slices.IndexFunc(history, func(c journal.Change) bool { return c.State == d.State.String() && c.Position == d.Position })
		}
		if i < 0 {
			i = len(history)
			history = append(history, journal.Change{State: d.State.String(), Position: d.Position, At: at})
		}
		history[i].Deliveries = append(history[i].Deliveries, told)
	}
	slices.SortStableFunc(history, func(a, b journal.Change) int { return cmp.Compare(a.Position, b.Position) })
	return journal.Alert{
		ID: f.Alert, Tenant: f.Tenant, Born: f.Born, MonitorID: f.Monitor, MonitorName: f.Monitor, Network: f.Network,
		Block: f.Block, Tx: f.Tx, Version: f.Version, FiredAt: at, History: history,
	}
}

// followServers keeps in the journal which nodes' journals are lost. begun says that
// this node's own should not be a new one.
func (n *Node) followServers(ctx context.Context, begun bool) {
	var noted []string
	for {
		changed := n.state.Changed(fsm.TopicLeases)
		v := n.state.View()
		var servers []string
		for node := range v.Nodes() {
			servers = append(servers, node.Server)
		}
		if !slices.Equal(servers, noted) {
			gone, err := n.journal.Follow(servers, heads(v), begun)
			switch {
			case err != nil:
				n.log.Error("which journals are lost could not be kept", "error", err)
			case len(gone) > 0:
				n.log.Warn("what only these nodes' journals had cannot be proved any more", "servers", gone)
			}
			noted, begun = servers, false
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// heads are the heights up to which networks are announced.
func heads(v *fsm.View) map[string]uint64 {
	out := map[string]uint64{}
	for network := range v.Networks() {
		if tip, begun := network.Branch.Tip(); begun {
			out[network.Key] = tip.Height
		}
	}
	return out
}

// completeJournal adds what the ledger has and a crash kept from the journal.
func (n *Node) completeJournal() {
	v := n.state.View()
	for network := range v.Networks() {
		var missing []journal.Alert
		for f := range v.FiredOn(network.Key) {
			if a := journalAlert(f); !n.journal.Has(&a) {
				missing = append(missing, a)
			}
		}
		if len(missing) > 0 {
			n.journal.Record(missing)
		}
	}
}
