package node

import (
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// What is known of a delivery, by what there is to know it from.
func TestWhatIsKnownOfADelivery(t *testing.T) {
	block := fsm.BlockRef{Height: 100, Hash: fsm.Hash{1}}
	a := &alert.Alert{ID: alert.NewID("acme", "m", "net", "0xab"), Tenant: "acme", MonitorID: "m", Network: "net", Block: block, Tx: "0xab", State: alert.Fired}
	ds := alert.Deliveries(a, []string{"ops", "ops"})
	inJournal := func(ref fsm.BlockRef, list ...journal.Delivery) map[uint64][]told {
		return map[uint64][]told{100: {{Fired: api.Fired{ID: a.ID.String(), Block: ref}, States: [][]journal.Delivery{list}}}}
	}
	sent := journal.Delivery{Key: "of another state", Trigger: "ops", Outcome: "sent"}
	then := func(tx string, triggers ...string) []foundBefore {
		return []foundBefore{{version: 3, found: []worker.Found{{Transaction: tx, Triggers: triggers}}}}
	}
	for _, tc := range []struct {
		name       string
		tip        uint64
		occurrence int
		past       past
		judged     judgedBefore
		done       []fsm.Span
		want       api.Before
	}{
		{"nothing is known, and nothing is lost", 500, 0, past{}, judgedBefore{}, nil, api.BeforeNo},
		{"replayed", 500, 0, past{}, judgedBefore{lost: true}, []fsm.Span{{From: 90, To: 100}}, api.BeforeYes},
		{"replayed elsewhere", 500, 0, past{}, judgedBefore{}, []fsm.Span{{From: 90, To: 99}, {From: 101, To: 101}}, api.BeforeNo},
		{"a journal has it", 500, 0, past{told: inJournal(block, sent)}, judgedBefore{lost: true}, nil, api.BeforeYes},
		{"a journal has one of two", 500, 1, past{told: inJournal(block, sent)}, judgedBefore{}, nil, api.BeforeNo},
		{"a journal has both", 500, 1, past{told: inJournal(block, sent, sent)}, judgedBefore{}, nil, api.BeforeYes},
		{"a journal has two states of one", 500, 1, past{told: map[uint64][]told{100: {{
			Fired: api.Fired{ID: a.ID.String(), Block: block}, States: [][]journal.Delivery{{sent}, {sent}},
		}}}}, judgedBefore{}, nil, api.BeforeNo},
		{"a journal has the key", 500, 1, past{told: inJournal(block, journal.Delivery{Key: ds[1].Key.String(), Trigger: "renamed"})}, judgedBefore{}, nil, api.BeforeYes},
		{"a journal has another block", 500, 0, past{told: inJournal(fsm.BlockRef{Height: 100, Hash: fsm.Hash{2}}, sent)}, judgedBefore{}, nil, api.BeforeNo},
		{"about to be judged", 500, 0, past{}, judgedBefore{pending: true}, nil, api.BeforePending},
		{"an older version fires it", 500, 0, past{}, judgedBefore{found: then("0xab", "ops")}, nil, api.BeforeYes},
		{"an older version fires it once", 500, 1, past{}, judgedBefore{found: then("0xab", "ops")}, nil, api.BeforeNo},
		{"an older version fires it elsewhere", 500, 0, past{}, judgedBefore{found: then("0xab", "chat")}, nil, api.BeforeNo},
		{"an older version fires another", 500, 0, past{}, judgedBefore{found: then("0xcd", "ops")}, nil, api.BeforeNo},
		{"lost, and no journal has it", 500, 0, past{}, judgedBefore{lost: true}, nil, api.BeforeNo},
		{"lost, and a node is silent", 500, 0, past{silent: []string{"b"}}, judgedBefore{lost: true}, nil, api.BeforeUnknown},
		{"lost, and a journal has forgotten", 500, 0, past{gone: 100}, judgedBefore{lost: true}, nil, api.BeforeUnknown},
		{"lost, and a journal has forgotten what was before", 500, 0, past{gone: 99}, judgedBefore{lost: true}, nil, api.BeforeNo},
		{"not lost, whatever journals have", 500, 0, past{gone: 100, silent: []string{"b"}}, judgedBefore{}, nil, api.BeforeNo},
		{"not final: the ledger decides", 150, 0, past{gone: 100, silent: []string{"b"}}, judgedBefore{lost: true}, nil, api.BeforeNo},
	} {
		t.Run(tc.name, func(t *testing.T) {
			net := &fsm.Network{Key: "net", Next: 1, Branch: fsm.Branch{}.Extend(fsm.BlockRef{Height: tc.tip}, fsm.KeepRefs)}
			p := tc.past
			p.view, p.tenant, p.network = fsm.New().View(), &fsm.Tenant{}, net
			k := knowledge{
				replay: &replay{past: &p, what: &replaying{network: net}, done: tc.done}, height: 100,
				block: &chain.Block{Ref: block}, judged: &tc.judged,
			}
			got, how, err := k.of(a, &ds[tc.occurrence], tc.occurrence)
			if err != nil || got != tc.want || how == "" {
				t.Errorf("%s (%s), %v, want %s", got, how, err, tc.want)
			}
		})
	}
}

func TestSuggestions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		known []string
		want  string
	}{
		{"transfer", []string{"swaps", "transfers"}, `; did you mean "transfers"?`},
		{"Transfers", []string{"transfers"}, `; did you mean "transfers"?`},
		{"x", []string{"swaps", "transfers"}, "; there is swaps, transfers"},
		{"x", nil, ""},
		{"nothing like it", []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, ""},
	} {
		if got := meant(tc.name, tc.known); got != tc.want {
			t.Errorf("%q among %v: %q, want %q", tc.name, tc.known, got, tc.want)
		}
	}
}

// A command of a replay takes whole heights, as many as fit, and at least one.
func TestChunksAreCutBetweenHeights(t *testing.T) {
	random := make([]byte, 60<<10)
	state := uint32(1)
	for i := range random { // nothing that could be compressed
		state = state*1664525 + 1013904223
		random[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[state>>26]
	}
	var c chunk
	for h := range uint64(5) {
		ref := fsm.BlockRef{Height: h}
		var list []chunkMatch
		for i := range h % 4 { // 0, 1, 2, 3, 0 matches
			a := &alert.Alert{
				ID: alert.ID{byte(h), byte(i), 1}, Tenant: "t", Block: ref, State: alert.Fired,
				Variables: map[string]string{"x": string(random[i*100:])},
			}
			list = append(list, chunkMatch{alert: a, report: api.ReplayMatch{Height: h}, send: alert.Deliveries(a, []string{"ops"})})
		}
		c.add(ref, list)
	}
	rest := c.matches
	var heights, entries []int
	for refs := c.refs; len(refs) > 0; {
		p, n, err := cutChunk(refs, &rest)
		if err != nil || n == 0 {
			t.Fatalf("%d heights, %v", n, err)
		}
		heights, entries = append(heights, n), append(entries, len(p.out))
		refs = refs[n:]
	}
	if len(rest) != 0 || len(heights) < 2 {
		t.Errorf("%d matches are left; heights %v", len(rest), heights)
	}
	total, all := 0, 0
	for i := range heights {
		total, all = total+heights[i], all+entries[i]
	}
	if total != 5 || all != 6 {
		t.Errorf("heights %v, entries %v", heights, entries)
	}
}
