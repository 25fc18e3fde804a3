package worker

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func TestEveryBlockOnceAtItsDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 3)
		mine := networkDoc("mine", 1)
		mine.Watch = "net"
		r.setTenant("acme", simple())
		r.setTenant("beta", tenantDoc{
			networks: map[string]*spec.Network{"mine": mine},
			monitors: map[string]watching{"near": {networks: []string{"mine"}, address: 1, triggers: []string{"hook", "hook"}}},
			hooks:    []string{"hook"},
		})
		p := r.start(-1)
		synctest.Wait()
		r.extend("net", 40) // many at a time: in batches
		r.drained("net")
		for range 5 { // one at a time: at the tip
			r.extend("net", 1)
			synctest.Wait()
		}
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 141)...)
		var twice []uint64
		for _, h := range span(100, 143) {
			twice = append(twice, h, h)
		}
		r.wantHeights("beta", "near", twice...) // its trigger is listed twice
		if got := r.repeated(); got != nil {
			t.Errorf("keys sent twice: %v", got)
		}
		branch := r.chain("net").branch
		for _, s := range r.deliveries() {
			depth := uint64(3)
			if s.Tenant == "beta" {
				depth = 1
			}
			if want := s.Block.Height - 99 + depth; s.Position != want || s.Version != 1 {
				t.Errorf("block %d for %s at position %d, version %d; want %d, 1", s.Block.Height, s.Tenant, s.Position, s.Version, want)
			}
			if s.Block != branch[s.Block.Height-100] {
				t.Errorf("block %v is not the one announced", s.Block)
			}
		}
		first := branch[0]
		for occurrence := range 2 {
			want := keyOf("beta", "near", "net", "hook", occurrence, first, 1)
			if !slices.ContainsFunc(r.deliveries(), func(s sent) bool { return s.Key == want }) {
				t.Errorf("no delivery with the key of occurrence %d", occurrence)
			}
		}
		if len(r.alerts()) != 42+44 {
			t.Errorf("%d alerts recorded, want %d", len(r.alerts()), 42+44)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestVersionInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 5) // positions 1-5: version 1
		changed := simple()
		changed.monitors["m"] = watching{networks: []string{"net"}, address: 1, triggers: []string{"other"}}
		changed.hooks = []string{"other"}
		r.setTenant("acme", changed)
		r.extend("net", 5) // 6-10: version 2
		paused := simple()
		paused.monitors["m"] = watching{networks: []string{"net"}, paused: true, triggers: []string{"hook"}}
		paused.monitors["keeps"] = watching{networks: []string{"net"}, address: 2, triggers: []string{"hook"}}
		r.setTenant("acme", paused)
		r.extend("net", 5) // 11-15: version 3
		p := r.start(-1)   // all of it is still to be judged
		r.drained("net")
		defer p.stop() //nolint:errcheck // asserted elsewhere
		for _, s := range r.deliveries() {
			wantVersion := (s.Position-1)/5 + 1
			wantTrigger := map[uint64]string{1: "hook", 2: "other", 3: "hook"}[wantVersion]
			if s.Version != wantVersion || s.Trigger != wantTrigger || s.Block.Height != 98+s.Position {
				t.Errorf("position %d: version %d, trigger %s, block %d; want %d, %s, %d",
					s.Position, s.Version, s.Trigger, s.Block.Height, wantVersion, wantTrigger, 98+s.Position)
			}
		}
		r.wantHeights("acme", "m", span(100, 108)...)
		r.wantHeights("acme", "keeps", span(109, 113)...)
	})
}

func TestTenantsComeAndGoWhileBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("keeper", simple("net", "other"))
		both := func() {
			r.extend("net", 4)
			r.extend("other", 4)
		}
		both() // 100-103
		r.setTenant("acme", simple())
		r.setTenant("gone", simple())
		both() // 104-107
		r.setTenant("acme", simple("other"))
		both() // 108-111
		r.deleteTenant("gone")
		both() // 112-115
		p := r.start(-1)
		r.drained("net", "other")
		defer p.stop() //nolint:errcheck // asserted elsewhere
		var twice []uint64
		for _, h := range span(100, 114) {
			twice = append(twice, h, h)
		}
		r.wantHeights("keeper", "m", twice...)
		// From position 5 on "net", which makes block 103 due, to 8; from 9 on "other".
		r.wantHeights("acme", "m", span(103, 114)...)
		r.wantHeights("gone", "m") // nobody is left to tell
	})
}

func TestDepthChanges(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to uint64
		moved    bool // by the tenant's own network document
	}{
		{"shared lowered", 6, 1, false},
		{"shared raised", 1, 6, false},
		{"own lowered", 9, 2, true},
		{"own raised", 2, 9, true},
	} {
		for _, behind := range []bool{false, true} {
			name := tc.name
			if behind {
				name += " while behind"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					set := func(depth uint64) {
						if !tc.moved {
							r.setShared("net", depth)
							return
						}
						mine := networkDoc("mine", depth)
						mine.Watch = "net"
						d := simple("mine")
						d.networks = map[string]*spec.Network{"mine": mine}
						r.setTenant("acme", d)
					}
					if tc.moved {
						r.setShared("net", 4)
						set(tc.from)
					} else {
						set(tc.from)
						r.setTenant("acme", simple())
					}
					p := r.start(-1)
					synctest.Wait()
					if behind {
						first := r.nextBlock("net")
						r.hide(first.Ref.Hash) // holds the worker back
						r.announce("net", first)
						r.extend("net", 19)
					} else {
						r.extend("net", 20)
						r.drained("net")
					}
					set(tc.to)
					r.extend("net", 20)
					r.found()
					r.drained("net")
					r.wantHeights("acme", "m", span(100, 139-tc.to)...)
					if got := r.repeated(); got != nil {
						t.Errorf("keys sent twice: %v", got)
					}
					if err := p.stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestDepthIsLoweredBeforeARestart(t *testing.T) {
	for _, announced := range []bool{false, true} {
		for _, own := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				set := func(depth uint64) {
					if !own {
						r.setShared("net", depth)
						return
					}
					mine := networkDoc("mine", depth)
					mine.Watch = "net"
					d := simple("mine")
					d.networks = map[string]*spec.Network{"mine": mine}
					r.setTenant("acme", d)
				}
				r.setShared("net", 6)
				r.setTenant("acme", simple())
				set(6)
				p := r.start(-1)
				r.extend("net", 20)
				r.drained("net")
				r.wantHeights("acme", "m", span(100, 113)...)
				if err := p.stop(); err != nil {
					t.Error(err)
				}
				set(1)
				if announced {
					r.extend("net", 2)
				}
				p = r.start(-1)
				synctest.Wait()
				if !announced {
					r.extend("net", 2)
				}
				r.drained("net")
				r.wantHeights("acme", "m", span(100, 120)...)
				if got := r.repeated(); got != nil {
					t.Errorf("keys sent twice: %v", got)
				}
				if err := p.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func mustTenant(t testing.TB, v *fsm.View, id string) *fsm.Tenant {
	t.Helper()
	tenant, ok := v.Tenant(id)
	if !ok {
		t.Fatalf("no tenant %q", id)
	}
	return tenant
}

func TestUnusedDepthIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 4)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 10)
		r.drained("net")
		r.setShared("net", 1)
		r.extend("net", 1)
		r.drained("net")
		r.locked(func() { clear(r.asked) })
		r.extend("net", 5)
		r.drained("net")
		r.locked(func() {
			for hash, n := range r.asked {
				if n != 1 {
					t.Errorf("block %s was fetched %d times, want once", hash.Short(), n)
				}
			}
			if len(r.asked) != 5 {
				t.Errorf("%d blocks were fetched, want 5", len(r.asked))
			}
		})
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRejudge(t *testing.T) {
	r := newRig(t)
	r.setShared("net", 3)
	d := simple()
	d.monitors["other address"] = watching{networks: []string{"net"}, address: 9, triggers: []string{"hook"}}
	r.setTenant("acme", d)
	v := r.state.View()
	version := mustTenant(t, v, "acme").Current
	ref := fsm.BlockRef{Height: 5, Hash: fsm.Hash{5}}
	j, err := NewRejudge(v, "acme", version, "net", 3, 64, 3)
	if err != nil {
		t.Fatal(err)
	}
	found, err := j.Judge(payloadOf(ref))
	if err != nil || len(found) != 1 || found[0].Monitor != "m" || found[0].MonitorName != "m" || found[0].Transaction != txHash(ref.Hash, 0).String() {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := j.Judge([]byte("{")); err == nil {
		t.Error("a broken block was judged")
	}
	if j, err = NewRejudge(v, "acme", version, "net", 3, 64, 2); err != nil {
		t.Fatal(err)
	}
	if found, err := j.Judge(payloadOf(ref)); err != nil || len(found) != 0 {
		t.Errorf("at another depth: found %+v, %v", found, err)
	}
	if _, err := NewRejudge(v, "acme", version, "unknown", 3, 64, 2); !errors.Is(err, fsm.ErrNotFound) {
		t.Errorf("unknown network: %v, want ErrNotFound", err)
	}
}
