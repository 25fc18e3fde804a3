package node

import (
	"fmt"
	"strings"
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
	handed := journal.Delivery{Key: "handed over", Trigger: "ops", Outcome: "outbox"}
	dead := journal.Delivery{Key: "given up", Trigger: "ops", Outcome: "dead"}
	accepted := map[string]bool{"handed over": true, "given up": true}
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
		{"a journal has the key", 500, 1, past{told: inJournal(block, journal.Delivery{Key: ds[1].Key.String(), Trigger: "renamed", Outcome: "sent"})}, judgedBefore{}, nil, api.BeforeYes},
		{"handed over, and nobody knows more", 500, 0, past{told: inJournal(block, handed)}, judgedBefore{}, nil, api.BeforeUnknown},
		{"handed over, and replayed before that", 500, 0, past{told: inJournal(block, handed)}, judgedBefore{}, []fsm.Span{{From: 100, To: 100}}, api.BeforeUnknown},
		{"handed over, and an older version fires it", 500, 0, past{told: inJournal(block, handed)}, judgedBefore{found: then("0xab", "ops")}, nil, api.BeforeUnknown},
		{"handed over, and accepted", 500, 0, past{told: inJournal(block, handed), accepted: accepted}, judgedBefore{}, nil, api.BeforeYes},
		{"another is handed over", 500, 1, past{told: inJournal(block, handed)}, judgedBefore{}, nil, api.BeforeNo},
		{"given up, and nobody knows more", 500, 0, past{told: inJournal(block, dead)}, judgedBefore{}, nil, api.BeforeUnknown},
		{"given up, and accepted after all", 500, 0, past{told: inJournal(block, dead), accepted: accepted}, judgedBefore{}, nil, api.BeforeYes},
		{"one state is lost, another was sent", 500, 0, past{told: map[uint64][]told{100: {{
			Fired: api.Fired{ID: a.ID.String(), Block: block}, States: [][]journal.Delivery{{handed}, {sent}},
		}}}}, judgedBefore{}, nil, api.BeforeYes},
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

// A command of a replay has as many heights as fit, or a part of one that is too
// large; nothing is left out, and a height is noted with the last of it.
func TestCutChunk(t *testing.T) {
	for name, tc := range map[string]struct {
		heights [][]int // of each height, its matches' sizes in KiB
		want    string  // of each command: matches, and the heights done with it
	}{
		"none":               {[][]int{{}, {}}, "0:2"},
		"small":              {[][]int{{1, 2}, {}, {3}}, "3:3"},
		"over":               {[][]int{{60, 60}, {60}, {}}, "2:1 1:2"},
		"one a height":       {[][]int{{200}, {200}}, "1:1 1:1"},
		"whole, if it fits":  {[][]int{{400, 400}, {1}}, "2:1 1:1"},
		"larger":             {[][]int{{1}, {600, 600, 600}, {1}}, "1:1 1:0 1:0 1:1 1:1"},
		"after nothing":      {[][]int{{}, {600, 600}}, "1:1 1:1"},
		"one match too many": {[][]int{{2000, 2000}}, "1:0 1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cutSizes(tc.heights); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// cutSizes cuts a chunk of which the sizes of matches are given, in KiB.
func cutSizes(heights [][]int) string {
	var c chunk
	for i, sizes := range heights {
		ref := fsm.BlockRef{Height: uint64(i)}
		c.refs = append(c.refs, ref)
		for _, size := range sizes {
			c.matches = append(c.matches, chunkMatch{report: api.ReplayMatch{Height: ref.Height}, bytes: size << 10})
		}
	}
	var out []string
	for len(c.refs) > 0 {
		p := c.cut()
		out = append(out, fmt.Sprintf("%d:%d", len(p.matches), len(p.done)))
	}
	return strings.Join(out, " ")
}
