package evm

import (
	"cmp"
	"slices"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// Limits narrow and bound the judging of one block. The zero value judges
// every monitor to the end.
type Limits struct {
	// Tenants, when set, says whose monitors are judged. It is asked at most once
	// per tenant and block.
	Tenants func(tenant string) bool
	// Budget, when set, says how much work a tenant may cause, in evaluations of an
	// expression over common arguments; large arguments count more. 0 is no limit.
	// The same block and monitors always cost the same. It is asked at most once per
	// tenant and block.
	Budget func(tenant string) int
}

// Spent is the work that a tenant caused, as Limits.Budget counts it.
type Spent struct {
	Tenant string
	Work   int
}

// What judging costs beside evaluations, in evaluations of about 100 ns: as measured.
const (
	bytesPerWork = 256 // of arguments that an expression may have to look through
	workPerHit   = 10
)

// Result is what judging a block gave.
type Result struct {
	Hits []Hit // by monitor in the order they were added, then by transaction
	// OverBudget lists, in alphabetical order, the tenants that exceeded the budget. They have no
	// hits here: judge them again on their own.
	OverBudget []string
	// Spent lists the tenants that caused any work, in alphabetical order; nil without
	// limits.
	Spent []Spent
}

// Match returns the matches of a block at a position: at most one for each
// monitor in force and transaction, ordered by monitor (as added), then by
// transaction.
func (x *Index) Match(b *chainevm.Block, pos uint64) []Hit {
	return x.MatchLimited(b, pos, Limits{}).Hits
}

// MatchLimited is Match for some tenants, or with a budget for each tenant.
func (x *Index) MatchLimited(b *chainevm.Block, pos uint64, limits Limits) Result {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, _ := x.runs.Get().(*run)
	r.start(x, b, pos, limits)
	for i := range b.Transactions {
		r.transaction(i)
	}
	out := r.result()
	r.release()
	x.runs.Put(r)
	return out
}

// run is the judging of one block. Its memory is used again for the next.
type run struct {
	x      *Index
	block  *chainevm.Block
	pos    uint64
	limits Limits
	hits   []Hit
	spent  map[*tenant]*purse
	over   []string // tenants that exceeded the budget
	seen   [256]seen

	// The transaction being judged.
	tx      int
	t       *chainevm.Transaction
	vars    txVars
	varsSet bool
	pending []pending
	byInst  map[*instance]int // index in pending
	gated   map[*account]bool // accounts whose involved monitors were judged

	// The log or call being judged.
	log  int32 // -1 for the call
	args []expr.Value
	cost int
}

// seen remembers what an address led to.
type seen struct {
	address chainevm.Address
	filled  bool
	account *account
}

// pending is a monitor that something in the transaction speaks for.
type pending struct {
	inst   *instance
	events []found
	call   *condition
	tx     *condition
}

// found is an event condition that holds for a log.
type found struct {
	log  int32
	cond *condition
}

// purse is what a tenant has spent of what it may.
type purse struct {
	unwanted     bool
	spent, limit int // a limit of 0 is none
}

func (p *purse) empty() bool { return p.limit > 0 && p.spent > p.limit }

func (r *run) start(x *Index, b *chainevm.Block, pos uint64, limits Limits) {
	r.x, r.block, r.pos, r.limits = x, b, pos, limits
	if r.byInst == nil {
		r.byInst, r.spent, r.gated = make(map[*instance]int), make(map[*tenant]*purse), make(map[*account]bool)
	}
}

// release drops everything that would keep blocks and monitors alive.
func (r *run) release() {
	clear(r.byInst)
	clear(r.spent)
	clear(r.pending[:cap(r.pending)])
	clear(r.args[:cap(r.args)])
	*r = run{byInst: r.byInst, spent: r.spent, pending: r.pending[:0], gated: r.gated, args: r.args[:0]}
}

// account is what the monitors ask of an address, nil when they ask nothing.
func (r *run) account(a *chainevm.Address) *account {
	s := &r.seen[a[19]^a[3]]
	if s.filled && s.address == *a {
		return s.account
	}
	*s = seen{address: *a, filled: true}
	if r.x.filter.has(a) {
		s.account = r.x.accounts[*a]
	}
	return s.account
}

func (r *run) transaction(i int) {
	t := &r.block.Transactions[i]
	r.tx, r.t, r.varsSet = i, t, false
	for _, a := range []*chainevm.Address{t.From, t.To} {
		if a != nil {
			r.involved(r.account(a))
		}
	}
	for k := range t.Logs {
		l := &t.Logs[k]
		a := r.account(&l.Address)
		if a == nil {
			continue
		}
		r.involved(a)
		if len(l.Topics) > 0 {
			hash := [32]byte(l.Topics[0])
			a.find(&hash, func(g *group) { r.event(int32(k), l, g) })
		}
	}
	if t.To != nil && len(t.Input) >= 4 {
		if a := r.account(t.To); a != nil {
			r.calls(a)
		}
	}
	r.settle()
}

// involved judges the monitors that ask for no event or function, once for
// each address.
func (r *run) involved(a *account) {
	if a == nil || a.involved == nil || r.gated[a] {
		return
	}
	r.gated[a] = true
	r.setVars()
	r.cost = 1
	a.involved.candidates(r.vars.args[:], r.involvedCandidate)
}

func (r *run) involvedCandidate(p posting) {
	if !r.wants(p.inst) {
		return
	}
	at, known := r.byInst[p.inst]
	if known && (p.cond == nil || r.pending[at].tx == nil || r.pending[at].tx.index <= p.cond.index) {
		return
	}
	if p.cond == nil {
		r.speak(p.inst)
		return
	}
	if r.holdsTx(p.inst, p.cond) {
		r.speak(p.inst).tx = p.cond
	}
}

// event judges one log for the monitors of one event layout.
func (r *run) event(k int32, l *chainevm.Log, g *group) {
	args, err := g.layout.DecodeLog(l.Topics, l.Data, r.args[:0])
	r.args = args
	if err != nil {
		return
	}
	r.log, r.cost = k, 1+len(l.Data)/bytesPerWork
	g.candidates(args, r.eventCandidate)
}

func (r *run) eventCandidate(p posting) {
	if !r.wants(p.inst) {
		return
	}
	if at, ok := r.byInst[p.inst]; ok {
		events := r.pending[at].events
		if n := len(events); n > 0 && events[n-1].log == r.log {
			if p.cond.index < events[n-1].cond.index && r.holds(p.inst, p.cond) {
				events[n-1].cond = p.cond // an earlier alternative holds as well
			}
			return
		}
	}
	if r.holds(p.inst, p.cond) {
		s := r.speak(p.inst)
		s.events = append(s.events, found{r.log, p.cond})
	}
}

// calls judges the transaction's own call.
func (r *run) calls(a *account) {
	r.log, r.cost = -1, 1+len(r.t.Input)/bytesPerWork
	selector := [4]byte(r.t.Input[:4])
	hash := selectorKey(selector)
	a.find(&hash, func(g *group) {
		args, err := g.layout.DecodeCall(r.t.Input[4:], r.args[:0])
		r.args = args
		if err == nil {
			g.candidates(args, r.callCandidate)
		}
	})
	if a.open == nil {
		return
	}
	a.open.candidates(nil, func(p posting) {
		if !r.wants(p.inst) {
			return
		}
		spec := p.inst.tenant.borrow(r.t.To, r.pos)
		if spec == nil {
			return
		}
		d := spec.FunctionBySelector(selector)
		if d == nil {
			return
		}
		rule := p.inst.monitor.lent.rule(d)
		if rule == nil {
			return
		}
		args, err := d.Layout.DecodeCall(r.t.Input[4:], r.args[:0])
		r.args = args
		if err != nil {
			return
		}
		for i := range rule.conds {
			r.callCandidate(posting{p.inst, &rule.conds[i]})
		}
	})
}

func (r *run) callCandidate(p posting) {
	if !r.wants(p.inst) {
		return
	}
	if at, ok := r.byInst[p.inst]; ok {
		if call := r.pending[at].call; call != nil && call.index <= p.cond.index {
			return
		}
	}
	if r.holds(p.inst, p.cond) {
		r.speak(p.inst).call = p.cond
	}
}

// speak returns the pending entry of a monitor, made if need be.
func (r *run) speak(inst *instance) *pending {
	at, ok := r.byInst[inst]
	if !ok {
		at = len(r.pending)
		r.byInst[inst] = at
		r.pending = append(r.pending, pending{inst: inst})
	}
	return &r.pending[at]
}

// settle turns the pending monitors of the transaction into hits.
func (r *run) settle() {
	for i := range r.pending {
		p := &r.pending[i]
		m := p.inst.monitor
		if m.hasTxs && p.tx == nil {
			r.cost = 1
			for k := range m.txs {
				if r.holdsTx(p.inst, &m.txs[k]) {
					p.tx = &m.txs[k]
					break
				}
			}
			if p.tx == nil {
				continue
			}
		}
		r.charge(p.inst, workPerHit)
		r.hits = append(r.hits, Hit{
			Key: p.inst.key(), Monitor: m, Tx: r.tx,
			block: r.block, order: p.inst.order, events: p.events, call: p.call, tx: p.tx,
		})
	}
	clear(r.pending) // the lists of events are the hits' now
	r.pending = r.pending[:0]
	clear(r.gated)
	clear(r.byInst)
}

// wants reports whether a monitor is in force, asked for, and within budget.
func (r *run) wants(inst *instance) bool {
	if !inst.inForce(r.pos) {
		return false
	}
	if r.unlimited() {
		return true
	}
	p := r.spent[inst.tenant]
	if p == nil {
		name := inst.tenant.name
		p = &purse{unwanted: r.limits.Tenants != nil && !r.limits.Tenants(name)}
		if !p.unwanted && r.limits.Budget != nil {
			p.limit = r.limits.Budget(name)
		}
		r.spent[inst.tenant] = p
	}
	return !p.unwanted && !p.empty()
}

func (r *run) unlimited() bool { return r.limits.Tenants == nil && r.limits.Budget == nil }

// charge books the work of one evaluation.
func (r *run) charge(inst *instance, cost int) {
	p := r.spent[inst.tenant]
	if p == nil {
		return // without limits
	}
	before := p.empty()
	p.spent += cost
	if !before && p.empty() {
		r.over = append(r.over, inst.tenant.name)
	}
}

// holds evaluates an event or function condition for the current arguments.
func (r *run) holds(inst *instance, c *condition) (ok bool) {
	r.charge(inst, r.cost)
	if c.program == nil {
		return true
	}
	defer r.isolate(inst)
	ok, err := c.program.Eval(r.args)
	return ok && err == nil
}

// holdsTx evaluates a transaction condition for the current transaction. An
// unknown status satisfies Any alone.
func (r *run) holdsTx(inst *instance, c *condition) (ok bool) {
	r.charge(inst, r.cost)
	if c.status != chainevm.StatusUnknown && c.status != r.t.Status() {
		return false
	}
	if c.program == nil {
		return true
	}
	r.setVars()
	if c.texts {
		r.charge(inst, len(r.t.Input)/bytesPerWork)
		r.vars.addTexts(r.t)
	}
	defer r.isolate(inst)
	ok, err := c.program.Eval(r.vars.args[:])
	return ok && err == nil
}

// isolate keeps a panic in one monitor's condition from reaching the others:
// the condition does not hold.
func (r *run) isolate(inst *instance) {
	v := recover()
	if v != nil && r.x.opts.OnPanic != nil {
		r.x.opts.OnPanic(inst.key(), v)
	}
}

func (r *run) setVars() {
	if !r.varsSet {
		r.vars.set(r.t)
		r.varsSet = true
	}
}

// result orders the hits and takes out those of tenants over budget.
func (r *run) result() Result {
	slices.Sort(r.over)
	if len(r.over) > 0 {
		r.hits = slices.DeleteFunc(r.hits, func(h Hit) bool {
			_, over := slices.BinarySearch(r.over, h.Tenant)
			return over
		})
	}
	slices.SortFunc(r.hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Tx, b.Tx))
	})
	return Result{Hits: r.hits, OverBudget: r.over, Spent: r.work()}
}

func (r *run) work() (out []Spent) {
	for t, p := range r.spent {
		if p.spent > 0 {
			out = append(out, Spent{t.name, p.spent})
		}
	}
	slices.SortFunc(out, func(a, b Spent) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}
