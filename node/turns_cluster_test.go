package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

const writerAddress = "203.0.113.7:4711"

// write puts a trigger over a node's API, as somebody with headers of nodes would.
func write(ctx context.Context, m *testcluster.Member, name string) *httptest.ResponseRecorder {
	body := fmt.Sprintf(`{"name":%q,"trigger_type":"webhook","config":{"url":{"type":"plain","value":"https://receiver.example/"},"message":{"title":"t","body":"b"}}}`, name)
	r := httptest.NewRequestWithContext(ctx, "PUT", "/v1/tenants/acme/triggers/"+name, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Ozmo-Asked-By", "somebody else")
	r.Header.Set("Ozmo-Passed-On", "n1")
	w := httptest.NewRecorder()
	m.Node().TenantAPI().ServeHTTP(w, v1.As(r, v1.Actor{Name: "writer", Role: fsm.RoleOperator, Address: writerAddress}))
	return w
}

// repeated is how many changes a node has checked again.
func repeated(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "ozmo_api_changes_repeated_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// Changes of one tenant that come to all nodes at once take turns: none is checked
// again, all come into force, and each is to be read at once where it was asked for.
func TestChangesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		regs := map[string]*prometheus.Registry{}
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 1, Adjust: func(name string, o *node.Options) {
			regs[name] = prometheus.NewRegistry()
			o.Registry = regs[name]
		}})
		asked(t, c.Members()[0], "", "PUT", "/v1/tenants/acme", "", 201)
		const writers, rounds = 8, 3
		var all sync.WaitGroup
		for _, m := range c.Members() {
			for i := range writers {
				all.Go(func() {
					for round := range rounds {
						name := fmt.Sprintf("%s-%d-%d", m.Name, i, round)
						if w := write(t.Context(), m, name); w.Code != 201 {
							t.Errorf("%s: %d %s", name, w.Code, w.Body)
							continue
						}
						asked(t, m, "", "GET", "/v1/tenants/acme/triggers/"+name, "", 200)
					}
				})
			}
		}
		all.Wait()
		var list v1.Page[v1.Listed]
		var log v1.Page[struct{ Actor, Action, Address, Object string }]
		for path, into := range map[string]any{"triggers?limit=500": &list, "audit?limit=500": &log} {
			if err := json.Unmarshal(asked(t, c.Leader(), "", "GET", "/v1/tenants/acme/"+path, "", 200).Body.Bytes(), into); err != nil {
				t.Fatal(err)
			}
		}
		if want := 3 * writers * rounds; len(list.Items) != want {
			t.Errorf("%d of %d triggers are there", len(list.Items), want)
		}
		told := map[string]int{}
		for _, e := range log.Items {
			if e.Action != "trigger.put" {
				continue
			}
			told[e.Object]++
			if e.Actor != "writer" || e.Address != writerAddress {
				t.Errorf("%s was changed by %q from %q", e.Object, e.Actor, e.Address)
			}
		}
		for _, item := range list.Items {
			if told[item.ID] != 1 {
				t.Errorf("the audit log has %s %d times", item.ID, told[item.ID])
			}
		}
		for name, reg := range regs {
			if n := repeated(t, reg); n > 0 {
				t.Errorf("%s has checked %v changes again", name, n)
			}
		}
	})
}

// The leader is killed with many changes under way: those that wait for it are carried
// out by the others, or refused for now and carried out when they are sent again.
func TestChangesWhileTheLeaderIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 1})
		leader := c.Leader()
		asked(t, leader, "", "PUT", "/v1/tenants/acme", "", 201)
		const writers, rounds = 6, 10
		half := make(chan struct{}, 2*writers*rounds)
		var all sync.WaitGroup
		var names []string
		for _, m := range c.Members() {
			if m == leader {
				continue
			}
			for i := range writers {
				for round := range rounds {
					names = append(names, fmt.Sprintf("%s-%d-%d", m.Name, i, round))
				}
				all.Go(func() {
					for round := range rounds {
						name := fmt.Sprintf("%s-%d-%d", m.Name, i, round)
						w := write(t.Context(), m, name)
						for tries := 0; w.Code == 503 && tries < 20; tries++ {
							c.Sleep(time.Second) // as Retry-After says
							w = write(t.Context(), m, name)
						}
						if w.Code/100 != 2 {
							t.Errorf("%s: %d %s", name, w.Code, w.Body)
						}
						half <- struct{}{}
					}
				})
			}
		}
		for range len(names) / 4 {
			<-half
		}
		leader.Kill()
		all.Wait()
		for _, m := range c.Running() {
			for _, name := range names {
				asked(t, m, "", "GET", "/v1/tenants/acme/triggers/"+name+"?index="+fmt.Sprint(c.View().Index()), "", 200)
			}
		}
	})
}

// A node that stands still with a turn loses it; one that takes too long keeps it, and
// the others go on without. So they do where the leader stands still.
func TestTurnsThatDoNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 1})
		leader := c.Leader()
		asked(t, leader, "", "PUT", "/v1/tenants/acme", "", 201)
		var followers []*testcluster.Member
		for _, m := range c.Members() {
			if m != leader {
				followers = append(followers, m)
			}
		}
		slow, other := followers[0], followers[1]
		changed := func(m *testcluster.Member, name string) time.Duration {
			t.Helper()
			began := time.Now()
			if w := write(t.Context(), m, name); w.Code != 201 {
				t.Fatalf("%s: %d %s", name, w.Code, w.Body)
			}
			return time.Since(began)
		}
		release, err := slow.Node().Turn(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range []*testcluster.Member{other, leader} {
			if took := changed(m, fmt.Sprint("during", i)); took < 5*time.Second || took > 6*time.Second {
				t.Errorf("%s has waited %v for a turn that does not end", m.Name, took)
			}
		}
		release()
		if took := changed(other, "after"); took > time.Second {
			t.Errorf("after the end of a turn: %v", took)
		}

		if release, err = slow.Node().Turn(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		slow.Pause()
		if took := changed(other, "frozen"); took > 4*time.Second {
			t.Errorf("%v for the turn of a node that stands still", took)
		}
		slow.Resume()
		release()
		c.Eventually(time.Minute, slow.Contact)
		changed(slow, "thawed")
		if took := changed(leader, "last"); took > time.Second {
			t.Errorf("after all: %v", took)
		}

		leader.Pause()
		took := changed(other, "without")
		if took > 4*time.Second {
			t.Errorf("%v with a leader that stands still", took)
		}
		t.Logf("with a leader that stands still: %v", took)
		leader.Resume()
	})
}
