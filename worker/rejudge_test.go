package worker

import (
	"slices"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A monitor of mode both judges at two depths, in two phases; where these are one
// depth, it finds each match once.
func TestRejudgeInPhases(t *testing.T) {
	r := newRig(t)
	r.setShared("net", 3)
	r.setTenant("acme", simple())
	v := r.state.View()
	version := mustTenant(t, v, "acme").Current
	manifest := fsm.Manifest{Docs: slices.Clone(version.Manifest.Docs)}
	for i, d := range manifest.Docs {
		if d.Kind != fsm.DocMonitor {
			continue
		}
		w := d.Watches[0]
		w.Mode = fsm.ModeInstant
		second := w
		second.Mode = fsm.ModeConfirmation
		manifest.Docs[i].Watches = []fsm.Watch{w, second}
	}
	version.Manifest = &manifest
	block := payloadOf(fsm.BlockRef{Height: 5, Hash: fsm.Hash{5}})
	first, second := Phase{Monitor: "m"}, Phase{Monitor: "m", Confirms: true}
	for _, tc := range []struct {
		own, depth uint64
		phases     []Phase
	}{
		{3, 0, []Phase{first}},
		{3, 3, []Phase{second}},
		{3, 64, nil},
		{0, 0, []Phase{first, second}},
	} {
		j, err := NewRejudge(v, "acme", version, "net", tc.own, 64, tc.depth)
		if err != nil {
			t.Fatal(err)
		}
		if got := j.Phases(); !slices.Equal(got, tc.phases) {
			t.Errorf("own depth %d, judged at %d: phases %v, want %v", tc.own, tc.depth, got, tc.phases)
		}
		found, err := j.Judge(block)
		if want := min(1, len(tc.phases)); err != nil || len(found) != want {
			t.Errorf("own depth %d, judged at %d: found %+v, %v, want %d", tc.own, tc.depth, found, err, want)
		}
	}
}
