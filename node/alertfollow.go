package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// Whoever follows a tenant's alerts follows every node: a tenant moves, and what one
// node fired another may retract. A node tells what its journal has since a time,
// then "live", then what happens.

// followQuery asks a node for the changes of a tenant's alerts as they happen.
type followQuery struct {
	Tenant journal.Tenant `json:"tenant"`
	Since  int64          `json:"since"` // Unix milliseconds; 0: from now on
}

// followLine is a line of the answer. An empty one says that the node is there.
type followLine struct {
	Event  *api.AlertEvent `json:"event,omitempty"`
	Live   bool            `json:"live,omitempty"`   // the past has been told
	Cut    bool            `json:"cut,omitempty"`    // with Live: it was too much, the oldest of it was left out
	Missed uint64          `json:"missed,omitempty"` // changes that were left out
}

const (
	// overlap is by how much what is told again reaches back: a change is dated
	// before it is committed.
	overlap = 10 * time.Second
	// maxPast bounds the changes of the past that a node tells.
	maxPast = 2000
	// aliveEvery is how often a node says that it is there.
	aliveEvery = 2 * time.Second
)

var errOver = errors.New("the node ends")

// followHere tells of this node's changes until ctx or the node ends, or tell fails.
func (n *Node) followHere(ctx context.Context, q followQuery, tell func(followLine) error) error {
	live, end := n.news.listen(q.Tenant)
	defer end()
	past, cut, err := n.past(q)
	if err != nil {
		return err
	}
	for _, e := range past {
		if err := tell(followLine{Event: e}); err != nil {
			return err
		}
	}
	if err := tell(followLine{Live: true, Cut: cut}); err != nil {
		return err
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		line := followLine{}
		select {
		case line.Event = <-live.events:
		case <-alive.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.news.over:
			return errOver
		}
		if err := tell(line); err != nil {
			return err
		}
		if missed := live.missed.Swap(0); missed > 0 {
			if err := tell(followLine{Missed: missed}); err != nil {
				return err
			}
		}
	}
}

// past is what the journal has since a time, oldest first, the newest where it is too
// much.
func (n *Node) past(q followQuery) (out []*api.AlertEvent, cut bool, err error) {
	if q.Since == 0 {
		return nil, false, nil
	}
	for c, err := range n.journal.Since(q.Tenant, time.UnixMilli(q.Since)) {
		if err != nil {
			return nil, false, err
		}
		for i := range c.Alert.History {
			if change := &c.Alert.History[i]; change.State == c.State && change.Position == c.Position {
				out = append(out, eventOf(&c.Alert, change))
			}
		}
		if len(out) > 2*maxPast {
			out, cut = out[len(out)-maxPast:], true
		}
	}
	if over := len(out) - maxPast; over > 0 {
		out, cut = out[over:], true
	}
	return out, cut, nil
}

func (n *Node) serveFollow(w http.ResponseWriter, r *http.Request) {
	var q followQuery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&q); err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	err := n.followHere(r.Context(), q, func(line followLine) error {
		if err := enc.Encode(line); err != nil {
			return err
		}
		return flush.Flush()
	})
	if err != nil && r.Context().Err() == nil && !errors.Is(err, errOver) {
		n.log.Warn("a node could not be told of alerts any more", "tenant", q.Tenant.ID, "error", err)
	}
}

// followThere is followHere of another node.
func (n *Node) followThere(ctx context.Context, address string, q followQuery, tell func(followLine) error) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	resp, err := n.open(ctx, address, http.MethodPost, "/rpc/alerts/follow", nil, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var line followLine
		if err := lines.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = errOver
			}
			return err
		}
		if err := tell(line); err != nil {
			return err
		}
	}
}
