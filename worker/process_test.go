package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// process is one run of a worker. It can die at any of its effects.
type process struct {
	*rig
	node   string
	worker *Worker
	epoch  uint64 // of the node's registration
	cancel context.CancelFunc
	done   chan error
	reg    *prometheus.Registry

	// propose, when set, stands before each proposal; deliver before each send.
	propose func(c fsm.Command) error
	deliver func(n *notify.Notification)
	quota   func(tenant string) error
	viewed  func(v *fsm.View) // sees what is about to be read

	contact *line
	outbox  *outbox.Outbox // nil: the fake of this file
	frozen  *fsm.View      // what it sees while it is cut off
	thawed  chan struct{}  // closed when it is not any more

	life  int // effects left until it dies; negative: it lives
	dead  bool
	ended bool
}

var errDead = errors.New("the process is dead")

// start runs a worker under a new epoch. life is the number of effects after
// which it dies, negative for ever.
func (r *rig) start(life int, change ...func(*process, *Options)) *process {
	r.t.Helper()
	p := r.prepare(life, change...)
	p.run()
	return p
}

// run begins a process that was prepared.
func (p *process) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	p.cancel = cancel
	var both errgroup.Group
	both.Go(func() error { return p.worker.Run(ctx) })
	if p.outbox != nil {
		both.Go(func() error { return p.outbox.Run(ctx) })
	}
	go func() { p.done <- both.Wait() }()
}

// prepare makes a process that does not run yet.
func (r *rig) prepare(life int, change ...func(*process, *Options)) *process {
	r.t.Helper()
	return r.prepareOn(node, life, change...)
}

// prepareOn makes a process of any node.
func (r *rig) prepareOn(name string, life int, change ...func(*process, *Options)) *process {
	r.t.Helper()
	p := &process{
		rig: r, node: name, epoch: r.register(name), life: life, done: make(chan error, 1), reg: prometheus.NewRegistry(),
		contact: newLine(),
	}
	opts := Options{
		Node: name, Contact: p.contact, Log: p, Blocks: p, Sender: p, Outbox: p, Recorder: p, Triggers: store.NewTriggers(unsealed{}),
		Logger: slog.New(slog.DiscardHandler), Registerer: p.reg, Grace: time.Millisecond,
	}
	for _, c := range change {
		c(p, &opts)
	}
	p.worker = New(opts)
	return p
}

// pipeline is one of the main cohort that does not run.
func (p *process) pipeline(network string) *pipeline {
	p.t.Helper()
	c, ok := p.state.View().Cohort(cohort)
	if !ok {
		p.t.Fatal("no cohort")
	}
	r := p.worker.newRunner(p.t.Context(), p.t.Context(), c.ID, c.Epoch)
	p.t.Cleanup(r.end)
	return newPipeline(r, network, r.log)
}

// judgeAll judges steps and waits until what came of them is recorded.
func (p *pipeline) judgeAll(ctx context.Context, b *book, steps []step) error {
	p.rounds = newRounds()
	err := p.process(ctx, b, steps)
	return errors.Join(err, p.rounds.drain())
}

// line is the contact of a process.
type line struct {
	mu   sync.Mutex
	back chan struct{} // nil while contact is held
}

func newLine() *line { return &line{} }

func (l *line) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back == nil
}

func (l *line) Wait(ctx context.Context) error {
	l.mu.Lock()
	back := l.back
	l.mu.Unlock()
	if back == nil {
		return nil
	}
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *line) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back == nil {
		l.back = make(chan struct{})
	}
}

func (l *line) find() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back != nil {
		close(l.back)
		l.back = nil
	}
}

// stop ends a process and returns what Run returned.
func (p *process) stop() error {
	p.cancel()
	if p.ended {
		return nil
	}
	p.ended = true
	return <-p.done
}

// effect counts one step towards death and reports whether the process lives.
// The caller holds mu.
func (p *process) effect() bool {
	if p.life > 0 {
		p.life--
	}
	if p.life == 0 && !p.dead {
		p.dead = true
		p.cancel()
	}
	return !p.dead
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.effect()
}

func (p *process) View() *fsm.View {
	p.mu.Lock()
	v := p.frozen
	p.mu.Unlock()
	if v != nil {
		return v
	}
	v = p.state.View()
	if p.viewed != nil {
		p.viewed(v)
	}
	return v
}

// calledBy reports whether a function whose name holds a text is being run.
func calledBy(name string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}

func (p *process) Changed(t fsm.Topic) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		return p.thawed
	}
	return p.state.Changed(t)
}

// freeze cuts a process off: it sees no changes and proposes in vain.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen, p.thawed = p.state.View(), make(chan struct{})
	}
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		p.frozen = nil
		close(p.thawed)
	}
}

var errCutOff = errors.New("no leader")

func (p *process) Propose(_ context.Context, c fsm.Command) (any, error) {
	p.mu.Lock()
	cut := p.frozen != nil
	p.mu.Unlock()
	if cut {
		return nil, errCutOff
	}
	if p.propose != nil {
		if err := p.propose(c); err != nil {
			return nil, err
		}
	}
	if progress, ok := c.(*fsm.Progress); ok {
		p.check(progress)
	}
	if !p.alive() {
		return nil, errDead
	}
	out, err := p.apply(c)
	if !p.alive() {
		return nil, errDead
	}
	return out, err
}

// check holds progress to its rules: what it calls sent was accepted, what it
// hands over is complete.
func (p *process) check(c *fsm.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	handed, refused := map[string]bool{}, map[string]bool{}
	for _, o := range c.Outbox {
		handed[o.Key] = true
	}
	for _, d := range c.Dead {
		refused[d.Key] = true
	}
	for _, f := range c.Fired {
		for _, d := range f.Deliveries {
			accepted := slices.ContainsFunc(p.sent, func(s sent) bool { return s.Key == d.Key })
			switch {
			case d.Outcome == fsm.Sent && !accepted && !p.dead:
				p.broke("%s is recorded as sent and was not", d.Key)
			case d.Outcome == fsm.HandedOver && !handed[d.Key]:
				p.broke("%s is recorded as handed over and is not in the outbox", d.Key)
			case d.Outcome == fsm.Refused && !refused[d.Key]:
				p.broke("%s is recorded as refused and is no dead letter", d.Key)
			}
		}
	}
}

var errNoPayload = errors.New("no such block here")

func (p *process) Block(_ context.Context, _ string, ref fsm.BlockRef) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data, ok := p.payloads[ref.Hash]
	if !ok || p.missing[ref.Hash] {
		return nil, errNoPayload
	}
	p.asked[ref.Hash]++
	return data, nil
}

// Deliver is the receiver.
func (p *process) Deliver(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	if p.deliver != nil {
		p.deliver(n)
	}
	return p.Send(ctx, n)
}

// Send is the receiver of an attempt from the outbox.
func (p *process) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	if !p.contact.Held() {
		p.locked(func() { p.broke("%s sends without contact: %s", p.node, n.Key) })
	}
	p.mu.Lock()
	gate := p.silent[n.Trigger.Name]
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return notify.Result{}, context.Cause(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.effect() {
		return notify.Result{}, errDead
	}
	if result, ok := p.refuse[n.Trigger.Name]; ok {
		return result, errors.New("refused")
	}
	p.sent = append(p.sent, sent{
		Key: n.Key.String(), Tenant: n.Alert.Tenant, Monitor: n.Alert.MonitorID, Trigger: n.Trigger.Name,
		Block: n.Alert.Block, Position: n.Alert.Position, Version: n.Alert.Version, Epoch: p.epoch,
		Alert: n.Alert.ID, State: n.Alert.State,
	})
	if !p.effect() {
		return notify.Result{}, errDead
	}
	return notify.Result{Status: 200}, nil
}

func (p *process) Adopt(a outbox.Adopted) func(bool) {
	return func(ok bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if ok {
			p.adopted[a.Key] = a.Done
		}
	}
}

// Admit asks what a test has set: nothing has a quota otherwise.
func (p *process) Admit(tenant string) error {
	if p.quota == nil {
		return nil
	}
	return p.quota(tenant)
}

func (p *process) Readmit(string) {}

// Park has nothing to wait for: this outbox attempts nothing.
func (p *process) Park(context.Context, func(string) bool, time.Duration) error { return nil }

func (p *process) Record(list []Recorded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded = append(p.recorded, list...)
}

// metric reads the sum of a metric over its labels.
func (p *process) metric(name string) float64 {
	families, err := p.reg.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// failing is a sender whose every attempt ends the same way.
type failing struct {
	result notify.Result
	err    error
}

func (f failing) Deliver(context.Context, *notify.Notification) (notify.Result, error) {
	return f.result, f.err
}

// captureLog writes a process's log to a buffer.
func captureLog(w io.Writer) func(*process, *Options) {
	return func(_ *process, o *Options) { o.Logger = slog.New(slog.NewTextHandler(w, nil)) }
}

// planned plans the announcements of "net" after as many as are judged, up to the
// one of a number, in a book that change may alter before; those that follow are
// known to the plan.
func (r *rig) planned(pl *pipeline, judged, until int, change func(*book)) (*book, []step) {
	r.t.Helper()
	v := r.state.View()
	n, _ := v.Network("net")
	last := n.Entries[max(judged, 1)-1]
	b, err := openBook(v, "net", cohort, last.Index, last.Position, pl.onPanic)
	if err != nil {
		r.t.Fatal(err)
	}
	if change != nil {
		change(b)
	}
	branch := n.Base
	for _, e := range n.Entries[:judged] {
		branch = branch.Step(e, 64)
	}
	steps, _, err := plan(v, b, branch, n.Entries[judged:until], n.Entries[until:], 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return b, steps
}
