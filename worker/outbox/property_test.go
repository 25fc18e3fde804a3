package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// world is two nodes with an outbox each, and receivers that do whatever receivers
// do.
type world struct {
	*rig
	random *rand.Rand // of the receivers; guarded by mu
	nodes  map[string]*member
	chains [][]string // keys, each after the one before

	mu       sync.Mutex
	kind     bool                // receivers accept
	after    map[string]string   // key -> the one before
	accepted map[string]int      // by key
	final    map[string]bool     // refused for good
	made     map[string]int      // attempts that were made and ended with the node alive, by key
	lost     map[string]int      // attempts whose outcome may not have been recorded, by key
	number   map[string]int      // of the last attempt, by key
	wrong    map[string]struct{} // what must not be
}

type member struct {
	box *Outbox
	end func()
}

func (w *world) start(node string) {
	opts := Options{
		Node: node, Log: w, Sender: w, Triggers: store.NewTriggers(plain{}), Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(),
	}
	o := New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	w.nodes[node] = &member{box: o, end: func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}}
}

func (w *world) complain(format string, args ...any) {
	w.wrong[fmt.Sprintf(format, args...)] = struct{}{}
}

// Send is a receiver.
func (w *world) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	key := n.Key.String()
	v := w.state.View()
	w.mu.Lock()
	if e, ok := v.FindOutgoing("acme", key); ok && int(e.Attempts)+1 != n.Round {
		w.complain("delivery %s: attempt %d, after %d that are recorded", key, n.Round, e.Attempts)
	}
	if n.Round < w.number[key] {
		w.complain("delivery %s: attempt %d comes after attempt %d", key, n.Round, w.number[key])
	}
	w.number[key] = n.Round
	if before, ok := w.after[key]; ok {
		if _, waiting := v.FindOutgoing("acme", before); waiting {
			w.complain("delivery %s is attempted before %s is settled", key, before)
		}
	}
	dice, slow := w.random.IntN(20), time.Duration(w.random.IntN(4))*4*time.Second
	if w.kind {
		dice, slow = 0, 0
	}
	w.mu.Unlock()
	if dice >= 17 { // no request is made
		return notify.Result{RetryAfter: time.Duration(dice) * time.Second}, []error{notify.ErrOpen, notify.ErrLimited}[dice%2]
	}
	var cut error
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		cut = ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[key]++
	if cut != nil {
		return notify.Result{}, cut
	}
	w.made[key]++
	switch {
	case dice < 10:
		w.accepted[key]++
		return notify.Result{Status: 200}, nil
	case dice < 14:
		return notify.Result{Status: 503}, errors.New("busy")
	case dice < 15:
		return notify.Result{Status: 429, RetryAfter: 20 * time.Minute}, errors.New("slow down")
	case dice < 16:
		w.final[key] = true
		return notify.Result{Status: 410, Permanent: true}, errors.New("gone")
	default:
		return notify.Result{}, errors.New("reset by peer")
	}
}

// handOver puts a chain of deliveries into the outbox.
func (w *world) handOver(length int) {
	var chain []string
	for range length {
		n := len(w.after) + len(w.chains)*10 + len(chain) + 1
		after := ""
		if len(chain) > 0 {
			after = chain[len(chain)-1]
		}
		e := w.entryOf(n, []string{"hook", "other"}[len(w.chains)%2], after)
		w.mu.Lock()
		if after != "" {
			w.after[e.Key] = after
		}
		w.mu.Unlock()
		chain = append(chain, e.Key)
		w.put(e)
	}
	w.chains = append(w.chains, chain)
}

// carry hands the tenant over from one node to the other.
func (w *world) carry(to string) {
	t, _ := w.state.View().Tenant("acme")
	from := w.state.View().Owner(t)
	if from == to || from == "" {
		return
	}
	w.move("acme", to, false)
	if err := w.nodes[from].box.Park(context.Background(), everybody, 2*time.Second); err != nil {
		w.t.Error(err)
	}
	t, _ = w.state.View().Tenant("acme")
	c, _ := w.state.View().Cohort(t.Cohort)
	if _, err := w.apply(&fsm.Release{Cohort: c.ID, Epoch: c.Epoch}); err != nil {
		w.t.Error(err)
	}
}

// redeliver brings back what is dead and has nothing after it.
func (w *world) redeliver() {
	v := w.state.View()
	var keys []string
	for d := range v.DeadLetters() {
		waits := false
		for key, before := range w.after {
			_, waiting := v.FindOutgoing("acme", key)
			waits = waits || before == d.Key && waiting
		}
		if !waits {
			keys = append(keys, d.Key)
		}
	}
	if _, err := w.apply(&fsm.Redeliver{Tenant: "acme", Keys: keys, At: time.Now().UnixMilli()}); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		w.made[key], w.lost[key], w.number[key] = 0, 0, 0
	}
}

// Whatever receivers do, and whatever happens to the nodes: nothing is lost, the
// order is kept, and only attempts that were made count.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "receivers")
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			"hand over", "hand over", "hand over", "wait", "wait", "wait long", "crash c", "crash d", "down", "up", "to c", "to d", "redeliver",
		}), 1, 25).Draw(rt, "steps")
		lengths := rapid.SliceOfN(rapid.IntRange(1, 4), 25, 25).Draw(rt, "lengths")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			w := &world{
				rig: newRig(t), random: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*member{}, after: map[string]string{},
				accepted: map[string]int{}, final: map[string]bool{}, made: map[string]int{}, lost: map[string]int{}, number: map[string]int{}, wrong: map[string]struct{}{},
			}
			w.configure("acme", 1, "hook", "other")
			w.register("d")
			w.start("c")
			w.start("d")
			calm := true // no outcome can have been lost
			for i, step := range steps {
				switch step {
				case "hand over":
					w.handOver(lengths[i])
				case "wait":
					pass(7 * time.Second)
				case "wait long":
					pass(3 * time.Hour)
				case "crash c", "crash d":
					node := step[len(step)-1:]
					w.nodes[node].end()
					w.start(node)
					calm = false
				case "down":
					w.locked(func() { w.down = true })
				case "up":
					w.locked(func() { w.down = false })
				case "to c", "to d":
					w.locked(func() { w.down = false }) // or it would wait for ever
					w.carry(step[len(step)-1:])
					calm = false
				case "redeliver":
					w.redeliver()
				}
				synctest.Wait()
			}
			w.locked(func() { w.down = false })
			w.mu.Lock()
			w.kind = true
			w.mu.Unlock()
			pass(2 * total())
			v := w.state.View()
			for _, chain := range w.chains {
				for _, key := range chain {
					d, dead := v.FindDead("acme", key)
					_, waiting := v.FindOutgoing("acme", key)
					switch {
					case waiting:
						w.complain("delivery %s still waits", key)
					case !dead && w.accepted[key] == 0:
						w.complain("delivery %s is lost", key)
					case dead && !w.final[key] && int(d.Attempts) <= len(Schedule):
						w.complain("delivery %s was given up after %d attempts: %s", key, d.Attempts, d.Reason)
					case dead && calm && int(d.Attempts) != w.made[key]:
						w.complain("dead letter %s counts %d attempts, %d were made", key, d.Attempts, w.made[key])
					case dead && int(d.Attempts) > w.lost[key]:
						w.complain("dead letter %s counts %d attempts, only %d began", key, d.Attempts, w.lost[key])
					}
				}
			}
			for _, m := range w.nodes {
				m.end()
				m.box.tries.mu.Lock()
				if n := len(m.box.tries.all); n > 0 {
					w.complain("%d attempts are still remembered", n)
				}
				m.box.tries.mu.Unlock()
				m.box.book.mu.Lock()
				if m.box.book.total != 0 {
					w.complain("%d slots are still taken", m.box.book.total)
				}
				m.box.book.mu.Unlock()
			}
			for text := range w.wrong {
				wrong = append(wrong, text)
			}
		})
		if len(wrong) > 0 {
			slices.Sort(wrong)
			rt.Fatalf("%q", wrong)
		}
	})
}
