package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Meter tells how long after a block became available at the endpoint each node
// had applied its announcement. The chain must not be reorganised. The time of a
// block is when a subscription of the meter's own tells it; nodes are asked every
// few milliseconds what they have applied.
type Meter struct {
	network string
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	seen    map[uint64]time.Time            // by height
	head    uint64                          // newest height seen
	applied map[string]map[uint64]time.Time // by node and height
	tops    map[string]uint64               // newest height applied, by node
	late    []time.Duration                 // of timers: the scheduler's delay
	err     error
}

const (
	askApplied = 10 * time.Millisecond
	askLate    = 5 * time.Millisecond
)

// NewMeter measures a network of a cluster until the test ends.
func NewMeter(t testing.TB, c *Cluster, chain *Chain, network string) *Meter {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &Meter{network: network, cancel: cancel, seen: map[uint64]time.Time{}, applied: map[string]map[uint64]time.Time{}, tops: map[string]uint64{}}
	t.Cleanup(m.Stop)
	conn, err := subscribeHeads(ctx, chain.WS)
	if err != nil {
		t.Fatal(err)
	}
	m.running.Go(func() {
		defer func() { _ = conn.CloseNow() }()
		err := m.readHeads(ctx, conn)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.err = err
	})
	for _, member := range c.Members {
		m.applied[member.Name] = map[uint64]time.Time{}
		m.running.Go(func() { m.follow(ctx, member) })
	}
	m.running.Go(func() { m.watchScheduler(ctx) })
	return m
}

// Stop ends the measuring.
func (m *Meter) Stop() {
	m.cancel()
	m.running.Wait()
}

// subscribeHeads asks an endpoint for its new heads.
func subscribeHeads(ctx context.Context, url string) (*websocket.Conn, error) {
	conn, resp, err := websocket.Dial(ctx, url, nil)
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	request := `{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}`
	if err := conn.Write(ctx, websocket.MessageText, []byte(request)); err != nil {
		return nil, errors.Join(err, conn.CloseNow())
	}
	return conn, nil
}

func (m *Meter) readHeads(ctx context.Context, conn *websocket.Conn) error {
	conn.SetReadLimit(1 << 20)
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		at := time.Now()
		var message struct {
			Params struct {
				Result struct {
					Number string `json:"number"`
				} `json:"result"`
			} `json:"params"`
		}
		if err := json.Unmarshal(data, &message); err != nil {
			return err
		}
		if message.Params.Result.Number == "" {
			continue // the answer to the request
		}
		height, err := strconv.ParseUint(message.Params.Result.Number, 0, 64)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.seen[height], m.head = at, max(m.head, height)
		m.mu.Unlock()
	}
}

func (m *Meter) follow(ctx context.Context, member *Member) {
	ticker := time.NewTicker(askApplied)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if member.pid.Load() == 0 || member.paused.Load() {
			continue
		}
		s, err := member.Local(ctx)
		if err != nil {
			continue // it is down
		}
		n, err := networkOf(s, m.network)
		if err != nil {
			continue // it is just starting
		}
		m.note(member.Name, n.Head.Height, time.Now())
	}
}

func (m *Meter) note(node string, height uint64, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if height <= m.tops[node] {
		return // nothing new, or it is replaying its log
	}
	from := m.tops[node] + 1
	if m.tops[node] == 0 {
		from = height
	}
	for h := from; h <= height; h++ {
		m.applied[node][h] = at
	}
	m.tops[node] = height
}

// watchScheduler measures how late timers are: what a busy machine adds to
// every time measured here.
func (m *Meter) watchScheduler(ctx context.Context) {
	for {
		timer := time.NewTimer(askLate)
		due := time.Now().Add(askLate)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		late := time.Since(due)
		m.mu.Lock()
		m.late = append(m.late, late)
		m.mu.Unlock()
	}
}

// Head is the newest height that the endpoint has told.
func (m *Meter) Head() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head
}

// Gap is the longest time from a block's being available until any of the nodes
// had applied its announcement, of the heights from..to. Blocks that none has
// applied yet are an error.
func (m *Meter) Gap(from, to uint64, nodes []*Member) (worst time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInVain, m.err)
	}
	for h := from; h <= to; h++ {
		available, ok := m.seen[h]
		if !ok {
			return 0, fmt.Errorf("height %d is not there yet", h)
		}
		var first time.Time
		for _, n := range nodes {
			if at, ok := m.applied[n.Name][h]; ok && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if first.IsZero() {
			return 0, fmt.Errorf("height %d is announced on none of the surviving nodes", h)
		}
		worst = max(worst, first.Sub(available))
	}
	return worst, nil
}

// Late is the scheduler's delay since the last call.
func (m *Meter) Late() (p99, worst time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.late) == 0 {
		return 0, 0
	}
	slices.Sort(m.late)
	p99, worst = m.late[len(m.late)*99/100], m.late[len(m.late)-1]
	m.late = m.late[:0]
	return p99, worst
}
