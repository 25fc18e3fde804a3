package node

import (
	"context"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
	"github.com/ozmo-dev/ozmo/worker/notify/egress"
)

func TestOwnHosts(t *testing.T) {
	state := fsm.New()
	for i, c := range []fsm.RegisterNode{
		{Name: "a", Server: "a@1", Address: "a.example:7000", Roles: fsm.AllRoles, Weight: 100},
		{Name: "b", Server: "b@1", Address: "10.0.0.2:7000", Roles: fsm.AllRoles, Weight: 100},
	} {
		entry, err := fsm.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := state.Apply(uint64(i+1), entry); err != nil {
			t.Fatal(err)
		}
	}
	members := []gossip.Member{
		{Name: "a", Address: "a.example:7000", Meta: gossip.Meta{HTTP: "[::]:8080"}},
		{Name: "b", Address: "10.0.0.2:7000", Meta: gossip.Meta{HTTP: "127.0.0.1:8081"}},
		{Name: "c", Address: "10.0.0.3:7000", Meta: gossip.Meta{HTTP: ":8082"}},
		{Name: "d", Address: "10.0.0.4:7000"},
	}
	o := Options{ClusterListen: ":7000", Listen: "[::]:8080", RedisURL: "redis://:k3y@cache.example/0"}
	got := ownHosts(&o, "a.example:7000", state.View(), members)
	slices.Sort(got)
	want := []string{
		"10.0.0.2:7000", "10.0.0.3:7000", "10.0.0.3:8082", "10.0.0.4:7000", "127.0.0.1:8081",
		"[::]:7000", "[::]:8080", "a.example:7000", "a.example:8080", "cache.example:6379",
	}
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRedisHost(t *testing.T) {
	for address, want := range map[string]string{
		"": "", "unix:///run/redis.sock": "", "redis://h": "h:6379", "rediss://u:p@h:1/2": "h:1", "redis://[::1]:6380": "[::1]:6380", "://": "",
	} {
		if got := redisHost(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// The cluster's own ports are closed to tenants, on every address of theirs and
// whatever is allowed. An address that changes is followed; one whose name
// cannot be resolved for a while stays what it was.
func TestOwnListenersAreClosedToTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := memnet.New()
		here, there, receiver := world.Host("here"), world.Host("there"), world.Host("receiver")
		for _, h := range []*memnet.Host{here, there, receiver} {
			for _, port := range []string{":7000", ":8080", ":9000"} {
				l, err := h.Listen(port)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
			}
		}
		n := &Node{opts: Options{Network: here, Registry: prometheus.NewRegistry(), EgressAllow: []string{memnet.Range}}}
		guard, err := n.newGuard()
		if err != nil {
			t.Fatal(err)
		}
		learn := func(hosts ...string) { n.resolveOwn(t.Context(), map[string][]netip.Addr{}, hosts) }
		learn("here:7000", "here:8080", "there:7000", "there:8080")
		dial := func(address string) error {
			conn, err := guard.Dial(t.Context(), "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
		moved := there.IP()
		for address, open := range map[string]bool{
			"here:9000": true, "there:9000": true, "receiver:7000": true, "receiver:8080": true,
			"here:7000": false, "here:8080": false, "there:7000": false, "there:8080": false,
			there.IP().String() + ":7000":              false,
			"[::ffff:" + here.IP().String() + "]:8080": false,
		} {
			if err := dial(address); (err == nil) != open || !open && !strings.Contains(err.Error(), "this cluster itself") {
				t.Errorf("%s: %v", address, err)
			}
		}
		there.Readdress()
		learn("here:7000", "there:7000")
		if err := dial(there.IP().String() + ":7000"); err == nil {
			t.Error("a node's new address is open")
		}
		if slices.ContainsFunc(n.ownListeners(), func(a netip.AddrPort) bool { return a.Addr() == moved }) {
			t.Error("a node's old address is kept")
		}
		learn("here:7000", "nowhere:7000")
		if err := dial(there.IP().String() + ":7000"); err == nil {
			t.Error("what was known is forgotten while a name cannot be resolved")
		}
	})
}

// A port that is listened at on all addresses is closed on each of this machine.
func TestOwnListenersOnAllAddresses(t *testing.T) {
	n := &Node{opts: Options{Network: systemNetwork{}}}
	n.resolveOwn(t.Context(), map[string][]netip.Addr{}, []string{"[::]:7000"})
	if !slices.Contains(n.ownListeners(), netip.MustParseAddrPort("127.0.0.1:7000")) {
		t.Errorf("listeners %v", n.ownListeners())
	}
	g, err := egress.New(egress.Options{Allow: []string{"0.0.0.0/0", "::/0"}, Own: n.ownListeners})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0", "[::]"} {
		conn, err := g.Dial(context.Background(), "tcp", host+":7000")
		if err == nil {
			_ = conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestSendingOptionsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		s    Sending
		want string
	}{
		{Sending{}, ""},
		{Sending{PerDestination: 64, PerTenant: 32, PerNode: 8, DestinationRate: 0.1, TenantRate: 1e6}, ""},
		{Sending{PerDestination: -1}, "--concurrency-destination -1"},
		{Sending{PerTenant: 1 << 30}, "--concurrency-tenant"},
		{Sending{PerNode: -5}, "--concurrency-node -5"},
		{Sending{DestinationRate: math.NaN()}, "--rate-destination NaN"},
		{Sending{TenantRate: math.Inf(1)}, "--rate-tenant +Inf"},
	} {
		errs := tc.s.check()
		if (len(errs) == 0) != (tc.want == "") || len(errs) > 0 && !strings.Contains(errs[0].Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.s, errs, tc.want)
		}
	}
	o := Options{EgressAllow: []string{"10.0.0.1/8"}}
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "--egress-allow") {
		t.Errorf("a range with an address in it: %v", err)
	}
}
