package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ozmo-dev/ozmo/fsm"
)

// inBubble runs a test of groups in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		test(t, w)
	})
}

func TestProposeFromAnyNode(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c")
		lead := leader(t, all)
		version := uint64(0)
		for i, m := range append(others(all, lead), lead) {
			name := fmt.Sprint("name", i)
			given, err := m.Propose(t.Context(), &fsm.SetCluster{Expect: version, Cluster: fsm.Cluster{Name: name}})
			if err != nil {
				t.Fatalf("%s: %v", m.id, err)
			}
			c := m.state.View().Cluster()
			if c.Name != name || given != c.Index {
				t.Fatalf("%s was answered %v and its state shows %+v", m.id, given, c)
			}
			version = c.Index
		}
		// Refusals are the same from everywhere.
		for _, m := range all {
			if _, err := m.Propose(t.Context(), &fsm.SetCluster{Expect: 1 << 40}); !errors.Is(err, fsm.ErrConflict) {
				t.Errorf("%s: %v", m.id, err)
			}
		}
		same(t, all)
	})
}

func TestConcurrentProposals(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c")
		leader(t, all)
		var proposers sync.WaitGroup
		for _, m := range all {
			for i := range 20 {
				proposers.Go(func() {
					for k := range 10 {
						fact := fmt.Sprint(m.id, i, k)
						if _, err := m.Propose(t.Context(), put(fact)); err != nil {
							t.Errorf("%s: %v", m.id, err)
						} else if !has(m.state, fact) {
							t.Errorf("%s does not show what it proposed", m.id)
						}
					}
				})
			}
		}
		proposers.Wait()
		same(t, all)
	})
}

// Everybody proposes while the leader is killed. Each proposal has an outcome,
// and what succeeded is in every state.
func TestLeaderDies(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c")
		lead := leader(t, all)
		var mu sync.Mutex
		var done []string
		var proposers sync.WaitGroup
		until := time.Now().Add(3 * time.Second)
		for _, m := range all {
			for i := range 3 {
				proposers.Go(func() {
					for k := 0; time.Now().Before(until); k++ {
						fact := fmt.Sprint(m.id, i, k)
						begin := time.Now()
						_, err := m.Propose(t.Context(), put(fact))
						if took := time.Since(begin); took > holdFor+time.Second {
							t.Errorf("%s: a proposal took %v", m.id, took)
						}
						switch {
						case err == nil:
							mu.Lock()
							done = append(done, fact)
							mu.Unlock()
						case !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrUncertain):
							t.Errorf("%s: %v", m.id, err)
						}
						<-time.After(time.Duration(5+i) * time.Millisecond)
					}
				})
			}
		}
		<-time.After(time.Second)
		w.kill(lead)
		rest := others(all, lead)
		proposers.Wait()
		again := w.start(lead.id, nil)
		all = slices.Concat(rest, []*member{again})
		same(t, all)
		for _, fact := range done {
			for _, m := range all {
				if !has(m.state, fact) {
					t.Fatalf("%s lost %s, whose proposal succeeded", m.id, fact)
				}
			}
		}
		if len(done) == 0 {
			t.Fatal("no proposal succeeded")
		}
	})
}

func TestMinorityRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c", "d", "e")
		lead := leader(t, all)
		rest := others(all, lead)
		minority, majority := []*member{lead, rest[0]}, rest[1:]
		for _, m := range minority {
			for _, o := range majority {
				w.net.Cut(m.name, o.name)
			}
		}
		var proposers sync.WaitGroup
		for _, m := range minority {
			for i := range 3 {
				proposers.Go(func() {
					begin := time.Now()
					_, err := m.Propose(t.Context(), put(fmt.Sprint("minority", m.id, i)))
					if !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrUncertain) {
						t.Errorf("%s: %v", m.id, err)
					}
					if took := time.Since(begin); took > holdFor+time.Second {
						t.Errorf("%s: refused after %v", m.id, took)
					}
				})
			}
		}
		// Those who can reach each other elect a leader and go on.
		for _, m := range majority {
			if _, err := m.Propose(t.Context(), put("majority"+m.id)); err != nil {
				t.Errorf("%s: %v", m.id, err)
			}
		}
		for _, m := range minority {
			proposers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if err := m.Barrier(ctx); !errors.Is(err, ErrNoLeader) {
					t.Errorf("%s: a barrier in the minority: %v", m.id, err)
				}
			})
		}
		proposers.Wait()
		w.net.HealAll()
		same(t, all)
		for _, m := range all {
			for _, o := range majority {
				if !has(m.state, "majority"+o.id) {
					t.Errorf("%s lost what the majority committed", m.id)
				}
			}
		}
	})
}

func TestGate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		errOld := errors.New("node c is of an older version")
		shut := func(o *Options) {
			o.Gate = func(ty fsm.Type) error {
				if ty == fsm.TypePutBlobs || ty > fsm.TypeAudited {
					return errOld
				}
				return nil
			}
		}
		var all []*member
		var servers []Server
		for _, id := range []string{"a@1", "b@1", "c@1"} {
			m := w.start(id, shut)
			all, servers = append(all, m), append(servers, m.server())
		}
		for _, m := range all {
			if err := m.Bootstrap(servers); err != nil {
				t.Fatal(err)
			}
		}
		lead := leader(t, all)
		for _, m := range all {
			_, err := m.Propose(t.Context(), put("x"))
			if !errors.Is(err, ErrGated) || errors.Is(err, ErrUncertain) {
				t.Errorf("%s: %v", m.id, err)
			}
			if m == lead && !errors.Is(err, errOld) {
				t.Errorf("the reason is lost: %v", err)
			}
			newer, err := fsm.NewAudited(fsm.Audit{}, 0, &fsm.SetQuota{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Propose(t.Context(), newer); !errors.Is(err, ErrGated) {
				t.Errorf("%s: a newer command that is audited: %v", m.id, err)
			}
			if err := m.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Propose(t.Context(), &fsm.SetCluster{Expect: m.state.View().Cluster().Index}); err != nil {
				t.Errorf("%s: another command: %v", m.id, err)
			}
		}
	})
}

// Followers show a command at once, though nothing follows it.
func TestEmptyEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c")
		lead := leader(t, all)
		<-time.After(time.Second)
		before := testutil.ToFloat64(lead.metrics.empty)
		for i := range 10 {
			fact := fmt.Sprint("fact", i)
			if _, err := lead.Propose(t.Context(), put(fact)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for _, m := range others(all, lead) {
				until(t, "the followers apply", func() bool { return has(m.state, fact) })
			}
			// Raft alone would take 50 to 100 ms.
			if took := time.Since(begin); took > 20*time.Millisecond {
				t.Errorf("the followers applied after %v", took)
			}
			<-time.After(500 * time.Millisecond)
		}
		// One each, and none for the empty entries themselves.
		if n := testutil.ToFloat64(lead.metrics.empty) - before; n != 10 {
			t.Errorf("%v empty entries for 10 commands", n)
		}
		if n := testutil.ToFloat64(others(all, lead)[0].metrics.empty); n != 0 {
			t.Errorf("a follower appended %v", n)
		}
	})
}
