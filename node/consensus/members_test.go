package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A node that comes back with an empty disk is another server: it must not
// answer for the one that it was.
func TestWipedNodeIsNotTheOneItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c")
		lead := leader(t, all)
		rest := others(all, lead)
		wiped := rest[0]
		w.kill(wiped)
		delete(w.stores, wiped.name)
		fresh := w.start(wiped.name+"@00000002", nil)
		// The third alone is no majority with the wiped one.
		w.kill(rest[1])
		_, err := lead.Propose(t.Context(), put("x"))
		if !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrUncertain) {
			t.Fatalf("committed with a voter that lost its disk: %v", err)
		}
		if fresh.raft.LastIndex() > 0 || fresh.Term() > 0 {
			t.Fatalf("the wiped server took part: last index %d, term %d", fresh.raft.LastIndex(), fresh.Term())
		}
		if n := testutil.ToFloat64(fresh.metrics.refused); n == 0 {
			t.Fatal("no stream was refused")
		}
		// With the third back it can be replaced.
		third := w.start(rest[1].id, nil)
		two := []*member{lead, third}
		lead = leader(t, two)
		if err := lead.Remove(wiped.id); err != nil {
			t.Fatal(err)
		}
		if err := lead.AddNonvoter(fresh.server()); err != nil {
			t.Fatal(err)
		}
		if err := lead.Promote(fresh.server()); err != nil {
			t.Fatal(err)
		}
		all = slices.Concat(two, []*member{fresh})
		if _, err := fresh.Propose(t.Context(), put("y")); err != nil {
			t.Fatal(err)
		}
		same(t, all)
	})
}

func TestJoinPromoteTransfer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.group("a")[0]
		if _, err := a.Propose(t.Context(), put("before")); err != nil {
			t.Fatal(err)
		}
		b := w.start("b@00000001", nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.AwaitLeader(ctx); !errors.Is(err, ErrNoLeader) {
			t.Fatalf("a node without a group: %v", err)
		}
		if err := a.AddNonvoter(b.server()); err != nil {
			t.Fatal(err)
		}
		if err := b.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !has(b.state, "before") {
			t.Fatal("a new node's barrier does not show what was committed before")
		}
		if err := a.Transfer(t.Context(), b.id); err == nil || !strings.Contains(err.Error(), "no vote") {
			t.Fatalf("transferred to a non-voter: %v", err)
		}
		if err := b.Promote(b.server()); !errors.Is(err, ErrNotLeader) {
			t.Fatalf("a follower changed the group: %v", err)
		}
		if err := a.Promote(b.server()); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint([]Peer{{a.server(), true}, {b.server(), true}})
		until(t, "b knows the group as "+want, func() bool {
			peers, err := b.Peers()
			return err == nil && fmt.Sprint(peers) == want
		})
		begin := time.Now()
		_, changed := a.Leads()
		if err := a.Transfer(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		<-changed
		if leads, _ := a.Leads(); leads {
			t.Fatal("a leads after it has handed over")
		}
		if l := leader(t, []*member{a, b}); l != b {
			t.Fatalf("%s leads", l.id)
		}
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Fatalf("handing over took %v", took)
		}
		if err := b.Demote(b.id); err == nil {
			t.Fatal("the leader demoted itself")
		}
		if err := b.Remove(b.id); err == nil {
			t.Fatal("the leader removed itself")
		}
		if err := b.Demote(a.id); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(a.id); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Propose(t.Context(), put("alone")); err != nil {
			t.Fatal(err)
		}
	})
}

// A transfer to a server that does not answer gives up, and the group goes on,
// whether that server has the whole log or not.
func TestTransferToTheDead(t *testing.T) {
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprint("behind ", behind), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				all := w.group("a", "b", "c")
				lead := leader(t, all)
				dead := others(all, lead)[0]
				same(t, all)
				w.net.Isolate(dead.name)
				if behind {
					if _, err := lead.Propose(t.Context(), put("it does not have")); err != nil {
						t.Fatal(err)
					}
				}
				begin := time.Now()
				if err := lead.Transfer(t.Context(), dead.id); err == nil {
					t.Fatal("handed over to a server that is away")
				}
				if took := time.Since(begin); took > transferTimeout+100*time.Millisecond {
					t.Fatalf("gave up after %v", took)
				}
				if _, err := lead.Propose(t.Context(), put("after")); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > 2*transferTimeout {
					t.Fatalf("nothing could be proposed for %v", took)
				}
				w.net.HealHost(dead.name)
				same(t, all)
			})
		})
	}
}

// A server moves to another address; gossip knows where it is.
func TestLocate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		locate := func(o *Options) {
			o.Locate = func(server string) (string, bool) { return NameOf(server) + ":7000", true }
		}
		var all []*member
		var servers []Server
		for _, n := range []string{"a", "b", "c"} {
			m := w.start(n+"@1", locate)
			all = append(all, m)
			servers = append(servers, Server{m.id, n + "-was-here:1"})
		}
		for _, m := range all {
			if err := m.Bootstrap(servers); err != nil {
				t.Fatal(err)
			}
		}
		leader(t, all)
		for _, m := range all {
			if _, err := m.Propose(t.Context(), put(m.id)); err != nil {
				t.Fatal(err)
			}
			if l, ok := m.Leader(); !ok || l.Address != NameOf(l.ID)+":7000" {
				t.Fatalf("%s knows the leader as %v", m.id, l)
			}
		}
	})
}
