package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// An attempt is in the journal of the node that made it: who wants to know all
// asks all.

// observe keeps an attempt in this node's journal. What it is given has no secrets.
func (n *Node) observe(m *notify.Notification, res notify.Result, err error, began time.Time) {
	a := m.Alert
	if m.TriggerID == "" { // a sample, which is no delivery: it counts, and nothing holds it back
		n.meter.attempted(a.Tenant, res, err)
		if box := n.outbox.Load(); box != nil {
			box.Spend(a.Tenant)
		}
		return
	}
	if !errors.Is(err, outbox.ErrNotBegun) {
		n.meter.attempted(a.Tenant, res, err)
	}
	attempt := journal.Attempt{
		Tenant: a.Tenant, Key: m.Key.String(), Alert: a.ID.String(), State: a.State.String(), Position: a.Position,
		MonitorID: a.MonitorID, Monitor: a.MonitorName, Network: a.Network, Block: a.Block, Tx: a.Tx,
		Trigger: m.TriggerID, Destination: notify.Destination(m.Trigger), Node: n.opts.Name,
		Round: m.Round, Began: began, Latency: time.Since(began), Status: res.Status, Outcome: journal.OutcomeSent, Excerpt: res.Excerpt,
	}
	if res.Latency > 0 {
		attempt.Latency = res.Latency
	}
	if err != nil {
		if errors.Is(err, outbox.ErrNotBegun) {
			return
		}
		attempt.Outcome, attempt.Error = journal.OutcomeFailed, err.Error()
		if res.Permanent {
			attempt.Outcome = journal.OutcomeRefused
		}
	}
	n.alone.attempted(laneOf(m), attempt.Error, began)
	n.journal.RecordAttempt(attempt)
}

// attemptsQuery asks a journal: which deliveries' keys begin with Start; for the
// attempts at the delivery of Tenant and Key; which of Tenant's deliveries in
// Accepted were accepted; or for what Filter chooses.
type attemptsQuery struct {
	Start    string          `json:"start,omitempty"`
	Tenant   string          `json:"tenant,omitempty"`
	Key      string          `json:"key,omitempty"`
	Accepted []string        `json:"accepted,omitempty"`
	Filter   *journal.Filter `json:"filter,omitempty"`
	Limit    int             `json:"limit,omitempty"` // 0: none
}

type attemptsAnswer struct {
	Refs     []journal.Ref     `json:"refs,omitempty"`
	Attempts []journal.Attempt `json:"attempts,omitempty"`
}

// maxAttemptsAnswer bounds what one node tells of at once.
const maxAttemptsAnswer = 100_000

func (n *Node) attempts(q attemptsQuery) (out attemptsAnswer, err error) {
	limit := min(cmp.Or(q.Limit, maxAttemptsAnswer), maxAttemptsAnswer)
	seq := n.journal.Attempts(q.Tenant, q.Key)
	switch {
	case q.Start != "":
		out.Refs, err = n.journal.Find(q.Start, limit)
		return out, err
	case len(q.Accepted) > 0:
		out.Refs, err = n.journal.Accepted(q.Tenant, q.Accepted)
		return out, err
	case q.Filter != nil:
		seq = n.journal.Latest(*q.Filter)
	}
	for a, err := range seq {
		if err != nil {
			return out, err
		}
		if out.Attempts = append(out.Attempts, a); len(out.Attempts) == limit {
			break
		}
	}
	return out, nil
}

func (n *Node) serveAttempts(w http.ResponseWriter, r *http.Request) { serveQuery(w, r, n.attempts) }

// serveQuery answers another node that gathers.
func serveQuery[Q, A any](w http.ResponseWriter, r *http.Request, own func(Q) (A, error)) {
	var q Q
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&q); err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	answer, err := own(q)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, answer)
}

// gatherAttempts asks every node's journal; attempts come in the order they began.
// silent are the nodes that could not be asked: what they have may be missing.
func (n *Node) gatherAttempts(ctx context.Context, q attemptsQuery) (attempts []journal.Attempt, refs []journal.Ref, silent []string) {
	silent = gather(ctx, n, "/rpc/attempts", q, n.attempts, func(answer attemptsAnswer) {
		attempts = append(attempts, answer.Attempts...)
		refs = append(refs, answer.Refs...)
	})
	slices.SortStableFunc(attempts, func(a, b journal.Attempt) int { return a.Began.Compare(b.Began) })
	return attempts, refs, silent
}

// gather asks every node the same, this one by calling own; take is called for one
// answer at a time. silent are the nodes that could not be asked, sorted.
func gather[Q, A any](ctx context.Context, n *Node, path string, q Q, own func(Q) (A, error), take func(A)) (silent []string) {
	return gatherWithin(ctx, attemptsPatience, n, path, q, own, take)
}

// gatherWithin is gather for what takes the nodes as long as patience.
func gatherWithin[Q, A any](ctx context.Context, patience time.Duration, n *Node, path string, q Q, own func(Q) (A, error), take func(A)) (silent []string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // there is nothing in it that could not be written
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for node := range n.state.View().Nodes() {
		all.Go(func() {
			var answer A
			var err error
			if node.Name == n.opts.Name {
				answer, err = own(q)
			} else {
				address := n.addressOf(consensus.Server{ID: node.Server, Address: node.Address})
				err = n.call(ctx, address, http.MethodPost, path, nil, body, &answer)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				n.log.Warn("a node could not be asked", "name", node.Name, "path", path, "error", err)
				silent = append(silent, node.Name)
				return
			}
			take(answer)
		})
	}
	all.Wait()
	slices.Sort(silent)
	return silent
}

// attemptsPatience is how long the other nodes may take to answer: less than an operator's command waits.
const attemptsPatience = 10 * time.Second
