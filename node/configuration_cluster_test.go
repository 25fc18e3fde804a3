package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

type doc map[string]any

// configure puts a whole configuration over a node's API.
func configure(m *testcluster.Member, tenant, query string, body doc) (out v1.Configured, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return out, err
	}
	r := httptest.NewRequest("PUT", "/v1/tenants/"+tenant+"/configuration"+query, bytes.NewReader(data))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	m.Node().TenantAPI().ServeHTTP(w, v1.As(r, v1.Actor{Name: "test", Role: fsm.RoleOperator}))
	if w.Code >= 300 {
		return out, fmt.Errorf("%d %s", w.Code, w.Body)
	}
	return out, json.Unmarshal(w.Body.Bytes(), &out)
}

// either is a configuration of two monitors, of which an even number has the one and
// an odd number the other take every transfer: whatever is judged with a mixture of
// two of them gives both alerts or none.
func either(c *testcluster.Cluster, tenant, by string, n int) doc {
	monitor := func(takes bool) doc {
		expression := "value > 1000000000000"
		if takes {
			expression = "value > 0"
		}
		return doc{
			"name": fmt.Sprintf("%d by %s", n, by), "paused": false, "networks": []string{"net"}, "triggers": []string{"hook"},
			"addresses": []doc{{"address": fmt.Sprintf("0x%x", fakechain.Token[:]), "contract_spec": json.RawMessage(transferABI)}},
			"match_conditions": doc{
				"functions": []doc{}, "transactions": []doc{},
				"events": []doc{{"signature": "Transfer(address,address,uint256)", "expression": expression}},
			},
			"trigger_conditions": []doc{},
		}
	}
	return doc{
		"monitors": doc{"even": monitor(n%2 == 0), "odd": monitor(n%2 == 1)},
		"triggers": doc{"hook": doc{
			"name": "hook", "trigger_type": "webhook",
			"config": doc{
				"url": doc{"type": "plain", "value": c.Receiver.URL + "/" + tenant}, "method": "POST",
				"secret": doc{"type": "plain", "value": "the receiver's secret"}, "payload_mode": "raw", "retry_policy": doc{"max_retries": 0},
			},
		}},
	}
}

const transferABI = `[{"type":"event","name":"Transfer","anonymous":false,"inputs":[
	{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256","indexed":false}]}]`

// told is what answers have told of a tenant's versions.
type told struct {
	mu     sync.Mutex
	number map[uint64]int       // version -> which configuration it has
	effect map[uint64]v1.Effect // version -> from where on it holds
}

// TestLiveConfiguration changes tenants 200 times a second over all nodes while
// blocks come. Each block is judged with exactly one version, the one that the
// answers to the changes named for it, and so says the coverage.
//
// OZMO_CONFIG_SECONDS is how long it goes on, in virtual time.
func TestLiveConfiguration(t *testing.T) {
	seconds := 5
	if text := os.Getenv("OZMO_CONFIG_SECONDS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const (
		tenants = 5
		writers = 2 // of each tenant, of whom one comes before the other
		pause   = tenants * writers * time.Second / 200
	)
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 1})
		c.AwaitBegun()
		names := make([]string, tenants)
		tells := map[string]*told{}
		for i := range names {
			names[i] = fmt.Sprint("live", i)
			tells[names[i]] = &told{number: map[uint64]int{}, effect: map[uint64]v1.Effect{}}
		}
		put := func(m *testcluster.Member, tenant, by string, n int) error {
			out, err := configure(m, tenant, "?create=true", either(c, tenant, by, n))
			if err != nil {
				return err
			}
			if len(out.Effect) != 1 || !out.Changed {
				return fmt.Errorf("%+v", out)
			}
			l := tells[tenant]
			l.mu.Lock()
			defer l.mu.Unlock()
			l.number[out.Version], l.effect[out.Version] = n, out.Effect[0]
			return nil
		}
		for _, tenant := range names {
			if err := put(c.Members()[0], tenant, "", 0); err != nil {
				t.Fatal(err)
			}
		}
		c.Traffic()
		c.Sleep(2 * time.Second)
		began := time.Now()
		changes := 0
		var work sync.WaitGroup
		for w := range tenants * writers {
			work.Go(func() {
				tick := time.NewTicker(pause)
				defer tick.Stop()
				for i := range seconds * int(time.Second/pause) {
					<-tick.C
					n := 2 + 2*i + rand.N(2) // one or the other
					if err := put(c.Members()[(i+w)%3], names[w%tenants], fmt.Sprint(w), n); err != nil {
						t.Errorf("change %d of writer %d: %v", i, w, err)
						return
					}
				}
			})
			changes += seconds * int(time.Second/pause)
		}
		work.Wait()
		took := time.Since(began)
		c.Sleep(3 * time.Second)
		c.StopTraffic()
		c.Rest()
		t.Logf("%d changes in %v", changes, took)

		v := c.View()
		n, _ := v.Network("net")
		tip, _ := n.Branch.Tip()
		offset := tip.Height - (n.Next - 1) // every announcement was of one more block
		for _, tenant := range names {
			checkLive(t, c, v, tenant, tells[tenant], offset)
			out, err := c.Holder("net").Node().Verify(t.Context(), tenant, "net", tip.Height-10, tip.Height-testcluster.Depth, nil)
			if err != nil || len(out.Missing) > 0 || out.Confirmed == 0 {
				t.Errorf("%s: %+v, %v", tenant, out, err)
			}
		}
	})
}

func checkLive(t *testing.T, c *testcluster.Cluster, v *fsm.View, tenant string, l *told, offset uint64) {
	t.Helper()
	got, _ := v.Tenant(tenant)
	runs := got.Coverage["net"]
	for i, r := range runs {
		if i > 0 && runs[i-1].To != r.From {
			t.Errorf("%s: positions %d to %d were judged with none or two versions", tenant, runs[i-1].To, r.From)
		}
		e, ok := l.effect[r.Version]
		if !ok || e.Position != r.From || e.Height != r.From+offset {
			t.Errorf("%s: version %d holds from position %d (height %d) on, its answer said %+v", tenant, r.Version, r.From, r.From+offset, e)
		}
	}
	if int(got.Current.Number) != len(l.number) {
		t.Errorf("%s: version %d after %d changes", tenant, got.Current.Number, len(l.number))
	}
	at := func(position uint64) (uint64, error) {
		for _, r := range runs {
			if r.From <= position && (r.To == 0 || position < r.To) {
				return r.Version, nil
			}
		}
		return 0, errors.New("it is not covered")
	}
	taken := map[string]int{} // alert ids
	for _, d := range c.Receiver.Deliveries() {
		if d.Tenant == tenant {
			taken[d.Alert]++
		}
	}
	alerts, blocks, parities := len(taken), 0, map[int]int{}
	for position := runs[0].From; position+offset <= c.Chain("net").Head().Number; position++ {
		b := c.Chain("net").At(position + offset - testcluster.Depth)
		if len(b.Txs) == 0 {
			continue
		}
		blocks++
		version, err := at(position)
		if err != nil {
			t.Errorf("%s: position %d: %v", tenant, position, err)
			continue
		}
		parity := l.number[version] % 2
		parities[parity]++
		for i, monitor := range []string{"even", "odd"} {
			id := alert.NewID(tenant, monitor, "net", b.Txs[0].Hash.String()).String()
			want := 0
			if parity == i {
				want = 1
			}
			if taken[id] != want {
				t.Errorf("%s: block %d at position %d, version %d (%d): %d alerts of %s, want %d",
					tenant, b.Number, position, version, l.number[version], taken[id], monitor, want)
			}
		}
	}
	if alerts != blocks || parities[0] == 0 || parities[1] == 0 {
		t.Errorf("%s: %d alerts for %d blocks, %v", tenant, alerts, blocks, parities)
	}
	t.Logf("%s: %d versions, %d runs, %d blocks", tenant, got.Current.Number, len(runs), blocks)
}
