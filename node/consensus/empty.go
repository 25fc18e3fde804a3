package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// followPause is how long the next command may take to follow the last: a
// proposer that goes on as soon as it has its answer needs no empty entry
// between, and would wait for it to be written.
const followPause = 200 * time.Microsecond

// followersLag notes that a command was applied here and that none follows.
func (g *Group) followersLag() {
	select {
	case g.flush <- struct{}{}:
	default:
	}
}

// announceCommits appends an empty entry behind the last command. Followers
// learn what is committed with the next entries that they get; without one they
// would wait for Raft's 50 to 100 ms.
func (g *Group) announceCommits() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-g.closed:
			return
		case <-g.flush:
		}
		<-time.After(followPause)
		if g.quiet || g.commands.Load() > 0 || !g.isLeader() || !g.hasPeers() {
			continue
		}
		if g.appendEmpty(ctx) == nil {
			g.metrics.empty.Inc()
		}
	}
}

// appendEmpty appends an entry that changes nothing and waits until everything
// before it is applied here.
func (g *Group) appendEmpty(ctx context.Context) error {
	_, err := await(ctx, g.pending, func() raft.Future { return g.raft.Barrier(holdFor) })
	g.watchdog.saw(err)
	return outcome(err)
}

// probe is how the watchdog asks whether Raft takes entries.
func (g *Group) probe() error {
	if !g.isLeader() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := await(ctx, g.pending, func() raft.Future { return g.raft.Barrier(time.Second) })
	return err
}
