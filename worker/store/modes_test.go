package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Each mode says at which depths its monitors judge; both does so twice.
func TestModes(t *testing.T) {
	f := folder()
	var template *spec.Monitor
	for name, m := range f.Monitors {
		if name == "same contract" {
			template = m
		}
	}
	f.Monitors = map[string]*spec.Monitor{}
	for name, mode := range map[string]string{
		"plain": "", "instant": spec.ModeInstant, "confirmed": spec.ModeConfirmed, "finalized": spec.ModeFinalized, "both": spec.ModeBoth,
	} {
		m := *template
		m.Name, m.Mode = name, mode
		f.Monitors[name] = &m
	}
	p := pack(t, f)
	for id, want := range map[string]struct {
		watches string
		depths  []uint64 // on mainnet, which has depth 12 and is final after 64
	}{
		"plain":     {"[{mainnet mainnet 0 } {acme/anvil anvil 4 }]", []uint64{12}},
		"instant":   {"[{mainnet mainnet 0 instant} {acme/anvil anvil 4 instant}]", []uint64{0}},
		"confirmed": {"[{mainnet mainnet 0 confirmed} {acme/anvil anvil 4 confirmed}]", []uint64{12}},
		"finalized": {"[{mainnet mainnet 0 finalized} {acme/anvil anvil 4 finalized}]", []uint64{64}},
		"both": {
			"[{mainnet mainnet 0 instant} {mainnet mainnet 0 confirmation} {acme/anvil anvil 4 instant} {acme/anvil anvil 4 confirmation}]",
			[]uint64{0, 12},
		},
	} {
		d, ok := p.Manifest.Find(fsm.DocMonitor, id)
		if got := fmt.Sprint(d.Watches); !ok || got != want.watches {
			t.Errorf("%s watches %s, want %s", id, got, want.watches)
		}
		alone := fsm.Version{Manifest: &fsm.Manifest{Docs: []fsm.Doc{d}}}
		if got := store.DepthsOn(alone, "mainnet", 12, 64); !slices.Equal(got, want.depths) {
			t.Errorf("%s judges at %v, want %v", id, got, want.depths)
		}
	}
	all := fsm.Version{Manifest: &p.Manifest}
	if got := store.DepthsOn(all, "acme/anvil", 4, 64); !slices.Equal(got, []uint64{0, 4, 64}) {
		t.Errorf("depths %v", got)
	}
	if got := fmt.Sprint(p.Manifest.Wanted); got != "[acme/anvil mainnet]" {
		t.Errorf("wanted %s", got)
	}
}
