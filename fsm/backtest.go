package fsm

import (
	"fmt"
	"iter"
	"slices"
)

// BacktestState is how far a backtest is.
type BacktestState uint8

// The states. All but the first two are final.
const (
	BacktestQueued    BacktestState = 0
	BacktestRunning   BacktestState = 1
	BacktestDone      BacktestState = 2
	BacktestFailed    BacktestState = 3
	BacktestCancelled BacktestState = 4
)

var backtestStates = []string{"queued", "running", "done", "failed", "cancelled"}

// String is the state's name.
func (s BacktestState) String() string {
	if int(s) >= len(backtestStates) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return backtestStates[s]
}

// Over reports whether nothing more comes of it.
func (s BacktestState) Over() bool { return s != BacktestQueued && s != BacktestRunning }

// Backtest is a job: a monitor is judged over a range of the past, and nothing is
// sent. The range is cut into parts, which nodes judge side by side.
type Backtest struct {
	ID       string   `codec:"i"`
	Tenant   string   `codec:"t"`
	Born     uint64   `codec:"b"`           // that of the tenant, given by the log
	Index    uint64   `codec:"x"`           // log index at which it was put, given by the log
	Monitor  string   `codec:"m,omitempty"` // id of the stored monitor; empty: a draft
	Version  uint64   `codec:"v,omitempty"` // of the tenant's configuration that the monitor is of; 0: a draft
	Name     string   `codec:"n"`           // of the monitor
	Doc      Doc      `codec:"d"`           // the monitor; its content is kept until the job is over
	Watch    Watch    `codec:"w"`           // how it judges the network
	Confirms bool     `codec:"c,omitempty"` // of mode both: each match is told again
	Triggers []string `codec:"g,omitempty"` // of the monitor, in its order
	Filters  int      `codec:"l,omitempty"` // its scripts, which are not run
	From     uint64   `codec:"f"`           // first height
	To       uint64   `codec:"e"`           // last height
	By       string   `codec:"y,omitempty"` // who asked for it
	At       int64    `codec:"a"`           // when, Unix milliseconds

	// What became of it, given by the log.
	State    BacktestState  `codec:"s"`
	Ended    int64          `codec:"z,omitempty"` // Unix milliseconds
	Error    string         `codec:"r,omitempty"` // of one that failed
	Restarts uint32         `codec:"k,omitempty"` // times that a part began anew because the chain was reorganised
	Parts    []BacktestPart `codec:"p"`
}

// BacktestPart is a stretch of a backtest's range. What it has found counts from the
// first of its heights to the one below Next: both are changed together.
type BacktestPart struct {
	From    uint64          `codec:"f"`
	To      uint64          `codec:"t"`
	Next    uint64          `codec:"n"`           // first height that is not judged yet; above To: none is left
	Parent  Hash            `codec:"p,omitempty"` // of the block at From
	Last    Hash            `codec:"l,omitempty"` // of the block below Next
	Node    string          `codec:"w,omitempty"` // that judges it; empty: nobody
	Epoch   uint64          `codec:"e,omitempty"` // log index at which the node was given it
	Counts  BacktestCounts  `codec:"c"`
	Matches []BacktestMatch `codec:"m,omitempty"` // the first of them
	Misses  []BacktestMiss  `codec:"s,omitempty"` // the first of them
}

// Done reports whether all of it is judged.
func (p *BacktestPart) Done() bool { return p.Next > p.To }

// BacktestCounts says what was found, and what it has cost.
type BacktestCounts struct {
	Blocks     uint64 `codec:"b"` // judged
	Fetched    uint64 `codec:"f"` // of those, from the chain; the others were in a cache
	Calls      uint64 `codec:"c"` // to the network's endpoints
	Candidates uint64 `codec:"d"` // transactions that involve an address of the monitor
	Matches    uint64 `codec:"m"`
	Misses     uint64 `codec:"s"` // candidates that do not match
	Micros     uint64 `codec:"u"` // spent judging, in microseconds
}

// Plus is the sum.
func (c BacktestCounts) Plus(o BacktestCounts) BacktestCounts {
	return BacktestCounts{
		Blocks: c.Blocks + o.Blocks, Fetched: c.Fetched + o.Fetched, Calls: c.Calls + o.Calls, Candidates: c.Candidates + o.Candidates,
		Matches: c.Matches + o.Matches, Misses: c.Misses + o.Misses, Micros: c.Micros + o.Micros,
	}
}

// BacktestMatch is a match that a backtest has found.
type BacktestMatch struct {
	Block BlockRef `codec:"b"`
	Tx    string   `codec:"t"`
	On    []string `codec:"o,omitempty"` // the conditions that held, with what they held for
}

// BacktestMiss is a transaction that came near to a match.
type BacktestMiss struct {
	Block     BlockRef         `codec:"b"`
	Tx        string           `codec:"t"`
	Elsewhere bool             `codec:"e,omitempty"` // it involves no address of the monitor, and is no candidate
	Reasons   []BacktestReason `codec:"r"`
}

// BacktestReason is a condition that did not hold.
type BacktestReason struct {
	Path      string   `codec:"p,omitempty"` // of the condition in the document
	Signature string   `codec:"s,omitempty"` // of the event or function met
	Message   string   `codec:"m"`
	Values    []string `codec:"v,omitempty"` // the parts of the expression with the values they were compared with
}

// Bounds of backtests.
const (
	MaxActiveBacktests  = 2       // of a tenant, that are not over
	KeepBacktests       = 20      // of a tenant; of more, the oldest that are over go
	MaxBacktestBlocks   = 100_000 // heights of one, where the tenant's quota says nothing else
	MaxBacktestParts    = 8
	MaxBacktestMatches  = 100       // kept of one
	MaxBacktestMisses   = 20        // kept of one
	MaxBacktestResult   = 128 << 10 // bytes of both; each part has its share
	MaxBacktests        = 64 << 20  // bytes of all, by Backtest.Size: of more, the tenant with the most loses its oldest that is over
	MaxBacktestRestarts = 16        // a chain that is reorganised more often than that is not judged

	backtestPartBlocks = 50  // of the range of a part, at least
	backtestOverhead   = 512 // what a job takes beside its texts
)

const textOverhead = 16 // what a text takes beside itself

func textSize(list ...string) (n int) {
	for _, s := range list {
		n += len(s) + textOverhead
	}
	return n
}

func (m *BacktestMatch) size() int { return 64 + textSize(m.Tx) + textSize(m.On...) }

func (m *BacktestMiss) size() int {
	n := 64 + textSize(m.Tx)
	for _, r := range m.Reasons {
		n += textSize(r.Path, r.Signature, r.Message) + textSize(r.Values...)
	}
	return n
}

func (p *BacktestPart) size() (n int) {
	for i := range p.Matches {
		n += p.Matches[i].size()
	}
	for i := range p.Misses {
		n += p.Misses[i].size()
	}
	return n
}

// Size is what a job counts for, in bytes, without the monitor's document.
func (b *Backtest) Size() int64 {
	n := backtestOverhead + textSize(b.ID, b.Tenant, b.Monitor, b.Name, b.By, b.Error, b.Watch.Network, b.Watch.Slug) + textSize(b.Triggers...)
	for i := range b.Parts {
		n += 128 + b.Parts[i].size()
	}
	return int64(n)
}

// Counts are those of all parts.
func (b *Backtest) Counts() (sum BacktestCounts) {
	for i := range b.Parts {
		sum = sum.Plus(b.Parts[i].Counts)
	}
	return sum
}

// Found lists the matches and near misses that are kept, by height: of the near
// misses, those of candidates first.
func (b *Backtest) Found() (matches []BacktestMatch, misses []BacktestMiss) {
	for i := range b.Parts {
		matches = append(matches, b.Parts[i].Matches...)
		misses = append(misses, b.Parts[i].Misses...)
	}
	slices.SortStableFunc(misses, func(x, y BacktestMiss) int {
		switch {
		case x.Elsewhere == y.Elsewhere:
			return 0
		case y.Elsewhere:
			return -1
		default:
			return 1
		}
	})
	return matches[:min(len(matches), MaxBacktestMatches)], misses[:min(len(misses), MaxBacktestMisses)]
}

// backtestParts cuts a range.
func backtestParts(from, to uint64) []BacktestPart {
	blocks := to - from + 1
	count := min(max(blocks/backtestPartBlocks, 1), MaxBacktestParts)
	out := make([]BacktestPart, count)
	for i := range out {
		next := from + (to-from+1)/(count-uint64(i)) //nolint:gosec // not negative
		out[i] = BacktestPart{From: from, To: next - 1, Next: from}
		from = next
	}
	return out
}

func backtestKey(tenant, id string) string { return join(tenant, id) }

func (b *Backtest) activeKey() string { return be64(b.Index) + backtestKey(b.Tenant, b.ID) }

// Backtest finds a tenant's job. One of an earlier tenant of the name is none.
func (v *View) Backtest(tenant, id string) (*Backtest, bool) {
	b, ok := get(v.backtests, backtestKey(tenant, id))
	if !ok || v.succeeded(tenant, b.Born) {
		return nil, false
	}
	return b, true
}

// BacktestsOf yields a tenant's jobs by id.
func (v *View) BacktestsOf(tenant string) iter.Seq[*Backtest] {
	return func(yield func(*Backtest) bool) {
		for b := range below(v.backtests, join(tenant, "")) {
			if !v.succeeded(tenant, b.Born) && !yield(b) {
				return
			}
		}
	}
}

// ActiveBacktests yields the jobs that are not over, the oldest first.
func (v *View) ActiveBacktests() iter.Seq[*Backtest] { return values(v.activeTests) }

// BacktestBytes is the size of all jobs; see MaxBacktests.
func (v *View) BacktestBytes() int64 { return v.backtestBytes }
