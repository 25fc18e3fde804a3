package evm_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/vectors"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// deviations are the ways in which ozmo differs on purpose. Each must explain
// the whole difference of a case, or the case fails.
var deviations = []struct {
	reason   string
	explains func(t *testing.T, v *vector, got []vectorMatch) bool
}{
	{
		"the peer guesses Success where it fetched no receipt; ozmo knows the real status",
		func(t *testing.T, v *vector, _ []vectorMatch) bool {
			return v.diff(v.judge(t, true)) == ""
		},
	},
	{
		"the peer has no comparison for this kind of argument and never matches; ozmo compares it",
		func(_ *testing.T, v *vector, got []vectorMatch) bool {
			without := slices.DeleteFunc(slices.Clone(got), func(m vectorMatch) bool { return m.usesGap() })
			return len(without) < len(got) && v.diff(without) == ""
		},
	},
}

// peerKinds are the argument kinds that the peer can compare (expressions,
// section 4).
var peerKinds = regexp.MustCompile(`^(u?int(8|16|32|64|128|256)(\[\])?|number|array|(string|address|bool|bytes|bytes32)(\[\])?|tuple)$`)

// usesGap reports whether a condition that held names an argument of a kind
// that the peer cannot compare.
func (m *vectorMatch) usesGap() bool {
	gap := func(on []match.Condition, args []match.Call) bool {
		for i := range on {
			for _, a := range args[i].Args {
				if on[i].Expression != nil && strings.Contains(*on[i].Expression, a.Name) && !peerKinds.MatchString(a.Kind) {
					return true
				}
			}
		}
		return false
	}
	return gap(m.MatchedOn.Events, m.Args.Events) || gap(m.MatchedOn.Functions, m.Args.Functions)
}

type vector struct {
	Name  string `json:"name"`
	Input struct {
		Network struct {
			Slug string `json:"slug"`
		} `json:"network"`
		Monitors      []json.RawMessage `json:"monitors"`
		ContractSpecs []struct {
			Address string          `json:"address"`
			ABI     json.RawMessage `json:"abi"`
		} `json:"contract_specs"`
		BlockType string          `json:"block_type"`
		Block     json.RawMessage `json:"block"`
		Receipts  json.RawMessage `json:"receipts"`
		Logs      json.RawMessage `json:"logs"`
		Match     *vectorMatch    `json:"match"`
	} `json:"input"`
	Expect struct {
		Error     string            `json:"error"`
		Matches   []vectorMatch     `json:"matches"`
		Variables map[string]string `json:"variables"`
	} `json:"expect"`
}

type vectorMatch struct {
	Monitor     string            `json:"-"`
	RawMonitor  json.RawMessage   `json:"monitor"`
	Transaction json.RawMessage   `json:"transaction"`
	MatchedOn   match.MatchedOn   `json:"matched_on"`
	Args        vectorArgs        `json:"args"`
	Variables   map[string]string `json:"variables"`
}

type vectorArgs struct {
	Functions []match.Call `json:"functions"`
	Events    []match.Call `json:"events"`
}

// TestConformance runs the vectors of area evm.
func TestConformance(t *testing.T) {
	passed, deviated, failed := 0, 0, 0
	for _, c := range vectors.Files(t, "evm") {
		ok := t.Run(c.Name, func(t *testing.T) {
			var v vector
			if err := json.Unmarshal(c.Data, &v); err != nil {
				t.Fatal(err)
			}
			diff, got := v.run(t)
			if diff == "" && !t.Failed() {
				return
			}
			for _, d := range deviations {
				if !t.Failed() && got != nil && d.explains(t, &v, *got) {
					deviated++
					t.Logf("deviates: %s", d.reason)
					return
				}
			}
			t.Errorf("(-want +got):\n%s", diff)
		})
		if ok {
			passed++
		} else {
			failed++
		}
	}
	vectors.Summary("evm", passed-deviated, deviated, failed, "")
}

// run returns the difference between what is expected and what happens, and
// the matches of a block that can be decoded.
func (v *vector) run(t *testing.T) (diff string, got *[]vectorMatch) {
	t.Helper()
	if v.Input.Match != nil {
		return cmp.Diff(v.Expect.Variables, finishedMatch(t, v.Input.Match).Variables()), nil
	}
	if v.Expect.Error == "block_type_mismatch" {
		if _, err := chainevm.DecodeParts(v.Input.Block, nil, nil); err == nil {
			return "another chain's block was accepted", nil
		}
		return "", nil
	}
	matches := v.judge(t, false)
	return v.diff(matches), &matches
}

func (v *vector) diff(got []vectorMatch) string {
	want := slices.Clone(v.Expect.Matches)
	for i := range want {
		want[i].Monitor = strings.Trim(string(want[i].RawMonitor), `"`)
		want[i].RawMonitor = nil
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

// judge filters the block. asPeer hides the receipts that the peer would not
// fetch for a monitor, and counts every transaction without one as successful.
func (v *vector) judge(t *testing.T, asPeer bool) []vectorMatch {
	t.Helper()
	actual, err := chainevm.DecodeParts(v.Input.Block, v.Input.Receipts, v.Input.Logs)
	if err != nil {
		t.Fatal(err)
	}
	guessed := *actual
	guessed.Transactions = slices.Clone(actual.Transactions)
	for i := range guessed.Transactions {
		guessed.Transactions[i].Receipt = &chainevm.Receipt{Status: chainevm.StatusSuccess}
	}
	specs := &evm.ABIs{}
	var out []vectorMatch
	collect := func(hits []evm.Hit) {
		for i := range hits {
			found := hits[i].Match(v.Input.Network.Slug)
			if _, err := found.JSON(); err != nil {
				t.Fatal(err)
			}
			out = append(out, vectorMatch{
				Monitor: found.MonitorName, Transaction: json.RawMessage(fmt.Sprintf("%q", found.Transaction)),
				MatchedOn: found.MatchedOn, Args: vectorArgs{found.Args.Functions, found.Args.Events}, Variables: found.Variables(),
			})
		}
	}
	together := evm.NewIndex()
	v.lend(together, specs)
	for i, raw := range v.Input.Monitors {
		m, problems := spec.ParseMonitor(raw, spec.WithOrigin(spec.OriginState))
		if err := problems.Err(); err != nil {
			t.Fatalf("monitor %d: %v", i, err)
		}
		if !slices.Contains(m.Networks, v.Input.Network.Slug) {
			continue
		}
		compiled, _ := evm.Compile(m, specs)
		key := match.Key{Tenant: "t", Monitor: m.Name}
		if !asPeer {
			together.Add(key, compiled, 0)
			continue
		}
		block := actual
		if !evm.PeerReads(compiled, actual.LogCount) {
			block = &guessed
		}
		alone := evm.NewIndex()
		alone.Add(key, compiled, 0)
		v.lend(alone, specs)
		collect(alone.Match(block, 1))
	}
	collect(together.Match(actual, 1))
	return out
}

// lend makes the contract specs of other monitors known: one that never
// matches holds them.
func (v *vector) lend(x *evm.Index, specs *evm.ABIs) {
	lender := &spec.Monitor{Name: "lender"}
	lender.Match.Events = []spec.Signature{{Signature: "none()"}}
	for _, c := range v.Input.ContractSpecs {
		lender.Addresses = append(lender.Addresses, spec.Address{Address: c.Address, ContractSpec: c.ABI})
	}
	compiled, _ := evm.Compile(lender, specs)
	x.Add(match.Key{Tenant: "t", Monitor: "lender"}, compiled, 0)
}

func finishedMatch(t *testing.T, in *vectorMatch) *match.Match {
	t.Helper()
	var tx struct {
		Hash  string  `json:"hash"`
		From  *string `json:"from"`
		To    *string `json:"to"`
		Value string  `json:"value"`
	}
	if err := json.Unmarshal(in.Transaction, &tx); err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"hash": tx.Hash, "from": tx.From, "to": tx.To, "value": tx.Value, "input": "0x"}
	raw, err := json.Marshal(map[string]any{"transactions": []any{vars}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := chainevm.DecodeParts(raw, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &match.Match{Vars: evm.TransactionVars(&b.Transactions[0]), MatchedOn: in.MatchedOn, Args: match.MatchedOnArgs{Events: in.Args.Events, Functions: in.Args.Functions}}
	if err := json.Unmarshal(in.RawMonitor, &m.MonitorName); err != nil {
		t.Fatal(err)
	}
	return m
}
