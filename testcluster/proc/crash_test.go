package proc

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// setting reads a number from the environment.
func setting(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: %v", name, text, err)
	}
	return v
}

// driver makes the chain live: blocks by the clock, reorganisations of random
// depth. devchain could do so itself, but it could not be told to stop.
type driver struct {
	chain  *Chain
	every  time.Duration // between blocks
	rng    *rand.Rand
	dead   map[string]bool // hashes of blocks that are no longer on the chain
	reorgs int
	since  int      // blocks, after the last reorganisation
	born   sync.Map // hash of a block -> when it was made
	err    error
	stop   context.CancelFunc
	done   chan struct{}
}

const (
	blockTime  = 250 * time.Millisecond
	reorgEvery = 8  // blocks, on average
	deepest    = 10 // blocks
)

func drive(t testing.TB, c *Chain, every time.Duration, seed uint64) *driver {
	ctx, stop := context.WithCancel(context.Background())
	d := &driver{
		chain: c, every: every, rng: rand.New(rand.NewPCG(seed, 1)), dead: map[string]bool{}, stop: stop, done: make(chan struct{}),
	}
	go func() {
		defer close(d.done)
		d.err = d.run(ctx)
	}()
	t.Cleanup(func() { stop(); <-d.done })
	return d
}

func (d *driver) run(ctx context.Context) error {
	ticker := time.NewTicker(d.every)
	defer ticker.Stop()
	modes := []string{"reinclude", "drop", "move"}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		// Calls are not cut off: what they did has to be known.
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
		err := d.step(call, modes[d.rng.IntN(len(modes))])
		cancel()
		if err != nil {
			return err
		}
	}
}

func (d *driver) step(ctx context.Context, mode string) error {
	d.since++
	if d.since < 3*reorgEvery && d.rng.IntN(reorgEvery) > 0 {
		blocks, err := d.chain.Commit(ctx, 1)
		d.note(blocks)
		return err
	}
	d.since = 0
	r, err := d.chain.Reorg(ctx, 1+d.rng.IntN(deepest), mode)
	if err != nil {
		return err
	}
	d.reorgs++
	d.note(r.Blocks)
	for _, b := range r.Dead {
		d.dead[b.Hash] = true
	}
	return nil
}

func (d *driver) note(blocks []Ref) {
	for _, b := range blocks {
		d.born.Store(b.Hash, time.Now())
	}
}

// young reports whether a block was made so short a time ago that what is sent
// of it cannot come from an outbox, whose first attempt is 5 s later.
func (d *driver) young(hash string) bool {
	at, ok := d.born.Load(hash)
	return ok && time.Since(at.(time.Time)) < 4*time.Second
}

// failed is the error that ended the chain's life, nil while it lives.
func (d *driver) failed() error {
	select {
	case <-d.done:
		return fmt.Errorf("%w: the chain stands still: %w", ErrInVain, d.err)
	default:
		return nil
	}
}

// rest ends traffic and reorganisations and lets the chain come to rest.
func (d *driver) rest(t testing.TB) Info {
	t.Helper()
	d.stop()
	<-d.done
	if d.err != nil {
		t.Fatal(d.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := d.chain.SetRate(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := d.chain.Commit(ctx, 3*deepest); err != nil {
		t.Fatal(err)
	}
	info, err := d.chain.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// moody is a receiver with the habits of real ones: it takes its time, refuses
// the first attempt of one key in twenty, and is so slow with one in two hundred
// that the node goes on without waiting for it. What an outbox sends it does not
// refuse: the next attempt would come after minutes.
func moody(d *driver) func(*http.Request, Delivery) int {
	var mu sync.Mutex
	refused := map[string]bool{}
	return func(req *http.Request, got Delivery) int {
		h := fnv.New64a()
		_, _ = h.Write([]byte(got.Key)) // it never fails
		mood := h.Sum64()
		wait := time.Duration(mood%30) * time.Millisecond
		if mood%200 == 11 {
			wait += 1500 * time.Millisecond
		}
		pause := time.NewTimer(wait)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-req.Context().Done(): // too late for the sender, but it is taken all the same
		}
		mu.Lock()
		defer mu.Unlock()
		if mood%20 == 7 && d.young(got.BlockHash) && !refused[got.Key] {
			refused[got.Key] = true
			return http.StatusServiceUnavailable
		}
		return 0
	}
}

// TestCrash kills a node at random moments and starts it again, while the chain
// grows and is reorganised, and then compares what the receiver got with what
// the chain says: no block skipped, no alert lost, nothing repeated under
// another name.
//
// OZMO_CRASH_RESTARTS says how often, OZMO_CRASH_SEED repeats a run's random
// choices (not its timing).
func TestCrash(t *testing.T) {
	restarts := int(setting(t, "OZMO_CRASH_RESTARTS", 5))
	seed := setting(t, "OZMO_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("OZMO_CRASH_SEED=%d", seed)
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15", "--seed", strconv.FormatUint(1+seed%1_000_000, 10))
	if _, err := chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	receiver := NewReceiver(t)
	subjects := []subject{
		{tenant: "alice", network: "devnet", slug: "devnet", depth: 2, monitors: []string{"transfers", "large", "failing", "calls"}},
		{tenant: "bob", network: "devnet", slug: "devnet", depth: 2, monitors: []string{"transfers", "large"}, optional: "calls"},
		{tenant: "carol", network: "carol/deep", slug: "deep", depth: 6, monitors: []string{"transfers", "failing", "calls"}},
	}
	n := NewNode(t, dir)
	setUp(t, n.Folder, chain, receiver, subjects)
	d := drive(t, chain, blockTime, seed)
	receiver.Refuse = moody(d)

	there := false
	crashes(t, n, d, restarts, rand.New(rand.NewPCG(seed, 2)), func() {
		if there = !there; there {
			subjects[1].monitor(t, n.Folder, chain, "calls")
		} else if err := os.Remove(filepath.Join(n.Folder.Dir, "tenants/bob/monitors/calls.json")); err != nil {
			t.Fatal(err)
		}
	})

	n.Start(t)
	info := d.rest(t)
	status := n.AwaitCaughtUp(t, chain)
	if status.DeadLetter > 0 {
		t.Errorf("%d deliveries were given up", status.DeadLetter)
	}
	checkCrash(t, n, d, info, receiver, subjects, restarts)
	n.Terminate(t, Patience)
}

// crashes ends the node so many times at a random moment: most often by
// SIGKILL, at times while it still starts or after it was frozen for a while,
// now and then by SIGTERM. The configuration changes at times, too: while the
// node is down, or just before its end.
func crashes(t *testing.T, n *Node, d *driver, restarts int, rng *rand.Rand, change func()) {
	t.Helper()
	wait := func(i int, most time.Duration) {
		timer := time.NewTimer(time.Duration(rng.Int64N(int64(most))))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-n.Done():
			t.Fatalf("restart %d: the node ended by itself", i)
		case <-d.done:
			t.Fatalf("restart %d: the chain stands still: %v", i, d.err)
		}
	}
	for i := range restarts {
		if i%4 == 2 {
			change()
		}
		n.Start(t)
		if i%5 == 1 {
			wait(i, 800*time.Millisecond)
			n.Kill()
			continue
		}
		n.AwaitStarted(t)
		wait(i, 2*time.Second)
		if i%3 == 0 {
			change()
			n.Signal(t, syscall.SIGHUP)
			wait(i, 100*time.Millisecond)
		}
		switch i % 5 {
		case 3:
			n.Terminate(t, Patience)
		case 4:
			n.Signal(t, syscall.SIGSTOP)
			wait(i, time.Second)
			n.Signal(t, syscall.SIGCONT)
			wait(i, 500*time.Millisecond)
			n.Kill()
		default:
			n.Kill()
		}
	}
}

func checkCrash(t *testing.T, n *Node, d *driver, info Info, receiver *Receiver, subjects []subject, restarts int) {
	t.Helper()
	got := checkIdentity(t, receiver.Deliveries(t))
	var total outcome
	for i := range subjects {
		o := subjects[i].check(t, n, d.chain, info.Head.Number, got, d.dead)
		total.skipped += o.skipped
		total.lost += o.lost
		if i == 0 || subjects[i].network != subjects[i-1].network {
			total.blocks += o.blocks
		}
	}
	if d.reorgs == 0 && restarts >= 5 {
		t.Error("the chain was never reorganised")
	}
	t.Logf("%d reorganisations, %d blocks died of them", d.reorgs, len(d.dead))
	names := "all with the same key"
	if t.Failed() {
		names = "see the errors above"
	}
	fmt.Printf("crash-test: %d restarts, %d blocks, %d alerts, %d skipped, %d lost, %d duplicates (%s)\n",
		restarts, total.blocks, len(got.facts), total.skipped, total.lost, got.duplicates, names)
	if total.skipped > 0 || total.lost > 0 {
		t.Errorf("%d skipped, %d lost", total.skipped, total.lost)
	}
}
