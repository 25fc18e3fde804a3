package fsm

import (
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// modelBacktest is what the model knows of a job.
type modelBacktest struct {
	born, index uint64
	state       BacktestState
	docs        []Hash
	at          int64
	from, to    uint64
	parts       []modelPart
	restarts    int
}

type modelPart struct {
	from, to, next uint64
	parent, last   Hash
	epoch          uint64
	blocks         uint64
	matches        int
}

// applyBacktest is apply for the commands about backtests.
func (m *model) applyBacktest(c Command) (known bool, err error) {
	switch c := c.(type) {
	case *PutBacktest:
		return true, m.putBacktest(&c.Job)
	case *WorkBacktest:
		return true, m.workBacktest(c)
	case *EndBacktest:
		b, ok := m.backtests[letter(c.Tenant, c.ID)]
		switch {
		case !ok:
			return true, ErrNotFound
		case b.state.Over() != c.Forget:
			return true, ErrConflict
		case c.Forget:
			delete(m.backtests, letter(c.Tenant, c.ID))
		default:
			b.state = BacktestCancelled
		}
		return true, nil
	}
	return false, nil
}

func (m *model) putBacktest(job *Backtest) error {
	t, ok := m.tenants[job.Tenant]
	if !ok || job.Tenant == Shared {
		return ErrNotFound
	}
	if old, ok := m.backtests[letter(job.Tenant, job.ID)]; ok {
		if old.docs[0] == job.Doc.Hash && old.at == job.At && old.from == job.From && old.to == job.To {
			return nil
		}
		return ErrConflict
	}
	if most := t.quota.OrDefault().BacktestBlocks; job.From > job.To || job.To-job.From >= uint64(most) {
		return ErrQuota
	}
	active := 0
	for key, b := range m.backtests {
		if strings.HasPrefix(key, letter(job.Tenant, "")) && !b.state.Over() {
			active++
		}
	}
	if active >= MaxActiveBacktests {
		return ErrTooMany
	}
	b := &modelBacktest{born: t.born, index: m.index, docs: append([]Hash{job.Doc.Hash}, job.Doc.Refs...), at: job.At, from: job.From, to: job.To}
	for _, h := range b.docs {
		if _, ok := m.blobs[h]; !ok {
			return ErrNotFound
		}
	}
	for _, p := range backtestParts(job.From, job.To) { // TestBacktestParts looks at them
		b.parts = append(b.parts, modelPart{from: p.From, to: p.To, next: p.From})
	}
	m.backtests[letter(job.Tenant, job.ID)] = b
	return nil
}

func (m *model) workBacktest(c *WorkBacktest) error {
	b, ok := m.backtests[letter(c.Tenant, c.ID)]
	if !ok || c.Part < 0 || c.Part >= len(b.parts) {
		return ErrNotFound
	}
	p := &b.parts[c.Part]
	switch {
	case b.state.Over():
		return ErrConflict
	case p.epoch != c.Epoch:
		return ErrStaleEpoch
	case p.next > p.to || c.Node == "" && c.Seen != p.next:
		return ErrConflict
	case c.Node != "":
		p.epoch, b.state = m.index, BacktestRunning
		return nil
	case c.Error != "":
		b.state = BacktestFailed
		return nil
	case c.Anew:
		b.again(c.Part)
		return nil
	case c.Next <= p.next || c.Next > p.to+1:
		return ErrConflict
	}
	if p.next == p.from {
		p.parent = c.Parent
	}
	p.next, p.last = c.Next, c.Last
	p.blocks += c.Counts.Blocks
	p.matches = min(p.matches+len(c.Matches), MaxBacktestMatches)
	if slices.ContainsFunc(b.parts, func(p modelPart) bool { return p.next <= p.to }) {
		return nil
	}
	for i := range b.parts[1:] {
		if b.parts[i].last != b.parts[i+1].parent {
			b.again(i, i+1)
			return nil
		}
	}
	b.state = BacktestDone
	return nil
}

func (b *modelBacktest) again(parts ...int) {
	if b.restarts++; b.restarts > MaxBacktestRestarts {
		b.state = BacktestFailed
		return
	}
	for _, i := range parts {
		p := &b.parts[i]
		*p = modelPart{from: p.from, to: p.to, next: p.from, epoch: p.epoch}
	}
}

func (m *machine) backtest(t *rapid.T) {
	tenant := rapid.SampledFrom(tenantIDs[1:3]).Draw(t, "tenant")
	id := rapid.SampledFrom([]string{"b1", "b2", "b3"}).Draw(t, "backtest")
	known, ok := m.m.backtests[letter(tenant, id)]
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		m.do(t, &EndBacktest{Tenant: tenant, ID: id, Forget: rapid.Bool().Draw(t, "forget"), At: m.clock})
	case 1, 2:
		if !ok {
			m.putBacktest(t, tenant, id)
			return
		}
		fallthrough
	default:
		if ok {
			m.workBacktest(t, tenant, id, known)
		}
	}
}

func (m *machine) putBacktest(t *rapid.T, tenant, id string) {
	from := rapid.Uint64Range(0, 9).Draw(t, "from")
	m.do(t, &PutBacktest{Job: Backtest{
		ID: id, Tenant: tenant, Name: "monitor", Doc: Doc{Kind: DocMonitor, ID: "draft", Hash: HashBlob(blob(m.blob(t))), Refs: []Hash{HashBlob(blob(m.blob(t)))}},
		Watch: Watch{Network: "base", Slug: "base"}, From: from, To: from + rapid.SampledFrom([]uint64{0, 9, 120, MaxBacktestBlocks}).Draw(t, "blocks"),
		At: m.clock, Born: 9, State: BacktestDone, Ended: 9, Parts: []BacktestPart{{}},
	}})
}

func (m *machine) workBacktest(t *rapid.T, tenant, id string, known *modelBacktest) {
	part := rapid.IntRange(-1, len(known.parts)).Draw(t, "part")
	c := &WorkBacktest{Tenant: tenant, ID: id, Part: part, At: m.clock}
	if part >= 0 && part < len(known.parts) {
		p := known.parts[part]
		c.Epoch, c.Seen, c.Next = p.epoch, p.next, p.to+1
		if rapid.Bool().Draw(t, "some of it") {
			c.Next = p.next + rapid.Uint64Range(0, 3).Draw(t, "blocks")
		}
		c.Counts.Blocks = c.Next - c.Seen
	}
	branches := []Hash{{1}, {1}, {1}, {2}}
	c.Parent, c.Last = rapid.SampledFrom(branches).Draw(t, "parent"), rapid.SampledFrom(branches).Draw(t, "last")
	c.Matches = make([]BacktestMatch, rapid.IntRange(0, 60).Draw(t, "matches"))
	switch rapid.IntRange(0, 19).Draw(t, "odd") {
	case 0:
		c.Epoch++
	case 1:
		c.Seen++
	case 2:
		c.Error = "the network is gone"
	case 3:
		c.Anew = true
	case 4, 5, 6:
		c.Node = rapid.SampledFrom(nodeNames).Draw(t, "node")
	}
	m.do(t, c)
}

// checkBacktests compares the jobs, and what is derived from them.
func (m *machine) checkBacktests(t *rapid.T, v *View) {
	want := maps.Clone(m.m.backtests)
	sums := map[string]int64{}
	active := map[string]bool{}
	var all int64
	for _, b := range walk(v.backtests, "") {
		key := letter(b.Tenant, b.ID)
		w, ok := want[key]
		if !ok || w.born != b.Born || w.index != b.Index || w.state != b.State || w.restarts != int(b.Restarts) || len(w.parts) != len(b.Parts) ||
			b.State.Over() != (b.Ended != 0) || (b.State == BacktestFailed) != (b.Error != "") {
			t.Fatalf("backtest %+v, want %+v", b, w)
		}
		delete(want, key)
		matches := 0
		for i, p := range b.Parts {
			wp := w.parts[i]
			if p.From != wp.from || p.To != wp.to || p.Next != wp.next || p.Epoch != wp.epoch || p.Counts.Blocks != wp.blocks || p.Next-p.From != p.Counts.Blocks {
				t.Fatalf("backtest %s, part %d: %+v, want %+v", b.ID, i, p, wp)
			}
			if b.State != BacktestDone && len(p.Matches) != wp.matches {
				t.Fatalf("backtest %s, part %d: %d matches, want %d", b.ID, i, len(p.Matches), wp.matches)
			}
			matches += wp.matches
		}
		if found, _ := b.Found(); len(found) != min(matches, MaxBacktestMatches) {
			t.Fatalf("backtest %s: %d matches, want %d", b.ID, len(found), min(matches, MaxBacktestMatches))
		}
		if !b.State.Over() {
			active[b.activeKey()] = true
		}
		sums[b.Tenant] += b.Size()
		all += b.Size()
	}
	if len(want) > 0 {
		t.Fatalf("backtests are missing: %v", slices.Collect(maps.Keys(want)))
	}
	for b := range v.ActiveBacktests() {
		if found, ok := v.Backtest(b.Tenant, b.ID); !ok || found != b || !active[b.activeKey()] {
			t.Fatalf("backtest %+v is listed as active", b)
		}
	}
	got, sizes := map[string]int64{}, map[string]int64{}
	maps.Insert(got, walk(v.backtestSums, ""))
	for key, tenant := range walk(v.backtestSizes, "") {
		if key != bytesKey(sums[tenant], tenant) {
			t.Fatalf("tenant %q is listed under another size", tenant)
		}
		sizes[tenant] = sums[tenant]
	}
	if v.activeTests.Len() != len(active) || !maps.Equal(got, sums) || !maps.Equal(sizes, sums) || v.BacktestBytes() != all {
		t.Fatalf("%d active, sizes %v and %v of %d; want %d, %v of %d", v.activeTests.Len(), got, sizes, v.BacktestBytes(), len(active), sums, all)
	}
}
