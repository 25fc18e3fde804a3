package gossip_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func names(count int) []string {
	var out []string
	for k := range count {
		out = append(out, fmt.Sprintf("n%02d", k))
	}
	return out
}

func TestThreeNodesConverge(t *testing.T) {
	for title, with := range map[string]func(*gossip.Options){
		"plaintext": func(*gossip.Options) {}, "encrypted": encrypted(key(0)),
		"mesh": func(o *gossip.Options) { o.Profile, o.Multiplier = gossip.ProfileMesh, 2 },
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peers := startAll(t, network(t), []string{"a", "b", "c"}, with)
				got := peers[2].member("a")
				got.Since = time.Time{}
				want := gossip.Member{
					Name: "a", Address: "a:7000", State: gossip.Alive,
					Meta: gossip.Meta{Server: "a@00000001", Version: "1.0.0", Commands: 7, Roles: 3, HTTP: "a:8080"},
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if got := peers[0].metric(t, "ozmo_gossip_members", "alive"); got != 3 {
					t.Errorf("the metric counts %v living nodes", got)
				}
				never(t, time.Minute, allAlive(peers))
			})
		})
	}
}

// TestDeath: among three every node is probed twice in half a second. Among many
// the wait for a node's next probe, whoever sends it, is a quarter of a second
// on average, with a tail.
func TestDeath(t *testing.T) {
	for count, limit := range map[int]time.Duration{3: 2 * time.Second, 20: 5 * time.Second} {
		for title, end := range map[string]func(*memnet.Host){"kill": (*memnet.Host).Kill, "vanish": (*memnet.Host).Vanish} {
			t.Run(fmt.Sprintf("%s one of %d", title, count), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := network(t)
					n.Delay(time.Millisecond)
					peers := startAll(t, n, names(count), encrypted(key(0)))
					last := peers[count-1]
					end(last.host)
					last.stop(t)
					took := within(t, limit, sees(peers[:count-1], last.name, gossip.Dead))
					t.Logf("known to all after %v", took)
					if got := peers[0].metric(t, "ozmo_gossip_members", "dead"); got != 1 {
						t.Errorf("the metric counts %v dead nodes", got)
					}
					never(t, 10*time.Second, allAliveBut(peers, last.name))
				})
			})
		}
	}
}

// allAliveBut says whether all but one see all but one alive.
func allAliveBut(peers []*peer, dead string) func() error {
	return func() error {
		for _, p := range peersBut(peers, dead) {
			for _, m := range p.Members() {
				if m.State != gossip.Alive && m.Name != dead {
					return fmt.Errorf("%s has %s as %v", p.name, m.Name, m.State)
				}
			}
		}
		return nil
	}
}

func peersBut(peers []*peer, name string) []*peer {
	var out []*peer
	for _, p := range peers {
		if p.name != name {
			out = append(out, p)
		}
	}
	return out
}

// TestTheDeadAreListedForADay, unless they come back.
func TestTheDeadAreListedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The slow profile, since a day is long.
		mesh := func(o *gossip.Options) { o.Profile, o.Multiplier = gossip.ProfileMesh, 20 }
		n := network(t)
		a, b := start(t, n, "a", mesh), start(t, n, "b", mesh)
		a.join(t, "b:7000")
		within(t, time.Minute, allAlive([]*peer{a, b}))
		b.kill(t)
		within(t, 10*time.Minute, sees([]*peer{a}, "b", gossip.Dead))
		<-time.After(24*time.Hour - time.Minute)
		if err := sees([]*peer{a}, "b", gossip.Dead)(); err != nil {
			t.Fatal(err)
		}
		within(t, 3*time.Minute, allAlive([]*peer{a}))
	})
}

// settled fails unless all are alive and stay so, soon. Who came back at another
// address may be doubted once more, by those who were told late.
func settled(t *testing.T, peers []*peer) {
	t.Helper()
	<-time.After(10 * time.Second)
	never(t, 2*time.Minute, allAlive(peers))
}

func TestRestart(t *testing.T) {
	for title, moves := range map[string]bool{"same address": false, "other address": true} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := network(t)
				var conflicts atomic.Int32
				counting := func(o *gossip.Options) { o.Conflict = func(gossip.Member) { conflicts.Add(1) } }
				peers := startAll(t, n, []string{"a", "b", "c"}, counting)
				peers[0].kill(t)
				if moves {
					n.Host("a").Readdress()
				}
				// Before anybody has noticed.
				peers[0] = start(t, n, "a", counting, known("a", "b", "c"), func(o *gossip.Options) {
					o.Meta.Server = "a@00000002"
				})
				within(t, 6*time.Second, func() error {
					for _, p := range peers {
						if got := p.member("a"); got.State != gossip.Alive || got.Server != "a@00000002" {
							return fmt.Errorf("%s has %+v", p.name, got)
						}
					}
					return nil
				})
				settled(t, peers)
				if conflicts.Load() != 0 {
					t.Errorf("a restart was taken for a conflict")
				}
				for _, p := range peers {
					if got := p.metric(t, "ozmo_gossip_false_deaths_total", ""); got != 0 {
						t.Errorf("%s takes a restart for a false death", p.name)
					}
				}
			})
		})
	}
}

func TestSplitHeals(t *testing.T) {
	for _, long := range []time.Duration{5 * time.Second, 30 * time.Second, 10 * time.Minute} {
		t.Run(long.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := network(t)
				n.Delay(time.Millisecond)
				peers := startAll(t, n, names(5), encrypted(key(0)))
				for _, left := range peers[:2] {
					for _, right := range peers[2:] {
						n.Cut(left.name, right.name)
					}
				}
				within(t, 3*time.Second, func() error {
					for _, p := range peers[2:] {
						if err := sees(peers[:2], p.name, gossip.Dead)(); err != nil {
							return err
						}
					}
					for _, p := range peers[:2] {
						if err := sees(peers[2:], p.name, gossip.Dead)(); err != nil {
							return err
						}
					}
					return nil
				})
				<-time.After(long)
				n.HealAll()
				took := within(t, 10*time.Second, allAlive(peers))
				t.Logf("together again after %v", took)
				if long < time.Minute {
					if got := peers[0].metric(t, "ozmo_gossip_false_deaths_total", ""); got != 3 {
						t.Errorf("%v false deaths counted", got)
					}
				}
			})
		})
	}
}

func TestIsolatedNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		peers := startAll(t, n, names(20))
		n.Isolate("n07")
		within(t, 5*time.Second, sees(peersBut(peers, "n07"), "n07", gossip.Dead))
		<-time.After(30 * time.Second)
		n.HealHost("n07")
		within(t, 10*time.Second, allAlive(peers))
	})
}

func TestNameConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		type report struct {
			at    time.Time
			other gossip.Member
		}
		var mu sync.Mutex
		reports := map[string][]report{}
		reporting := func(host string) func(*gossip.Options) {
			return func(o *gossip.Options) {
				o.Conflict = func(other gossip.Member) {
					mu.Lock()
					defer mu.Unlock()
					reports[host] = append(reports[host], report{time.Now(), other})
				}
			}
		}
		all := known("a", "b", "other")
		a := start(t, n, "a", all, reporting("a"))
		b := start(t, n, "b", all, reporting("b"))
		b.join(t, "a:7000")
		other := start(t, n, "other", all, reporting("other"), func(o *gossip.Options) {
			o.Name, o.Meta.Server = "a", "a@0000000f"
		})
		other.join(t, "b:7000")
		<-time.After(5 * time.Minute)
		for _, p := range []*peer{a, b} {
			if got := p.member("a"); got.Server != "a@00000001" || got.State != gossip.Alive {
				t.Errorf("%s lets a stranger take over: %+v", p.name, got)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for host, server := range map[string]string{"a": "a@0000000f", "b": "a@0000000f", "other": "a@00000001"} {
			told := reports[host]
			if len(told) < 3 || len(told) > 6 {
				t.Errorf("%s was told %d times in five minutes", host, len(told))
			}
			for _, r := range told {
				if r.other.Name != "a" || r.other.Server != server {
					t.Errorf("%s was told of %+v", host, r.other)
				}
			}
		}
	})
}

func TestLeave(t *testing.T) {
	for _, count := range []int{1, 3, 20} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := network(t)
				peers := startAll(t, n, names(count))
				last := peers[count-1]
				begun := time.Now()
				if err := last.Leave(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > time.Second {
					t.Errorf("leaving took %v", took)
				}
				if err := last.Leave(t.Context()); err != nil {
					t.Errorf("leaving again: %v", err)
				}
				within(t, time.Second, sees(peers, last.name, gossip.Left))
				last.stop(t)
				expectErr(t, last.Join(t.Context(), []string{"n00:7000"}), gossip.ErrClosed)
				expectErr(t, last.Leave(t.Context()), gossip.ErrClosed)
				never(t, time.Minute, sees(peers, last.name, gossip.Left))
				// And back again.
				peers[count-1] = start(t, n, last.name, known(names(count)...))
				within(t, 5*time.Second, allAlive(peers))
			})
		})
	}
}

func TestLeaveHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := startAll(t, network(t), names(3))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		expectErr(t, peers[0].Leave(ctx), context.Canceled)
		never(t, 5*time.Second, allAlive(peers))
	})
}

func TestSetMetaAndChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := startAll(t, network(t), names(5))
		<-time.After(time.Minute)
		changed := peers[4].Changed()
		select {
		case <-changed:
			t.Fatal("something changed")
		default:
		}
		meta := gossip.Meta{Server: "n00@00000001", Version: "1.1.0", Commands: 9, Roles: 1}
		if err := peers[0].SetMeta(meta); err != nil {
			t.Fatal(err)
		}
		<-changed
		within(t, time.Second, func() error {
			for _, p := range peers {
				if got := p.member("n00").Meta; got != meta {
					return fmt.Errorf("%s has %+v", p.name, got)
				}
			}
			return nil
		})
		meta.HTTP = strings.Repeat("x", 600)
		expectErr(t, peers[0].SetMeta(meta), gossip.ErrMetaTooLong)
	})
}

func TestJoinErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		a := start(t, n, "a")
		start(t, n, "b")
		n.Host("c")
		if err := a.Join(t.Context(), nil); err == nil {
			t.Error("joined nobody")
		}
		for _, address := range []string{"c:7000", "nowhere:7000", "c", "c:0"} {
			if err := a.Join(t.Context(), []string{address}); err == nil || !strings.Contains(err.Error(), address) {
				t.Errorf("join %s: %v", address, err)
			}
		}
		expectErr(t, a.Join(t.Context(), []string{"c:7000"}), syscall.ECONNREFUSED)
		if err := a.Join(t.Context(), []string{"c:7000", "b:7000"}); err != nil {
			t.Errorf("one of two answers: %v", err)
		}
		n.Host("c").Vanish()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expectErr(t, a.Join(ctx, []string{"c:7000"}), context.DeadlineExceeded)
	})
}

// TestServiceName joins by a name that stands for all nodes, as a headless
// service of Kubernetes does.
func TestServiceName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		n.Alias("nodes.svc", "n00", "n01", "n02")
		var peers []*peer
		for k, name := range names(3) {
			dns := fmt.Sprintf("node-%d.nodes.svc", k)
			n.Alias(dns, name)
			peers = append(peers, start(t, n, name, func(o *gossip.Options) {
				o.Advertise = dns + ":7000"
				o.Known = func() []string { return []string{"nodes.svc:7000"} }
			}))
		}
		within(t, 5*time.Second, allAlive(peers))
		if got := peers[0].member("n02").Address; got != "node-2.nodes.svc:7000" {
			t.Errorf("advertised %s", got)
		}
		// Who is a member is not joined again.
		before := n.Stats("n00", "n01").Conns
		<-time.After(20 * time.Second)
		if again := n.Stats("n00", "n01").Conns - before; again > 3 {
			t.Errorf("%d connections in twenty seconds", again)
		}
	})
}

// TestAdvertisedNameLeadsElsewhere has a node's address change while it runs.
func TestAdvertisedNameLeadsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		peers := startAll(t, n, []string{"a", "b", "c"})
		<-time.After(time.Minute)
		n.Host("b").Readdress()
		within(t, 5*time.Second, sees([]*peer{peers[0], peers[2]}, "b", gossip.Dead))
		<-time.After(25 * time.Second) // two looks: until then it comes and goes
		within(t, 5*time.Second, allAlive(peers))
		settled(t, peers)
		if err := peers[1].Leave(t.Context()); err != nil {
			t.Error(err)
		}
		within(t, time.Second, sees(peers, "b", gossip.Left))
	})
}

// TestUnresolvedAdvertise: the node's own name is not known yet when it starts.
func TestUnresolvedAdvertise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		a := start(t, n, "a", func(o *gossip.Options) { o.Advertise = "a.late.svc:7000" })
		b := start(t, n, "b", known("a"))
		within(t, 5*time.Second, allAlive([]*peer{a, b}))
		n.Alias("a.late.svc", "a")
		never(t, time.Minute, allAlive([]*peer{a, b}))
	})
}

func TestOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := network(t).Host("a")
		l, err := h.Listen(":7000")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := h.ListenPacket(":7000")
		if err != nil {
			t.Fatal(err)
		}
		good := gossip.Options{
			Name: "a", Cluster: "test", Advertise: "a:7000", Streams: streams{listener: l, dial: h.Dial}, Packets: packets,
		}
		for title, spoil := range map[string]func(*gossip.Options){
			"no name":       func(o *gossip.Options) { o.Name = "" },
			"no cluster":    func(o *gossip.Options) { o.Cluster = "" },
			"long cluster":  func(o *gossip.Options) { o.Cluster = strings.Repeat("c", 256) },
			"no packets":    func(o *gossip.Options) { o.Packets = nil },
			"no streams":    func(o *gossip.Options) { o.Streams = nil },
			"profile":       func(o *gossip.Options) { o.Profile = "wan" },
			"multiplier":    func(o *gossip.Options) { o.Multiplier = -1 },
			"no port":       func(o *gossip.Options) { o.Advertise = "a" },
			"port 0":        func(o *gossip.Options) { o.Advertise = "a:0" },
			"key":           func(o *gossip.Options) { o.Keys = [][]byte{key(0), []byte("short")} },
			"long metadata": func(o *gossip.Options) { o.Meta.Version = strings.Repeat("v", 600) },
		} {
			o := good
			spoil(&o)
			if g, err := gossip.New(o); err == nil {
				t.Errorf("%s: accepted", title)
				g.Close()
			}
		}
		g, err := gossip.New(good)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
