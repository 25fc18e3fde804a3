package fsm

import (
	"fmt"
	"slices"
)

// PutBacktest has a monitor judged over a range of the past. It is refused with
// ErrNotFound where the tenant does not exist, or the monitor's content was never
// put, with ErrConflict where there is another job of the id, with ErrTooMany where
// the tenant has MaxActiveBacktests, with ErrQuota where it may not have a range so long. The
// same again changes nothing. It answers with the job's Index.
type PutBacktest struct {
	Job Backtest `codec:"j"` // what the log gives is left out
}

// Type is TypePutBacktest.
func (*PutBacktest) Type() Type { return TypePutBacktest }

func (c *PutBacktest) apply(t *tx) (any, error) {
	tenant, ok := t.Tenant(c.Job.Tenant)
	if !ok || c.Job.Tenant == Shared {
		return nil, fmt.Errorf("tenant %q: %w", c.Job.Tenant, ErrNotFound)
	}
	next := c.Job
	next.Name, next.By = clipTo(next.Name, MaxLabel), clipTo(next.By, MaxLabel)
	next.Born, next.Index, next.State, next.Ended, next.Error, next.Restarts = tenant.Born, t.index, BacktestQueued, 0, "", 0
	if old, ok := t.Backtest(next.Tenant, next.ID); ok {
		if old.Doc.Hash == next.Doc.Hash && old.From == next.From && old.To == next.To && old.At == next.At {
			return old.Index, nil
		}
		return nil, fmt.Errorf("backtest %q exists: %w", next.ID, ErrConflict)
	}
	if most := tenant.Quota.OrDefault().BacktestBlocks; next.From > next.To || next.To-next.From >= uint64(most) { //nolint:gosec // above 0
		return nil, fmt.Errorf("%w: heights %d to %d: a backtest may have 1 to %d", ErrQuota, next.From, next.To, most)
	}
	next.Parts = backtestParts(next.From, next.To)
	active := 0
	for b := range t.BacktestsOf(next.Tenant) {
		if !b.State.Over() {
			active++
		}
	}
	if active >= MaxActiveBacktests {
		return nil, fmt.Errorf("%w backtests at a time: a tenant may have %d that are not over; wait for one, or cancel it", ErrTooMany, MaxActiveBacktests)
	}
	if err := t.count(&Manifest{Docs: []Doc{next.Doc}}, +1); err != nil {
		return nil, err
	}
	t.putBacktest(&next)
	t.forgetBacktests(next.Tenant)
	t.touch(TopicBacktests)
	return next.Index, nil
}

// WorkBacktest gives a part of a backtest to a node, or says how far the node has
// come with it. It is refused with ErrNotFound where there is no such part, with
// ErrStaleEpoch where another has got it since, with ErrConflict where the job is over
// or the part is not where it was expected: what was told is not told twice. It
// answers with the part's epoch.
type WorkBacktest struct {
	Tenant string `codec:"t"`
	ID     string `codec:"i"`
	Part   int    `codec:"p"`
	Epoch  uint64 `codec:"e"` // of the part as it was seen
	Seen   uint64 `codec:"s"` // BacktestPart.Next as it was seen
	At     int64  `codec:"a"` // Unix milliseconds

	Node string `codec:"w,omitempty"` // who gets the part; nothing of what follows is told then

	Next    uint64          `codec:"n,omitempty"` // BacktestPart.Next from now on
	Parent  Hash            `codec:"h,omitempty"` // of the block at BacktestPart.From, where Seen is that
	Last    Hash            `codec:"l,omitempty"` // of the block below Next
	Counts  BacktestCounts  `codec:"c"`           // since Seen
	Matches []BacktestMatch `codec:"m,omitempty"` // since Seen
	Misses  []BacktestMiss  `codec:"r,omitempty"` // since Seen
	Anew    bool            `codec:"o,omitempty"` // the part begins anew: what was judged is not of the chain any more
	Error   string          `codec:"x,omitempty"` // the job cannot go on, and why
}

// Type is TypeWorkBacktest.
func (*WorkBacktest) Type() Type { return TypeWorkBacktest }

func (c *WorkBacktest) apply(t *tx) (any, error) {
	old, ok := t.Backtest(c.Tenant, c.ID)
	if !ok || c.Part < 0 || c.Part >= len(old.Parts) {
		return nil, fmt.Errorf("tenant %q, backtest %q, part %d: %w", c.Tenant, c.ID, c.Part, ErrNotFound)
	}
	next := *old
	next.Parts = slices.Clone(old.Parts)
	p := &next.Parts[c.Part]
	switch {
	case old.State.Over():
		return nil, fmt.Errorf("backtest %q is %s: %w", c.ID, old.State, ErrConflict)
	case p.Epoch != c.Epoch:
		return nil, fmt.Errorf("backtest %q, part %d: epoch %d, %d expected: %w", c.ID, c.Part, p.Epoch, c.Epoch, ErrStaleEpoch)
	case p.Done(), c.Node == "" && p.Next != c.Seen:
		return nil, fmt.Errorf("backtest %q, part %d: judged up to %d, %d expected: %w", c.ID, c.Part, p.Next, c.Seen, ErrConflict)
	case c.Node != "":
		p.Node, p.Epoch, next.State = c.Node, t.index, BacktestRunning
	case c.Error != "":
		next.fail(c.Error, c.At)
	case c.Anew:
		next.anew(c.At, c.Part)
	case c.Next <= p.Next || c.Next > p.To+1:
		return nil, fmt.Errorf("backtest %q, part %d: height %d is none of it: %w", c.ID, c.Part, c.Next, ErrConflict)
	default:
		p.take(c, MaxBacktestResult/len(next.Parts))
		next.finish(c.At)
	}
	epoch := p.Epoch
	if err := t.replaceBacktest(old, &next); err != nil {
		return nil, err
	}
	t.touch(TopicBacktests)
	return epoch, nil
}

// take adds what was found since, as far as it is kept.
func (p *BacktestPart) take(c *WorkBacktest, bytes int) {
	if p.Next == p.From {
		p.Parent = c.Parent
	}
	p.Next, p.Last, p.Counts = c.Next, c.Last, p.Counts.Plus(c.Counts)
	left := bytes - p.size()
	matches, misses := slices.Clip(p.Matches), slices.Clip(p.Misses)
	for i := range c.Matches {
		if left -= c.Matches[i].size(); left < 0 || len(matches) == MaxBacktestMatches {
			break
		}
		matches = append(matches, c.Matches[i])
	}
	left = bytes - (&BacktestPart{Matches: matches, Misses: misses}).size()
	for i := range c.Misses {
		if left -= c.Misses[i].size(); left < 0 || len(misses) == MaxBacktestMisses {
			break
		}
		misses = append(misses, c.Misses[i])
	}
	p.Matches, p.Misses = matches, misses
}

// finish ends a job all of whose parts are judged, provided they are of one chain:
// where two do not fit together, both begin anew.
func (b *Backtest) finish(at int64) {
	for i := range b.Parts {
		if !b.Parts[i].Done() {
			return
		}
	}
	for i := 1; i < len(b.Parts); i++ {
		if b.Parts[i-1].Last != b.Parts[i].Parent {
			b.anew(at, i-1, i)
			return
		}
	}
	b.State, b.Ended = BacktestDone, at
	b.trim()
}

// trim leaves of what was found what is shown.
func (b *Backtest) trim() {
	matches, misses := b.Found()
	for i := range b.Parts {
		b.Parts[i].Matches, b.Parts[i].Misses = nil, nil
	}
	b.Parts[0].Matches, b.Parts[0].Misses = matches, misses
}

func (b *Backtest) anew(at int64, parts ...int) {
	if b.Restarts++; b.Restarts > MaxBacktestRestarts {
		b.fail(fmt.Sprintf("network %s is reorganised again and again in the range: try again later, or with blocks that are final", b.Watch.Slug), at)
		return
	}
	for _, i := range parts {
		p := &b.Parts[i]
		*p = BacktestPart{From: p.From, To: p.To, Next: p.From, Node: p.Node, Epoch: p.Epoch}
	}
}

func (b *Backtest) fail(why string, at int64) {
	b.State, b.Ended, b.Error = BacktestFailed, at, clipTo(why, MaxAuditText)
}

// EndBacktest cancels a job, which keeps what it has found, or forgets one that is
// over. It is refused with ErrNotFound where there is none, with ErrConflict where it
// is over already, or is not yet.
type EndBacktest struct {
	Tenant string `codec:"t"`
	ID     string `codec:"i"`
	Forget bool   `codec:"f,omitempty"`
	At     int64  `codec:"a"` // Unix milliseconds
}

// Type is TypeEndBacktest.
func (*EndBacktest) Type() Type { return TypeEndBacktest }

func (c *EndBacktest) apply(t *tx) (any, error) {
	old, ok := t.Backtest(c.Tenant, c.ID)
	switch {
	case !ok:
		return nil, fmt.Errorf("tenant %q, backtest %q: %w", c.Tenant, c.ID, ErrNotFound)
	case old.State.Over() != c.Forget:
		return nil, fmt.Errorf("backtest %q is %s: %w", c.ID, old.State, ErrConflict)
	case c.Forget:
		t.dropBacktest(old)
	default:
		next := *old
		next.State, next.Ended = BacktestCancelled, c.At
		if err := t.replaceBacktest(old, &next); err != nil {
			return nil, err
		}
	}
	t.touch(TopicBacktests)
	return nil, nil
}

// replaceBacktest puts what became of a job in its place. With its end, the monitor's
// content is let go.
func (t *tx) replaceBacktest(old, next *Backtest) error {
	if next.State.Over() && !old.State.Over() {
		if err := t.count(&Manifest{Docs: []Doc{old.Doc}}, -1); err != nil {
			return err
		}
	}
	t.putBacktest(next)
	t.forgetBacktests(next.Tenant)
	return nil
}

// putBacktest keeps account of the jobs that are not over, and of the bytes.
func (t *tx) putBacktest(b *Backtest) {
	old, known := put(t.edit, &t.backtests, backtestKey(b.Tenant, b.ID), b)
	size := b.Size()
	if known {
		size -= old.Size()
	}
	t.addBacktestBytes(b.Tenant, size)
	if b.State.Over() {
		del(t.edit, &t.activeTests, b.activeKey())
	} else {
		put(t.edit, &t.activeTests, b.activeKey(), b)
	}
}

func (t *tx) addBacktestBytes(tenant string, n int64) {
	before, known := get(t.backtestSums, tenant)
	if known {
		del(t.edit, &t.backtestSizes, bytesKey(before, tenant))
	}
	t.backtestBytes += n
	if before+n == 0 {
		del(t.edit, &t.backtestSums, tenant)
		return
	}
	put(t.edit, &t.backtestSums, tenant, before+n)
	put(t.edit, &t.backtestSizes, bytesKey(before+n, tenant), tenant)
}

// bytesKey orders tenants by bytes, those with the most first.
func bytesKey(n int64, tenant string) string { return be64(^uint64(n)) + tenant } //nolint:gosec // not negative

// dropBacktest forgets a job that is over, or whose tenant is gone.
func (t *tx) dropBacktest(b *Backtest) {
	del(t.edit, &t.backtests, backtestKey(b.Tenant, b.ID))
	del(t.edit, &t.activeTests, b.activeKey())
	t.addBacktestBytes(b.Tenant, -b.Size())
}

// forgetBacktests keeps a tenant's jobs, and all of them, within their bounds.
func (t *tx) forgetBacktests(tenant string) {
	jobs := slices.Collect(t.BacktestsOf(tenant))
	for over := len(jobs) - KeepBacktests; over > 0; over-- {
		if b := t.oldestOver(tenant); b != nil {
			t.dropBacktest(b)
		}
	}
	for t.backtestBytes > MaxBacktests {
		var b *Backtest
		for most := range values(t.backtestSizes) {
			if b = t.oldestOver(most); b != nil {
				break
			}
		}
		if b == nil {
			return
		}
		t.dropBacktest(b)
	}
}

func (t *tx) oldestOver(tenant string) (oldest *Backtest) {
	for b := range t.BacktestsOf(tenant) {
		if b.State.Over() && (oldest == nil || b.Index < oldest.Index) {
			oldest = b
		}
	}
	return oldest
}

// dropBacktests forgets the jobs of a tenant that is gone.
func (t *tx) dropBacktests(tenant string) error {
	jobs := slices.Collect(below(t.backtests, join(tenant, "")))
	for _, b := range jobs {
		if !b.State.Over() {
			if err := t.count(&Manifest{Docs: []Doc{b.Doc}}, -1); err != nil {
				return err
			}
		}
		t.dropBacktest(b)
	}
	if len(jobs) > 0 {
		t.touch(TopicBacktests)
	}
	return nil
}

// loadBacktest takes a job over from a snapshot. Its content was counted before.
func (t *tx) loadBacktest(body []byte) error {
	b := new(Backtest)
	if err := unmarshal(body, b); err != nil {
		return err
	}
	if old, ok := get(t.backtests, backtestKey(b.Tenant, b.ID)); ok {
		t.dropBacktest(old)
	}
	t.putBacktest(b)
	return nil
}
