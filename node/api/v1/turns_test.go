package v1

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// One after the other, and whoever does not wait any longer is in nobody's way.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		var all sync.WaitGroup
		at, most := 0, 0
		var mu sync.Mutex
		for range 20 {
			all.Go(func() {
				release, err := turns.take(t.Context(), "acme")
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
		release, err := turns.take(t.Context(), "bolt") // another tenant does not wait
		if err != nil {
			t.Fatal(err)
		}
		release()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		synctest.Wait()
		if _, err := turns.take(ctx, "acme"); !errors.Is(err, context.DeadlineExceeded) {
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
