package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// Streams are connections to the gossip of other nodes.
type Streams interface {
	// Listener accepts them. It is asked for once.
	Listener() net.Listener
	// Dial opens one to a cluster address, host:port.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// Profiles.
const (
	ProfileLAN  = "lan"  // a death is noticed within 0.8 to 1.6 s; for nodes in one data centre
	ProfileMesh = "mesh" // 5 to 10 s; for service meshes and machines short of CPU
)

// Options are what gossip is started with.
type Options struct {
	Name      string // of this node, unique in the cluster
	Cluster   string // nodes of other clusters are refused
	Advertise string // host:port at which others reach this node; the host may be a DNS name
	Meta      Meta
	Streams   Streams
	Packets   net.PacketConn
	// Keys encrypt packets and streams: 16, 24 or 32 bytes each. The first one
	// is used, all are understood. None: plaintext.
	Keys       [][]byte
	Profile    string  // empty: lan
	Multiplier float64 // scales the profile's times; 0: 1
	// Known are the addresses of peers that should be members. Those that are
	// not are joined, every two seconds. May be nil.
	Known func() []string
	// Resolve finds the addresses of a host. Nil: Packets does, if it has such a
	// method, or else the system's resolver.
	Resolve    func(ctx context.Context, host string) ([]netip.Addr, error)
	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: none
	// Conflict is told of another node with a name that is taken: this one's or
	// that of another member. It is told once the conflict has lasted longer than
	// a crashed node's old address can be believed in, and once a minute from
	// then on. May be nil; it is logged anyway.
	Conflict func(other Member)
}

type resolver interface {
	Resolve(ctx context.Context, host string) ([]netip.Addr, error)
}

func (o *Options) complete() error {
	switch {
	case o.Name == "":
		return errors.New("gossip: a node needs a name")
	case o.Cluster == "" || len(o.Cluster) > memberlist.LabelMaxSize:
		return fmt.Errorf("gossip: a cluster's name has 1 to %d bytes, not %d", memberlist.LabelMaxSize, len(o.Cluster))
	case o.Streams == nil || o.Packets == nil:
		return errors.New("gossip: streams and packets are needed")
	case o.Multiplier < 0:
		return fmt.Errorf("gossip: multiplier %v: must not be negative", o.Multiplier)
	}
	o.Profile = cmp.Or(o.Profile, ProfileLAN)
	if o.Profile != ProfileLAN && o.Profile != ProfileMesh {
		return fmt.Errorf("gossip: profile %q: there are %s and %s", o.Profile, ProfileLAN, ProfileMesh)
	}
	if _, _, err := splitHostPort(o.Advertise); err != nil {
		return fmt.Errorf("gossip: advertised address: %w", err)
	}
	o.Multiplier = cmp.Or(o.Multiplier, 1)
	if o.Known == nil {
		o.Known = func() []string { return nil }
	}
	if o.Conflict == nil {
		o.Conflict = func(Member) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Resolve == nil {
		o.Resolve = systemResolve
		if r, ok := o.Packets.(resolver); ok {
			o.Resolve = r.Resolve
		}
	}
	return nil
}

func systemResolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// times of a profile.
type times struct {
	rejoin   time.Duration // between two looks at who is missing
	conflict time.Duration // see conflicts
	leave    time.Duration // for the word that this node leaves
}

// config is the library's configuration, without what hooks into it.
func (o *Options) config() (*memberlist.Config, times) {
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) * o.Multiplier) }
	c := memberlist.DefaultLANConfig()
	t := times{rejoin: max(2*time.Second, scale(2*time.Second)), leave: 900 * time.Millisecond}
	if o.Profile == ProfileLAN {
		c.ProbeInterval = scale(250 * time.Millisecond)
		c.ProbeTimeout = scale(100 * time.Millisecond)
		c.GossipInterval = scale(100 * time.Millisecond)
		c.TCPTimeout = max(3*time.Second, scale(3*time.Second))
		// With 2 a single node's word is enough, so that detection takes as long
		// in a large cluster as in a small one.
		c.SuspicionMult = 2
		c.SuspicionMaxTimeoutMult = 2
		t.conflict = max(6*time.Second, scale(6*time.Second))
	} else {
		c.ProbeInterval = scale(c.ProbeInterval)
		c.ProbeTimeout = scale(c.ProbeTimeout)
		c.GossipInterval = scale(c.GossipInterval)
		c.TCPTimeout = max(c.TCPTimeout, scale(c.TCPTimeout))
		t.conflict = max(30*time.Second, scale(30*time.Second))
	}
	c.Name = o.Name
	c.Label = o.Cluster
	// Whoever comes back from the dead may do so at another address, at once.
	c.DeadNodeReclaimTime = time.Millisecond
	// The label is checked where packets and streams come in, so that a
	// stranger can be told.
	c.SkipInboundLabelCheck = true
	c.GossipVerifyIncoming = true
	c.GossipVerifyOutgoing = true
	return c, t
}
