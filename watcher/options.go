package watcher

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

const (
	defaultWindow = 64       // blocks
	maxWindow     = 1024     // blocks
	maxBatch      = 64       // announcements of one Announce
	prefetchWidth = 8        // blocks fetched at a time
	prefetchBytes = 64 << 20 // of payloads fetched ahead
)

// Options of a Watcher. Network, Spec, Client, Cache and Journal are required.
type Options struct {
	Network string        // key of the network: slug, or tenant/slug
	Spec    *spec.Network // schedule, block time, confirmations, limit of catch-up
	Client  chain.Client
	Cache   blockcache.Cache
	Journal Journal
	Epoch   uint64 // of the lease under which to announce

	// Start is the first height to announce when the journal knows nothing of
	// the network, such as one more than an imported checkpoint. Nil: the tip.
	Start *uint64

	// Window is how many blocks of the current branch are kept to find the
	// common ancestor of a new one: 64 when 0, 1024 at most.
	Window int

	// Room tells how many announcements the journal takes now, for judging has
	// fallen behind. Nil: any number.
	Room func() int

	// Held tells since when calls to the network's endpoints are held back, and why;
	// an empty reason when they are not. Nil: they never are.
	Held func() (reason string, since time.Time)

	Logger  *slog.Logger
	Metrics *Metrics
}

// Watcher follows one network. Make it with New, use it for one Run.
type Watcher struct {
	opts     Options
	log      *slog.Logger
	metrics  *Metrics
	schedule schedule

	heads  *mailbox
	health *health

	// What follows belongs to the goroutine of Run.
	branch    branch
	stale     bool             // branch is to be read from the journal again
	failing   bool             // the last pass failed
	asked     uint64           // one more than the highest height asked for by number
	side      map[hashKey]link // blocks met while walking back, already stored
	abandoned map[hashKey]bool // replaced by another block of the tip's height
	top       uint64           // highest height announced; abandoned is about blocks of it
	looked    look             // last look at a tip that was said to be replaced
	behind    bool             // the node's head is below our tip
	seen      time.Time        // when the head of this pass became known
}

// New checks the options. It neither connects nor reads the journal.
func New(opts Options) (*Watcher, error) {
	switch {
	case opts.Spec == nil:
		return nil, errors.New("watcher: no network document")
	case opts.Client == nil || opts.Cache == nil || opts.Journal == nil:
		return nil, fmt.Errorf("watcher of network %s: client, cache and journal are required", opts.Network)
	}
	if opts.Window <= 0 {
		opts.Window = defaultWindow
	}
	opts.Window = min(opts.Window, maxWindow)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	s, err := newSchedule(opts.Spec)
	if err != nil {
		return nil, fmt.Errorf("watcher of network %s: %w", opts.Network, err)
	}
	w := &Watcher{
		opts: opts, metrics: opts.Metrics, schedule: s,
		log:       opts.Logger.With("network", opts.Network, "epoch", opts.Epoch),
		heads:     newMailbox(clampDuration(2*opts.Spec.BlockTime, 5*time.Second, 30*time.Second)),
		side:      map[hashKey]link{},
		abandoned: map[hashKey]bool{},
		stale:     true,
	}
	w.health = newHealth(w.log, opts.Spec.BlockTime)
	w.health.held = opts.Held
	return w, nil
}

func clampDuration(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
