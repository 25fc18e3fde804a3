package v1

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Backtest is a job: a monitor is judged over a range of the past, and nothing is
// sent.
type Backtest struct {
	ID      string    `json:"id"`
	State   string    `json:"state" enum:"queued,running,done,failed,cancelled" doc:"The last three are final."`
	Error   string    `json:"error,omitempty" doc:"Why it failed."`
	Monitor string    `json:"monitor,omitempty" doc:"Id of the stored monitor; absent: a draft."`
	Version uint64    `json:"version,omitempty" doc:"Of the tenant's configuration that the stored monitor is of."`
	Name    string    `json:"name" doc:"Of the monitor."`
	Network string    `json:"network" doc:"As the monitor calls it."`
	From    uint64    `json:"from" doc:"First height."`
	To      uint64    `json:"to" doc:"Last height."`
	Created time.Time `json:"created"`
	By      string    `json:"created_by"`
	Ended   time.Time `json:"ended,omitzero"`

	Progress      BacktestProgress      `json:"progress"`
	Counts        BacktestCounts        `json:"counts" doc:"Of the blocks that are judged so far."`
	Notifications BacktestNotifications `json:"notifications" doc:"That would have been sent for the matches so far."`
	Cost          BacktestCost          `json:"cost" doc:"So far."`
}

// BacktestProgress says how far a backtest is, in blocks.
type BacktestProgress struct {
	Done     uint64 `json:"done"`
	Total    uint64 `json:"total"`
	Restarts uint32 `json:"restarts,omitempty" doc:"Times that a part of the range began anew because the chain was reorganised."`
}

// BacktestCounts says how much was found.
type BacktestCounts struct {
	Candidates uint64 `json:"candidates" doc:"Transactions that involve an address of the monitor."`
	Matches    uint64 `json:"matches"`
	NearMisses uint64 `json:"near_misses" doc:"Candidates that do not match."`
}

// BacktestNotifications estimates what would have been sent.
type BacktestNotifications struct {
	Total     uint64                 `json:"total"`
	ByTrigger []BacktestTriggerCount `json:"by_trigger" nullable:"false"`
	Filters   int                    `json:"filters,omitempty" doc:"Scripts of the monitor that may drop matches. They are not run: the total is an upper bound."`
}

// BacktestTriggerCount is what one trigger would have sent.
type BacktestTriggerCount struct {
	Trigger string `json:"trigger"`
	Count   uint64 `json:"count"`
}

// BacktestCost is what a backtest has taken.
type BacktestCost struct {
	Blocks    uint64  `json:"blocks" doc:"Judged."`
	Fetched   uint64  `json:"fetched" doc:"Of those, from the chain; the others were in a cache."`
	Calls     uint64  `json:"calls" doc:"To the network's endpoints."`
	JudgingMS float64 `json:"judging_ms" doc:"Time spent judging, in milliseconds."`
}

// BacktestDetail is a backtest with what it has found.
type BacktestDetail struct {
	Backtest
	Matches    []BacktestMatch `json:"matches" nullable:"false" doc:"The first ones, at most 100."`
	NearMisses []BacktestMiss  `json:"near_misses" nullable:"false" doc:"The first ones, at most 20: candidates before others."`
}

// BacktestMatch is a transaction that matches.
type BacktestMatch struct {
	Height      uint64   `json:"height"`
	Block       string   `json:"block"`
	Transaction string   `json:"transaction"`
	On          []string `json:"on" nullable:"false" doc:"Conditions that held, with the values they held for, cut off."`
}

// BacktestMiss is a transaction that came near to a match.
type BacktestMiss struct {
	Height      uint64           `json:"height"`
	Block       string           `json:"block"`
	Transaction string           `json:"transaction"`
	Elsewhere   bool             `json:"elsewhere,omitempty" doc:"It has a wanted event or call at an address that is not the monitor's. Such are told while no candidate is found."`
	Reasons     []BacktestReason `json:"reasons" nullable:"false"`
}

// BacktestReason is a condition that did not hold.
type BacktestReason struct {
	Path      string   `json:"path,omitempty" doc:"Of the condition in the document."`
	Signature string   `json:"signature,omitempty" doc:"Of the event or function met."`
	Message   string   `json:"message"`
	Values    []string `json:"values,omitempty" doc:"The parts of the expression, with the values that they were compared with."`
}

func shownBacktest(b *fsm.Backtest) Backtest {
	sum := b.Counts()
	out := Backtest{
		ID: b.ID, State: b.State.String(), Error: b.Error, Monitor: b.Monitor, Version: b.Version, Name: b.Name, Network: b.Watch.Slug,
		From: b.From, To: b.To, Created: time.UnixMilli(b.At).UTC(), By: b.By,
		Progress:      BacktestProgress{Done: sum.Blocks, Total: b.To - b.From + 1, Restarts: b.Restarts},
		Counts:        BacktestCounts{Candidates: sum.Candidates, Matches: sum.Matches, NearMisses: sum.Misses},
		Notifications: BacktestNotifications{ByTrigger: []BacktestTriggerCount{}, Filters: b.Filters},
		Cost:          BacktestCost{Blocks: sum.Blocks, Fetched: sum.Fetched, Calls: sum.Calls, JudgingMS: float64(sum.Micros) / 1000},
	}
	if b.Ended != 0 {
		out.Ended = time.UnixMilli(b.Ended).UTC()
	}
	each := sum.Matches
	if b.Confirms {
		each *= 2
	}
	for _, trigger := range b.Triggers {
		n := &out.Notifications
		n.Total += each
		if i := slices.IndexFunc(n.ByTrigger, func(c BacktestTriggerCount) bool { return c.Trigger == trigger }); i >= 0 {
			n.ByTrigger[i].Count += each // listed twice, it sends twice
		} else {
			n.ByTrigger = append(n.ByTrigger, BacktestTriggerCount{trigger, each})
		}
	}
	return out
}

func detailedBacktest(b *fsm.Backtest) BacktestDetail {
	out := BacktestDetail{Backtest: shownBacktest(b), Matches: []BacktestMatch{}, NearMisses: []BacktestMiss{}}
	matches, misses := b.Found()
	for _, m := range matches {
		out.Matches = append(out.Matches, BacktestMatch{m.Block.Height, m.Block.Hash.String(), m.Tx, append([]string{}, m.On...)})
	}
	for _, m := range misses {
		miss := BacktestMiss{Height: m.Block.Height, Block: m.Block.Hash.String(), Transaction: m.Tx, Elsewhere: m.Elsewhere, Reasons: []BacktestReason{}}
		for _, r := range m.Reasons {
			miss.Reasons = append(miss.Reasons, BacktestReason(r))
		}
		out.NearMisses = append(out.NearMisses, miss)
	}
	return out
}

// BacktestPath names a backtest.
type BacktestPath struct {
	ID string `path:"id" maxLength:"32" doc:"Id of the backtest."`
}

type backtestInput struct {
	TenantPath
	BacktestPath
	ReadYourWrites
}

type backtestOutput struct {
	Index uint64 `header:"X-Ozmo-Index" doc:"Log index that is shown; see the parameter index."`
	Body  BacktestDetail
}

func (a *API) backtestRoutes() {
	register(a, "backtest.list", a.listBacktests)
	register(a, "backtest.create", a.createBacktest)
	register(a, "backtest.get", func(ctx context.Context, in *backtestInput) (*backtestOutput, error) {
		v := a.backend.View()
		_, b, err := a.backtest(ctx, v, in.Tenant, in.ID)
		if err != nil {
			return nil, err
		}
		return &backtestOutput{Index: v.Index(), Body: detailedBacktest(b)}, nil
	})
	register(a, "backtest.delete", a.deleteBacktest)
}

func (a *API) backtest(ctx context.Context, v *fsm.View, name, id string) (*fsm.Tenant, *fsm.Backtest, error) {
	t, err := tenant(ctx, v, name)
	if err != nil {
		return nil, nil, err
	}
	b, ok := v.Backtest(t.ID, id)
	if !ok {
		return nil, nil, errNotThere
	}
	return t, b, nil
}

// listBacktests shows the newest first.
func (a *API) listBacktests(ctx context.Context, in *listInput) (*pageOutput[Backtest], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	v := a.backend.View()
	if _, err := tenant(ctx, v, in.Tenant); err != nil {
		return nil, err
	}
	out := &pageOutput[Backtest]{Body: Page[Backtest]{Items: []Backtest{}}}
	last := uint64(0)
	for _, b := range slices.SortedFunc(v.BacktestsOf(in.Tenant), func(x, y *fsm.Backtest) int { return cmp.Compare(y.Index, x.Index) }) {
		if before != 0 && b.Index >= before {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = strconv.FormatUint(last, 10)
			break
		}
		out.Body.Items = append(out.Body.Items, shownBacktest(b))
		last = b.Index
	}
	return out, nil
}

type backtestDelete struct {
	TenantPath
	BacktestPath
	ReadYourWrites
	Cancel bool `query:"cancel" doc:"Only cancel it: 409 where it is over."`
}

// deleteBacktest cancels what is not over, and forgets what is.
func (a *API) deleteBacktest(ctx context.Context, in *backtestDelete) (*done, error) {
	if err := a.backend.CatchUp(ctx); err != nil {
		return nil, err
	}
	t, b, err := a.backtest(ctx, a.backend.View(), in.Tenant, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Cancel && b.State.Over() {
		return nil, conflictf("backtest %s is over: it is %s", b.ID, b.State)
	}
	entry := fsm.Audit{Tenant: t.ID, Object: b.ID, Before: b.State.String(), After: "forgotten"}
	if !b.State.Over() {
		entry.After = fsm.BacktestCancelled.String()
	}
	c := &fsm.EndBacktest{Tenant: t.ID, ID: b.ID, Forget: b.State.Over(), At: a.now().UnixMilli()}
	if _, err := a.audited(ctx, c, entry, t.Born); err != nil {
		return nil, err
	}
	return a.done(), nil
}
