package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/durable"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/ring"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Options are what a node is started with.
type Options struct {
	DataDir string // log, snapshots, keys, journal, socket; made when missing
	Name    string // empty: the name the data directory has, or else the host's
	Config  string // folder of documents; empty: what the state holds
	// Checkpoints is a state folder of OpenZeppelin Monitor: networks that have
	// not begun here start where it left off.
	Checkpoints string
	Listen      string // HTTP address of the API, health and metrics; empty: none
	HTTP        HTTP

	// ClusterListen is where other nodes connect, TCP and UDP; Advertise is how
	// they reach it, where that differs.
	ClusterListen string
	Advertise     string
	Cluster       string // name of a cluster that is founded; empty: "ozmo"
	// Bootstrap founds a cluster where the data directory has none: of this node
	// alone, or of those named in Founders, which start together from bundles.
	Bootstrap bool
	Founders  []string
	Bundle    string            // file made by `ozmo cluster init`
	Peers     map[string]string // addresses of nodes by name, beside those of the bundle
	Join      []string          // addresses of other nodes to look for
	// TLSCert, TLSKey and TLSCA replace the cluster's own certificates.
	TLSCert, TLSKey, TLSCA string
	Insecure               bool // plaintext between the nodes, on loopback only

	Roles  string // like "watcher,worker"; empty: all
	Weight uint32 // percent of a normal node; 0: 100
	Voters int    // of the Raft group: 1, 3 or 5; 0: 3
	// Profile is how quickly gossip suspects: "lan" or "mesh".
	Profile        string
	RaftMultiplier float64 // scales the timeouts of Raft, gossip and leases; 0: 1
	RedisURL       string  // of the shared block cache; empty: none
	Placement      Placement

	// TenantStore is where the contents of tenants' documents are kept: "embedded" or
	// "postgres"; empty: wherever the cluster has them. PostgresURL is of the database,
	// the same on all nodes; it may be given before any contents are there.
	TenantStore string
	PostgresURL string
	// PostgresSourceURL is of a database with another program's tables of tenants,
	// which are taken over and followed; SourceInterval is how often they are looked
	// at, 0: 5 s.
	PostgresSourceURL string
	SourceInterval    time.Duration

	// HeartbeatURL is where every node reports to the operator, signed with the
	// secret in HeartbeatSecretFile; empty: nowhere. The egress guard leaves it
	// alone: it is the operator's own.
	HeartbeatURL        string
	HeartbeatInterval   time.Duration // 0: 1 min
	HeartbeatSecretFile string

	// EgressAllow and EgressDeny say what the node connects to for tenants beyond,
	// and short of, public addresses: see egress.Options.
	EgressAllow, EgressDeny []string
	Sending                 Sending

	Console    io.Writer // where triggers of type console write; nil: os.Stdout
	CacheBytes int64     // of the block cache in memory; 0: 256 MiB
	Version    string    // of this build
	Logger     *slog.Logger
	Registry   *prometheus.Registry // nil: one of its own
	Patience   time.Duration        // see worker.Options

	// For tests that run a cluster in one process.
	Network  Network                                                   // nil: the system's
	NoSocket bool                                                      // no local socket
	Client   func(key string, doc *spec.Network) (chain.Client, error) // nil: by the document
	Stores   func() (consensus.Stores, error)                          // nil: files in DataDir
	MaxAhead int                                                       // announcements that may wait for the slowest cursor before the watcher does; 0: 4096

	roles    fsm.Roles
	strategy ring.Strategy
	asked    string // Cluster as it was given; empty: any
}

// Sending bounds what a node sends. What is 0 takes the default.
type Sending struct {
	PerDestination int // attempts at a time of one tenant to one destination; 8
	PerTenant      int // attempts at a time of one tenant; 32
	PerNode        int // attempts at a time in all; 2048

	DestinationRate float64 // attempts a second of one tenant to one webhook; 1000
	TenantRate      float64 // attempts a second of one tenant; 2000
}

// Placement says how tenants are placed on nodes.
type Placement struct {
	Strategy   string        // as ring.ParseStrategy reads it; empty: consistent-hashing
	Threshold  float64       // imbalance above which tenants are moved; 0: 0.2
	Interval   time.Duration // least time between two rebalancings; 0: 5 min
	MaxTenants int           // per node; 0: no limit
}

const (
	defaultCacheBytes    = 256 << 20
	defaultClusterListen = ":7000"
	defaultCluster       = "ozmo"
	defaultVoters        = 3
	socketName           = "ozmo.sock"
)

var nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("a data directory is required: give --data")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Console == nil {
		o.Console = os.Stdout
	}
	if o.Network == nil {
		o.Network = systemNetwork{}
	}
	o.fill()
	if err := o.check(); err != nil {
		return err
	}
	if info, err := os.Stat(o.DataDir); err == nil && !info.IsDir() {
		return fmt.Errorf("the data directory %s is no directory: give another with --data", o.DataDir)
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := o.identify(); err != nil {
		return err
	}
	return o.checkOwnCertificates()
}

// checkOwnCertificates finds out before anything depends on them whether the files
// given with --tls-cert, --tls-key and --tls-ca can be this node's.
func (o *Options) checkOwnCertificates() error {
	if o.TLSCert == "" {
		return nil
	}
	m, err := readMembership(o.DataDir)
	if err != nil {
		return err
	}
	cluster := o.asked
	switch {
	case m != nil:
		cluster = m.Cluster
	case o.Bundle != "":
		b, _, err := pki.ReadBundle(o.Bundle)
		if err != nil {
			return err
		}
		cluster = b.Cluster
	case o.Bootstrap:
		cluster = o.Cluster
	}
	if err := pki.CheckOwn(o.ownFiles(), cluster, o.Name, m == nil); err != nil {
		return fmt.Errorf("--tls-cert, --tls-key, --tls-ca:\n%w", err)
	}
	return nil
}

func (o *Options) ownFiles() pki.Files {
	return pki.Files{CA: o.TLSCA, Cert: o.TLSCert, Key: o.TLSKey}
}

// checkCluster refuses a node that was told another cluster than it would be of.
func (o *Options) checkCluster(name, of string) error {
	if o.asked == "" || o.asked == name {
		return nil
	}
	return fmt.Errorf("--cluster %s: %s is of cluster %q: leave --cluster out, or give that name", o.asked, of, name)
}

// Check lists everything in the options that does not go together, as
// errors.Join does, without touching a file.
func (o Options) Check() error {
	o.fill()
	return o.check()
}

// fill gives what was left out its default.
func (o *Options) fill() {
	def(&o.CacheBytes, defaultCacheBytes)
	def(&o.ClusterListen, defaultClusterListen)
	o.asked = o.Cluster
	def(&o.Cluster, defaultCluster)
	def(&o.Voters, defaultVoters)
	def(&o.Weight, 100)
	def(&o.Profile, "lan")
	def(&o.RaftMultiplier, 1)
	def(&o.Placement.Threshold, 0.2)
	def(&o.Placement.Interval, 5*time.Minute)
	def(&o.SourceInterval, tablesInterval)
	def(&o.HeartbeatInterval, defaultHeartbeatInterval)
	def(&o.MaxAhead, defaultAhead)
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// check lists everything that does not go together.
func (o *Options) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var err error
	if o.Roles == "" {
		o.roles = fsm.AllRoles
	} else if o.roles, err = fsm.ParseRoles(o.Roles); err != nil {
		wrong("--roles: %w", err)
	}
	o.strategy = ring.ConsistentHashing
	if o.Placement.Strategy != "" {
		if o.strategy, err = ring.ParseStrategy(o.Placement.Strategy); err != nil {
			wrong("--placement: %w", err)
		}
	}
	if o.Voters != 1 && o.Voters != 3 && o.Voters != 5 {
		wrong("--voters %d: the Raft group has 1, 3 or 5 voters; further nodes follow without a vote", o.Voters)
	}
	if o.RaftMultiplier < 0.1 || o.RaftMultiplier > 100 {
		wrong("--raft-multiplier %v: want 0.1 to 100", o.RaftMultiplier)
	}
	if o.Profile != "lan" && o.Profile != "mesh" {
		wrong("--profile %q: want lan or mesh", o.Profile)
	}
	if err := pki.CheckCluster(o.Cluster); err != nil {
		wrong("%w", err)
	}
	if o.Insecure && !isLoopback(o.ClusterListen) {
		wrong("--insecure is for one machine: --cluster-listen %q must be a loopback address, like 127.0.0.1:7000", o.ClusterListen)
	}
	if len(o.Founders) > 0 && o.Bundle == "" {
		wrong("--bootstrap %s: nodes that found a cluster together need keys in common: make them with `ozmo cluster init` and give each node its --bundle", strings.Join(o.Founders, ","))
	}
	if slices.Sort(o.Founders); len(slices.Compact(slices.Clone(o.Founders))) != len(o.Founders) {
		wrong("--bootstrap %s: a node is named twice", strings.Join(o.Founders, ","))
	}
	given := 0
	for _, f := range []string{o.TLSCert, o.TLSKey, o.TLSCA} {
		if f != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		wrong("--tls-cert, --tls-key and --tls-ca go together: %d of 3 are given", given)
	}
	errs = append(errs, o.checkStore()...)
	errs = append(errs, o.checkHeartbeat()...)
	errs = append(errs, o.checkEgress()...)
	errs = append(errs, o.Sending.check()...)
	errs = append(errs, o.HTTP.check(o.Listen)...)
	for _, a := range o.Join {
		if err := checkAddress("--join", a); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// identity is what makes a data directory this node's.
type identity struct {
	Name string `json:"name"`
	// Instance tells this data directory from one that the node had before. A
	// node that lost its disk must not pass for the voter it was.
	Instance string `json:"instance,omitempty"`
	// Begun is set once the instance is part of a group: without its log, which
	// somebody has deleted, it must not pass for itself any more.
	Begun bool `json:"begun,omitempty"`
}

// founding is the instance of nodes that found a cluster together: each must
// know the others' server ids before they have met.
const founding = "00000000"

func serverID(name, instance string) string { return name + "@" + instance }

func (o *Options) identityFile() string { return filepath.Join(o.DataDir, "node.json") }

// identify takes the name from the data directory, or finds one. The name is
// part of the Raft configuration: under another one the node would not find
// itself in its own group.
func (o *Options) identify() error {
	id, err := o.readIdentity()
	if err != nil {
		return err
	}
	if id.Name != "" {
		if o.Name != "" && o.Name != id.Name {
			return fmt.Errorf("the data directory %s belongs to node %q, not %q: use another directory, or that name", o.DataDir, id.Name, o.Name)
		}
		o.Name = id.Name
		return nil
	}
	if o.Name == "" && o.Bundle != "" {
		b, _, err := pki.ReadBundle(o.Bundle)
		if err != nil {
			return err
		}
		o.Name = b.Node
	}
	if o.Name == "" {
		if o.Name, err = os.Hostname(); err != nil || !nodeName.MatchString(o.Name) {
			o.Name = "ozmo"
		}
	}
	if !nodeName.MatchString(o.Name) {
		return fmt.Errorf("node name %q: use letters, digits, dots and hyphens, at most 64", o.Name)
	}
	return nil
}

func (o *Options) readIdentity() (id identity, err error) {
	path := o.identityFile()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	if err := json.Unmarshal(data, &id); err != nil || id.Name == "" {
		return identity{}, fmt.Errorf("%s is damaged: it should hold {\"name\": …, \"instance\": …}", path)
	}
	return id, nil
}

func (o *Options) writeIdentity(id identity) error {
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return durable.WriteFile(o.identityFile(), data, 0o600)
}
