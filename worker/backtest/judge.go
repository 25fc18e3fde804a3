package backtest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// verdict is what a block gave.
type verdict struct {
	ref        fsm.BlockRef
	parent     fsm.Hash
	candidates uint64
	count      uint64 // of matches
	matches    []fsm.BacktestMatch
	misses     []fsm.BacktestMiss
}

// room says how many matches and near misses are worth describing.
type room struct{ matches, misses int }

// judge finds what one monitor matches in the blocks of one kind of chain. It serves
// one goroutine.
type judge interface {
	judge(payload []byte, r room) (*verdict, error)
}

// newJudge compiles the monitor of a job, for what is left of a part.
func newJudge(v *fsm.View, b *fsm.Backtest, p *fsm.BacktestPart) (judge, error) {
	n, _, err := store.FindNetwork(v, b.Watch.Network)
	if err != nil {
		return nil, err
	}
	m, err := store.Monitor(v, b.Doc)
	if err != nil {
		return nil, err
	}
	m.Paused = false // whoever asks for a paused one wants it judged all the same
	switch n.Type {
	case spec.EVM:
		return newEVM(m, b.Watch.Slug, p), nil
	default:
		return nil, fmt.Errorf("%w: %s", match.ErrUnknownChain, n.Type)
	}
}

type evmJudge struct {
	slug    string
	index   *evm.Index
	explain *evm.Explainer
	failed  error
	seen    bool // a candidate, in the part
	strange int  // near misses elsewhere, in the part
}

func newEVM(m *spec.Monitor, slug string, p *fsm.BacktestPart) *evmJudge {
	j := &evmJudge{slug: slug, seen: p.Counts.Candidates > 0}
	for i := range p.Misses {
		if p.Misses[i].Elsewhere {
			j.strange++
		}
	}
	compiled, _ := evm.Compile(m, &evm.ABIs{}) // its problems were told when the job was made
	j.index = evm.NewIndex(evm.Options{OnPanic: func(_ match.Key, value any) { j.failed = fmt.Errorf("panic while judging: %v", value) }})
	j.index.Add(match.Key{Monitor: m.Name}, compiled, 0)
	j.explain = evm.NewExplainer(compiled)
	return j
}

// maxElsewhere bounds the near misses at addresses that are not the monitor's. They
// are told while nothing else is.
const maxElsewhere = 5

func (j *evmJudge) judge(payload []byte, r room) (out *verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while judging: %v", p)
		}
	}()
	b, err := chainevm.Decode(payload)
	if err != nil {
		return nil, err
	}
	hits := j.index.Match(b, 0)
	if j.failed != nil {
		return nil, j.failed
	}
	out = &verdict{ref: b.Ref(), parent: b.ParentHash, candidates: uint64(j.explain.Candidates(b)), count: uint64(len(hits))} //nolint:gosec // not negative
	out.candidates = max(out.candidates, out.count)                                                                           // a monitor without addresses has them all
	matched := make(map[int]bool, len(hits))
	for i := range hits {
		matched[hits[i].Tx] = true
		if i < r.matches {
			m := hits[i].Match(j.slug)
			out.matches = append(out.matches, fsm.BacktestMatch{Block: out.ref, Tx: m.Transaction, On: held(m)})
		}
	}
	j.seen = j.seen || out.candidates > 0
	if r.misses > 0 && (out.candidates > out.count || !j.seen && j.strange < maxElsewhere) {
		out.misses = j.nearMisses(b, out.ref, matched, r.misses)
	}
	return out, nil
}

func (j *evmJudge) nearMisses(b *chainevm.Block, ref fsm.BlockRef, matched map[int]bool, most int) (out []fsm.BacktestMiss) {
	for _, m := range j.explain.Explain(b, matched) {
		if m.Elsewhere && (j.seen || j.strange == maxElsewhere) {
			continue
		}
		if len(out) == most {
			break
		}
		if m.Elsewhere {
			j.strange++
		}
		miss := fsm.BacktestMiss{Block: ref, Tx: m.Transaction.String(), Elsewhere: m.Elsewhere}
		for _, r := range m.Reasons[:min(len(m.Reasons), maxReasons)] {
			miss.Reasons = append(miss.Reasons, reasonOf(&r))
		}
		out = append(out, miss)
	}
	return out
}

// What is said of one match or near miss is cut off, as bytes and as entries.
const (
	maxText    = 400
	maxOn      = 5
	maxReasons = 5
	maxValues  = 8
)

// clip cuts a text off, and makes one of what strangers have written.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	n := maxText - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// held says which conditions held, and for what.
func held(m *match.Match) []string {
	var out []string
	add := func(on []match.Condition, calls []match.Call) {
		for i, c := range on {
			text := c.Signature
			if i < len(calls) {
				text += arguments(calls[i].Args)
			}
			out = append(out, clip(text))
		}
	}
	add(m.MatchedOn.Events, m.Args.Events)
	add(m.MatchedOn.Functions, m.Args.Functions)
	for _, t := range m.MatchedOn.Transactions {
		text := "transaction " + t.Status
		if t.Expression != nil {
			text += ": " + *t.Expression
		}
		out = append(out, clip(text))
	}
	if len(out) == 0 {
		out = append(out, "address")
	}
	return out[:min(len(out), maxOn)]
}

func arguments(args []match.Arg) string {
	var list []string
	for i, a := range args {
		name := a.Name
		if name == "" {
			name = "#" + strconv.Itoa(i)
		}
		list = append(list, name+" = "+a.Value)
	}
	if len(list) == 0 {
		return ""
	}
	return ": " + strings.Join(list, ", ")
}

func reasonOf(r *evm.Reason) fsm.BacktestReason {
	out := fsm.BacktestReason{Path: r.Path, Signature: clip(r.Signature), Message: clip(r.Message)}
	for _, s := range r.Steps[:min(len(r.Steps), maxValues)] {
		out.Values = append(out.Values, clip(stepText(&s)))
	}
	return out
}

func stepText(s *expr.Step) string {
	switch {
	case !s.Evaluated:
		return s.Condition + ": not reached"
	case s.Err != nil:
		why := s.Err.Error()
		if e, ok := errors.AsType[*expr.Error](s.Err); ok {
			why = e.Message
		}
		return s.Condition + ": cannot be evaluated: " + why
	case s.Holds:
		return s.Condition + ": holds, the value is " + s.Left
	default:
		return s.Condition + ": does not hold, the value is " + s.Left
	}
}
