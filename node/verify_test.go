package node

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// That an alert was never fired is said only where somebody would know of it.
func TestMissingOrNotProvable(t *testing.T) {
	ref := fsm.BlockRef{Height: 100, Hash: fsm.Hash{1}}
	for name, tc := range map[string]struct {
		tip     uint64
		past    past
		missing bool
	}{
		"all journals were asked":         {500, past{}, true},
		"a journal is lost":               {500, past{gone: 100}, false},
		"a journal of before is lost":     {500, past{gone: 99}, true},
		"a node is silent":                {500, past{silent: []string{"b"}}, false},
		"not final: the ledger has it":    {150, past{gone: 100, silent: []string{"b"}}, true},
		"the first height that is final":  {100 + fsm.DefaultWindow, past{gone: 100}, false},
		"the last height that is not yet": {99 + fsm.DefaultWindow, past{gone: 100}, true},
	} {
		p := tc.past
		p.network = &fsm.Network{Key: "net", Branch: (fsm.Branch{}).Extend(fsm.BlockRef{Height: tc.tip}, 1)}
		c := &verification{past: &p, out: &api.Verification{}}
		expected := map[string]api.Fired{"one": {ID: "one", Block: ref}, "two": {ID: "two", Block: ref}, "three": {ID: "three", Block: ref}}
		c.compare(100, &chain.Block{Ref: ref}, expected, map[string]api.Fired{"three" + ref.Hash.String(): expected["three"]})
		missing, unproved, ranges := 2, 0, 0
		if !tc.missing {
			missing, unproved, ranges = 0, 2, 1
		}
		if len(c.out.Missing) != missing || c.out.Unproved != unproved || len(c.out.Unprovable) != ranges || c.out.Confirmed != 1 || c.out.Proved() {
			t.Errorf("%s: %+v", name, c.out)
		}
	}
}

// An archive of another cluster brings heights that nobody's journal here has.
func TestForeignHeights(t *testing.T) {
	announced := func(heights ...uint64) *fsm.View {
		commands := []fsm.Command{&fsm.RegisterNode{Name: "a", Server: "a@1", Roles: fsm.AllRoles}}
		commands = append(commands, wanting(t, "acme", "net")...)
		commands = append(commands, &fsm.GrantLease{Network: "net", Holder: "a"})
		epoch := uint64(len(commands))
		var parent fsm.Hash
		for _, h := range heights {
			ref := fsm.BlockRef{Height: h, Hash: fsm.Hash{byte(h)}}
			commands = append(commands, &fsm.Announce{Network: "net", Epoch: epoch, Entries: []fsm.Entry{{Kind: fsm.Extend, Ref: ref, Parent: parent}}})
			parent = ref.Hash
		}
		return stateWith(t, commands...).View()
	}
	archive := announced(10, 11, 12)
	for name, tc := range map[string]struct {
		current *fsm.View
		want    map[string]uint64
	}{
		"a new cluster":                        {fsm.New().View(), map[string]uint64{"net": 12}},
		"a cluster that has just begun":        {announced(11), map[string]uint64{"net": 12}},
		"the same cluster":                     {announced(10, 11, 12), map[string]uint64{}},
		"the same cluster, after some more":    {announced(10, 11, 12, 13), map[string]uint64{}},
		"a cluster that has judged other nets": {stateWith(t, wanting(t, "acme", "other")...).View(), map[string]uint64{"net": 12}},
	} {
		if got := foreign(archive, tc.current); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// Of blocks that may have been judged with several versions, each is told in one piece.
func TestHeightsOfSeveralReasons(t *testing.T) {
	var list []api.Heights
	for h := uint64(5); h <= 9; h++ {
		list = addHeight(list, h, "a")
		if h != 7 {
			list = addHeight(list, h, "b")
		}
		list = addHeight(list, h, "a")
	}
	list = addHeight(list, math.MaxUint64, "a")
	want := []api.Heights{
		{From: 5, To: 9, Reason: "a"}, {From: 5, To: 6, Reason: "b"}, {From: 8, To: 9, Reason: "b"}, {From: math.MaxUint64, To: math.MaxUint64, Reason: "a"},
	}
	if !slices.Equal(list, want) {
		t.Errorf("%v, want %v", list, want)
	}
}
