package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/notify/egress"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// Node is one process of the cluster.
type Node struct {
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	state    *fsm.State
	journal  *journal.Journal
	news     *news
	tables   *tables         // nil: no tenant source
	contents *postgres.Store // nil: all contents are in the state, as far as this node was told
	cache    blockcache.Cache
	fetcher  *blockcache.Fetcher // for workers: cache, then the lease holder
	held     *blockcache.Fetcher // for others, of what is watched here: cache, then the chain
	watch    *watchers
	worker   atomic.Pointer[worker.Worker]
	outbox   atomic.Pointer[outbox.Outbox]
	guard    *egress.Guard                    // of what tenants have us connect to
	own      atomic.Pointer[[]netip.AddrPort] // what the cluster listens at

	// Set once the node is part of a cluster; see join.
	membership  *membership
	keeper      *secrets.Keeper
	credentials *pki.Credentials // nil: plaintext
	mux         *mux.Mux
	peers       *http.Transport
	gossip      *gossip.Gossip
	group       *consensus.Group
	address     string // at which others reach this node
	instance    string
	boot        atomic.Uint64 // log index of this run's registration
	kept        *membership   // as last written, by keepUp
	contact     *contact

	contacts  contacts // on the leader
	certainty *certainty
	pending   atomic.Pointer[[]consensus.PeerChange]
	nudge     chan struct{}                      // has the reconciler look at once
	activity  atomic.Pointer[map[string]float64] // weight of tenants where they are placed by activity, as last asked

	joined    chan *membership // hands over what Join has got
	joining   sync.Mutex
	asked     *asked // under joining
	alone     alone
	reading   sync.Mutex // of an archive
	isMember  atomic.Bool
	entered   atomic.Bool // group and gossip are there
	begun     atomic.Bool // the cluster has had a leader
	pledged   atomic.Bool
	removed   atomic.Bool // from the cluster, by somebody
	restoring atomic.Bool
	founders  founders
	ready     chan struct{} // closed when Start is done

	fatal chan error
	loops sync.WaitGroup
	stop  context.CancelFunc
	clean cleanup

	importing  sync.Mutex
	resolved   map[spec.Secret]string // of the folder, when it was read last; guarded by importing
	health     healthState
	pulse      *pulse // nil: nobody wants heartbeats
	replays    sync.Mutex
	tenants    http.Handler               // the API for tenants
	turns      v1.Turns                   // to change tenants, which this node gives while it leads
	delivering atomic.Pointer[delivering] // once the node works
	meter      meter
}

// ErrTooOld ends a node whose log holds what only a newer version understands.
var ErrTooOld = fsm.ErrUnknownCommand

// New opens a node's files. Nothing runs before Start.
func New(opts Options) (_ *Node, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	n := &Node{
		opts: opts, log: opts.Logger.With("node", opts.Name),
		state: fsm.New(), fatal: make(chan error, 1), metrics: newMetrics(opts.Registry),
		news: newNews(), nudge: make(chan struct{}, 1), joined: make(chan *membership), ready: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.clean.run())
		}
	}()
	unlock, err := lockDir(opts.DataDir)
	if err != nil {
		return nil, err
	}
	n.clean.push(unlock)
	if n.guard, err = n.newGuard(); err != nil {
		return nil, err
	}
	n.journal, err = journal.Open(journal.Options{Path: filepath.Join(opts.DataDir, "journal.db"), Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.clean.push(n.journal.Close)
	n.watch = &watchers{
		node: n, metrics: watcher.NewMetrics(opts.Registry), rpc: rpc.NewMetrics(opts.Registry), running: map[string]*watching{},
	}
	registerProcess(opts.Registry)
	n.tenants = v1.New(v1.Options{
		Backend: tenantAPI{n}, Logger: n.log, Registerer: opts.Registry,
		Rates: v1.Rates{Key: opts.HTTP.KeyRate, Address: opts.HTTP.AddressRate},
	})
	return n, nil
}

func registerProcess(reg *prometheus.Registry) {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Name is the node's name.
func (n *Node) Name() string { return n.opts.Name }

// View is the state as this node has it now.
func (n *Node) View() *fsm.View { return n.state.View() }

// Leader is the node that leads as far as this one knows, empty for none, and
// the term.
func (n *Node) Leader() (name string, term uint64) {
	group := n.groupNow()
	if group == nil {
		return "", 0
	}
	leader, _ := group.Leader()
	return consensus.NameOf(leader.ID), group.Term()
}

// Changed is closed when what the topic covers changes in the state.
func (n *Node) Changed(t fsm.Topic) <-chan struct{} { return n.state.Changed(t) }

// Address is where other nodes reach it, once started.
func (n *Node) Address() string { return n.address }

func (n *Node) ttl() time.Duration {
	return time.Duration(float64(leaseTTL) * n.opts.RaftMultiplier)
}

// groupNow is the Raft group, or nil while the node has none.
func (n *Node) groupNow() *consensus.Group {
	if !n.entered.Load() {
		return nil
	}
	return n.group
}

func (n *Node) clusterName() string {
	if n.isMember.Load() {
		return n.membership.Cluster
	}
	return ""
}
