package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Calls over the quota wait, first come, first served, and the gate tells since when.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		g := &gate{perMinute: func() float64 { return 12 }, log: slog.New(slog.NewTextHandler(&log, nil))}
		began := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var order []int
		for i := range 6 { // 2 at once, then one every 5 s
			go func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				if err := g.Wait(t.Context(), 1); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				at, order = append(at, time.Since(began).Round(time.Second)), append(order, i)
			}()
		}
		<-time.After(12 * time.Second)
		reason, since := g.held()
		if reason != "rpc-quota" || since.Sub(began) > time.Second {
			t.Errorf("held for %q since %v", reason, since.Sub(began))
		}
		<-time.After(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i, want := range []time.Duration{0, 0, 5, 10, 15, 20} {
			if order[i] != i || at[i] != want*time.Second {
				t.Errorf("%d. was call %d after %v, want %v", i, order[i], at[i], want*time.Second)
			}
		}
		if err := g.Wait(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if reason, _ := g.held(); reason != "" || strings.Count(log.String(), "over its quota") != 1 || !strings.Contains(log.String(), "within its quota") {
			t.Errorf("held for %q; log:\n%s", reason, log.String())
		}
	})
}

// A batch larger than what may be made at once goes in parts; who gives up leaves its
// place; another quota counts soon.
func TestGateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		limit := 6.0
		g := &gate{log: slog.New(slog.DiscardHandler), perMinute: func() float64 {
			mu.Lock()
			defer mu.Unlock()
			return limit
		}}
		began := time.Now()
		if err := g.Wait(t.Context(), 4); err != nil || time.Since(began) != 30*time.Second {
			t.Errorf("4 calls took %v, error %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		began = time.Now()
		done := make(chan time.Duration)
		go func() {
			if err := g.Wait(t.Context(), 100); err != nil {
				t.Error(err)
			}
			done <- time.Since(began)
		}()
		<-time.After(30 * time.Second)
		mu.Lock()
		limit = 0
		mu.Unlock()
		if took := <-done; took > 45*time.Second {
			t.Errorf("took %v after the quota was gone", took)
		}
		if reason, _ := g.held(); reason != "" {
			t.Errorf("held for %q without a quota", reason)
		}
	})
}

// Nodes take parts of a tenant's quota by how many of its networks they watch.
func TestCallsHere(t *testing.T) {
	state := fsm.New()
	index := uint64(0)
	must := func(c fsm.Command) {
		t.Helper()
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if _, err := state.Apply(index, entry); err != nil {
			t.Fatal(err)
		}
	}
	content := []byte("{}")
	must(&fsm.PutBlobs{Blobs: [][]byte{content}})
	m := fsm.Manifest{Wanted: []string{"acme/a", "acme/b", "acme/c"}}
	for _, id := range []string{"a", "b", "c", "d"} {
		m.Docs = append(m.Docs, fsm.Doc{Kind: fsm.DocNetwork, ID: id, Hash: fsm.HashBlob(content)})
	}
	must(&fsm.SetTenantVersion{Tenant: "acme", Source: fsm.SourceAPI, Manifest: m})
	want := func(x, y float64) {
		t.Helper()
		v := state.View()
		if gotX, gotY := callsHere(v, "acme", "x"), callsHere(v, "acme", "y"); gotX != x || gotY != y {
			t.Errorf("parts are %v and %v, want %v and %v", gotX, gotY, x, y)
		}
	}
	want(0, 0)
	must(&fsm.SetQuota{Tenant: "acme", Quota: fsm.Quota{RPCPerMinute: 90}})
	want(90, 90)
	for network, holder := range map[string]string{"acme/a": "x", "acme/b": "x", "acme/c": "y"} {
		must(&fsm.GrantLease{Network: network, Holder: holder, Window: fsm.DefaultWindow})
	}
	want(60, 30)
	if got := callsHere(state.View(), "none", "x"); got != 0 {
		t.Errorf("a tenant that is not there may make %v calls", got)
	}
}
