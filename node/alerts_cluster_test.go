package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// listener reads a stream of events.
type listener struct {
	mu     sync.Mutex
	header http.Header
	text   strings.Builder
	end    context.CancelFunc
	done   chan struct{}
}

func (l *listener) Header() http.Header { return l.header }
func (l *listener) WriteHeader(int)     {}
func (l *listener) Flush()              {}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *listener) stop() { l.end(); <-l.done }

// heard are the transactions of the events "alert", the gaps, and the last id.
func (l *listener) heard() (txs []string, gaps []string, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for block := range strings.SplitSeq(l.text.String(), "\n\n") {
		var e api.AlertEvent
		name, data := "", ""
		for line := range strings.Lines(block) {
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "id":
				last = value
			case "event":
				name = value
			case "data":
				data = value
			}
		}
		switch name {
		case "alert":
			if json.Unmarshal([]byte(data), &e) == nil {
				txs = append(txs, e.Transaction)
			}
		case "gap":
			gaps = append(gaps, data)
		}
	}
	return txs, gaps, last
}

// listen follows a tenant's alerts through a node.
func listen(t *testing.T, m *testcluster.Member, tenant, last string) *listener {
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{header: http.Header{}, end: cancel, done: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/tenants/"+tenant+"/alerts/stream", nil)
	r = v1.As(r, v1.Actor{Name: "socket", Role: fsm.RoleOperator})
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	h := m.Node().TenantAPI()
	go func() {
		defer close(l.done)
		h.ServeHTTP(l, r)
	}()
	return l
}

// A tenant's alerts are listed and followed through any node, also while the one that
// judges the tenant dies and another takes over; what was missed is told to who comes
// back with the last id.
func TestAlertsOnAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 2})
		v := c.View()
		tenant, _ := v.Tenant("t000")
		owner := c.Member(v.Owner(tenant))
		var others []*testcluster.Member
		for _, m := range c.Members() {
			if m != owner {
				others = append(others, m)
			}
		}
		network := tenant.Current.Manifest.Wanted[0]
		near, far := listen(t, owner, "t000", ""), listen(t, others[0], "t000", "")
		foreign := listen(t, others[0], "t001", "")
		c.Sleep(time.Second)
		var made []string
		fire := func() {
			t.Helper()
			b := c.Extend(network, 1)
			made = append(made, b.Txs[0].Hash.String())
			c.Extend(network, 0)
		}
		hears := func(l *listener, want []string) {
			t.Helper()
			c.Eventually(time.Minute, func() error {
				txs, gaps, _ := l.heard()
				for _, tx := range want {
					if !slices.Contains(txs, tx) {
						return fmt.Errorf("heard %v, want %v; gaps %v", txs, want, gaps)
					}
				}
				if len(txs) != len(want) {
					return fmt.Errorf("heard %d, want %d: %v", len(txs), len(want), txs)
				}
				return nil
			})
		}
		fire()
		fire()
		hears(near, made)
		hears(far, made)
		_, _, last := far.heard()
		near.stop()
		far.stop()
		c.Sleep(time.Minute)
		fire() // while nobody listens
		c.Sleep(10 * time.Second)
		back := listen(t, others[1], "t000", last)
		missed := slices.Clone(made[2:])
		c.Eventually(time.Minute, func() error {
			if txs, _, _ := back.heard(); !slices.Contains(txs, missed[0]) {
				return fmt.Errorf("heard %v, want %v", txs, missed)
			}
			return nil
		})

		list := func(m *testcluster.Member) (p v1.AlertPage) {
			t.Helper()
			if err := json.Unmarshal(asked(t, m, "", "GET", "/v1/tenants/t000/alerts?limit=500", "", 200).Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, m := range c.Members() {
			p := list(m)
			if len(p.Items) != len(made) || len(p.Silent) != 0 || p.Items[0].Transaction != made[len(made)-1] {
				t.Errorf("by %s: %+v", m.Name, p)
			}
		}

		owner.Kill()
		c.Eventually(time.Minute, func() error {
			if _, gaps, _ := back.heard(); !slices.ContainsFunc(gaps, func(g string) bool { return strings.Contains(g, `"`+owner.Name+`"`) }) {
				return fmt.Errorf("gaps %v do not name %s", gaps, owner.Name)
			}
			return nil
		})
		c.Eventually(time.Minute, func() error {
			v := c.View()
			now, _ := v.Tenant("t000")
			if by := v.Owner(now); by == "" || by == owner.Name {
				return fmt.Errorf("the tenant is with %q", by)
			}
			return nil
		})
		fire()
		c.Eventually(time.Minute, func() error {
			if txs, _, _ := back.heard(); !slices.Contains(txs, made[3]) {
				return fmt.Errorf("heard %v, want %v", txs, made[3])
			}
			return nil
		})
		// The journal of the dead node is missing, and the ledger stands in for it.
		p := list(others[0])
		if !slices.Equal(p.Silent, []string{owner.Name}) || len(p.Items) != len(made) {
			t.Errorf("%d alerts, silent %v, want %d", len(p.Items), p.Silent, len(made))
		}
		one := asked(t, others[1], "", "GET", "/v1/tenants/t000/alerts/"+p.Items[0].ID, "", 200).Body.String()
		if !strings.Contains(one, made[3]) || !strings.Contains(one, `"variables"`) {
			t.Errorf("%s", one)
		}
		asked(t, others[1], "", "GET", "/v1/tenants/t001/alerts/"+p.Items[0].ID, "", 503) // a journal cannot be asked

		owner.Restart()
		owner.AwaitReady()
		if p := list(owner); len(p.Silent) != 0 || len(p.Items) != len(made) {
			t.Errorf("after the restart: %d alerts, silent %v", len(p.Items), p.Silent)
		}
		asked(t, others[1], "", "GET", "/v1/tenants/t001/alerts/"+p.Items[0].ID, "", 404)
		if txs, _, _ := foreign.heard(); len(txs) != len(made) || slices.Contains(txs, "") {
			t.Errorf("the other tenant's stream has %v", txs)
		}
		foreign.stop()
		back.stop()
	})
}
