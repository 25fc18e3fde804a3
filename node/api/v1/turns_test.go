package v1

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// One after the other, and whoever does not wait any longer is in nobody's way.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		var all sync.WaitGroup
		at, most := 0, 0
		var mu sync.Mutex
		for range 20 {
			all.Go(func() {
				release, err := turns.Take(t.Context(), "acme")
				if err != nil {
					t.Error(err)
					return
				}
				defer release()
				mu.Lock()
				at++
				most = max(most, at)
				mu.Unlock()
				<-time.After(time.Second)
				mu.Lock()
				at--
				mu.Unlock()
			})
		}
		release, err := turns.Take(t.Context(), "bolt") // another tenant does not wait
		if err != nil {
			t.Fatal(err)
		}
		release()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		synctest.Wait()
		if _, err := turns.Take(ctx, "acme"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		all.Wait()
		if most != 1 || len(turns.lane) != 0 {
			t.Errorf("%d at a time, %d lanes are left", most, len(turns.lane))
		}
	})
}

// Many changes of one tenant at once all come into force.
func TestChangesAtOnce(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			r.do(key, "PUT", fmt.Sprintf("/v1/tenants/acme/monitors/m%d", i), monitorDoc(fmt.Sprint("m", i), "net", "value > 1", "hook")).want(201)
		})
	}
	all.Wait()
	var p Page[Listed]
	r.do(key, "GET", "/v1/tenants/acme/monitors", "").want(200).decode(&p)
	if len(p.Items) != 41 {
		t.Errorf("%d monitors", len(p.Items))
	}
	for _, m := range p.Items {
		if m.ID != "mon" && m.ID != m.Name {
			t.Errorf("%s is called %s", m.ID, m.Name)
		}
	}
}

// Changes of one tenant over several nodes take turns, and none is checked again. Without
// turns they race, and all come into force too.
func TestChangesThroughSeveralNodes(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("apart=%v", apart), func(t *testing.T) {
			r := newRig(t)
			r.furnish("acme")
			r.apart = apart
			key := r.key("acme", fsm.RoleOwner)
			nodes := []*rig{r, r.elsewhere(), r.elsewhere()}
			var all sync.WaitGroup
			for i := range 30 {
				at := nodes[i%len(nodes)]
				all.Go(func() {
					path := fmt.Sprintf("/v1/tenants/acme/monitors/m%d", i)
					at.do(key, "PUT", path, monitorDoc(fmt.Sprint("m", i), "net", "value > 1", "hook")).want(201)
					at.do(key, "GET", path, "").want(200)
				})
			}
			all.Go(func() {
				r.do(key, "PUT", "/v1/tenants/acme/configuration?mode=merge", `{"triggers":{"more":`+triggerDoc("more", "https://x.example/m")+`}}`).want(200)
			})
			all.Wait()
			var p Page[Listed]
			r.do(key, "GET", "/v1/tenants/acme/monitors", "").want(200).decode(&p)
			if len(p.Items) != 31 {
				t.Errorf("%d monitors", len(p.Items))
			}
			r.do(key, "GET", "/v1/tenants/acme/triggers/more", "").want(200)
			repeated := 0.0
			for _, n := range nodes {
				repeated += testutil.ToFloat64(n.api.metrics.late)
			}
			if !apart && repeated > 0 {
				t.Errorf("%v changes were checked again", repeated)
			}
		})
	}
}

// Without a leader, whoever has waited here lets the next one on.
func TestTurnsEndWithoutALeader(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	put := func() answer {
		return r.do(key, "PUT", "/v1/tenants/acme/triggers/t", triggerDoc("t", "https://x.example/t"))
	}
	r.down = fmt.Errorf("%w: no leader", api.ErrUnavailable)
	put().want(503)
	r.do(key, "DELETE", "/v1/tenants/acme/triggers/hook", "").want(503)
	r.down = nil
	put().want(201)
}

func TestNamesAreBounded(t *testing.T) {
	var n names
	reads := 0
	for i := range maxNames + 10 {
		name, err := n.of(fsm.Hash{byte(i), byte(i >> 8), byte(i >> 16)}, func() (string, error) { reads++; return fmt.Sprint(i), nil })
		if err != nil || name != fmt.Sprint(i) {
			t.Fatal(name, err)
		}
	}
	last := fsm.Hash{byte((maxNames + 9) % 256), byte((maxNames + 9) >> 8), byte((maxNames + 9) >> 16)}
	if _, err := n.of(last, func() (string, error) { return "", errors.New("read again") }); err != nil {
		t.Error(err)
	}
	if len(n.known) > maxNames || reads != maxNames+10 {
		t.Errorf("%d are kept after %d reads", len(n.known), reads)
	}
	if _, err := n.of(fsm.Hash{0xff, 0xff, 0xff, 0xff}, func() (string, error) { return "", errors.New("broken") }); err == nil {
		t.Error("an error is no name")
	}
}
