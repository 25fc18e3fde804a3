package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is one node of a test.
type peer struct {
	*gossip.Gossip
	name string
	host *memnet.Host
	reg  *prometheus.Registry
}

type streams struct {
	listener net.Listener
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

func (s streams) Listener() net.Listener { return s.listener }

func (s streams) Dial(ctx context.Context, address string) (net.Conn, error) {
	return s.dial(ctx, "tcp", address)
}

// network makes the network of a bubble. Before that ends, the library's last
// probes have to.
func network(t *testing.T) *memnet.Net {
	t.Helper()
	t.Cleanup(func() { <-time.After(time.Hour) })
	return memnet.New()
}

// start runs a node on the host of this name, reachable as NAME:7000.
func start(t *testing.T, n *memnet.Net, name string, with ...func(*gossip.Options)) *peer {
	t.Helper()
	h := n.Host(name)
	l, err := h.Listen(":7000")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := h.ListenPacket(":7000")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	o := gossip.Options{
		Name: name, Cluster: "test", Advertise: name + ":7000",
		Meta:    gossip.Meta{Server: name + "@00000001", Version: "1.0.0", Commands: 7, Roles: 3, HTTP: name + ":8080"},
		Streams: streams{listener: l, dial: h.Dial}, Packets: packets, Registerer: reg,
	}
	for _, change := range with {
		change(&o)
	}
	g, err := gossip.New(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Gossip: g, name: o.Name, host: h, reg: reg}
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *peer) stop(t *testing.T) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("close %s: %v", p.name, err)
	}
}

// kill ends a node's process without a word.
func (p *peer) kill(t *testing.T) {
	t.Helper()
	p.host.Kill()
	p.stop(t)
}

func (p *peer) join(t *testing.T, addresses ...string) {
	t.Helper()
	if err := p.Join(t.Context(), addresses); err != nil {
		t.Fatal(err)
	}
}

// startAll runs nodes that know each other's addresses, and has them all meet.
func startAll(t *testing.T, n *memnet.Net, names []string, with ...func(*gossip.Options)) []*peer {
	t.Helper()
	with = append(with, known(names...))
	var peers []*peer
	for _, name := range names {
		peers = append(peers, start(t, n, name, with...))
	}
	for _, p := range peers[1:] {
		p.join(t, names[0]+":7000")
	}
	within(t, 10*time.Second, allAlive(peers))
	return peers
}

// known are the nodes that are joined while they are missing.
func known(names ...string) func(*gossip.Options) {
	return func(o *gossip.Options) {
		o.Known = func() []string {
			var addresses []string
			for _, name := range names {
				addresses = append(addresses, name+":7000")
			}
			return addresses
		}
	}
}

func logging(to *strings.Builder) func(*gossip.Options) {
	return func(o *gossip.Options) {
		o.Logger = slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
}

// within waits in virtual time, and returns how long.
func within(t *testing.T, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(begun)
		}
		if time.Since(begun) >= limit {
			t.Fatalf("after %v: %v", limit, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// never fails if something is the case at any time in this long.
func never(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < limit; <-time.After(50 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *peer) member(name string) gossip.Member {
	members := p.Members()
	if k := slices.IndexFunc(members, func(m gossip.Member) bool { return m.Name == name }); k >= 0 {
		return members[k]
	}
	return gossip.Member{}
}

// sees says whether every viewer has the named one in this state.
func sees(viewers []*peer, name string, state gossip.State) func() error {
	return func() error {
		for _, p := range viewers {
			if got := p.member(name).State; got != state {
				return fmt.Errorf("%s has %s as %v, want %v", p.name, name, got, state)
			}
		}
		return nil
	}
}

// allAlive says whether all see all alive, and nobody else.
func allAlive(peers []*peer) func() error {
	return func() error {
		for _, p := range peers {
			members := p.Members()
			if len(members) != len(peers) {
				return fmt.Errorf("%s knows %d nodes, want %d", p.name, len(members), len(peers))
			}
			for _, m := range members {
				if m.State != gossip.Alive {
					return fmt.Errorf("%s has %s as %v", p.name, m.Name, m.State)
				}
			}
		}
		return nil
	}
}

// metric is the value of a counter or gauge with this label value, if any.
func (p *peer) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

func expectErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}
