package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	keepHeads    = 1024    // block-to-alert times are looked up soon
	headMessage  = 1 << 20 // bytes, the most of one message
	dialPatience = 10 * time.Second
)

// head is a new block as its chain announced it, and when.
type head struct {
	number       uint64
	hash, parent string
	at           time.Time
}

// headLog knows when blocks became available. The demo keeps its own, so that
// the node's word is not taken for how fast the node is.
type headLog struct {
	mu      sync.Mutex
	begun   bool
	first   uint64 // height of the first head
	last    head
	parents map[string]time.Time // when a block's first child came
	order   []string             // keys of parents, oldest first
	jumps   []head               // heads that did not follow the one before: reorganisations
	changed chan struct{}        // closed at the next head
}

func newHeadLog() *headLog {
	return &headLog{parents: make(map[string]time.Time), changed: make(chan struct{})}
}

func (l *headLog) add(h head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.begun:
		l.begun, l.first = true, h.number
	case h.parent != l.last.hash:
		l.jumps = append(l.jumps, h)
		l.jumps = l.jumps[max(0, len(l.jumps)-keepHeads):]
	}
	l.last = h
	if _, known := l.parents[h.parent]; !known {
		l.parents[h.parent] = h.at
		l.order = append(l.order, h.parent)
		if len(l.order) > keepHeads {
			delete(l.parents, l.order[0])
			l.order = l.order[1:]
		}
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// tip is the newest head.
func (l *headLog) tip() (head, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.begun
}

// confirmed is when the block that confirms another one became available. After
// a reorganisation a chain may announce only the newest block of its branch:
// with it came all below. more is closed when asking again may bring an answer;
// it is nil when nothing will.
func (l *headLog) confirmed(height uint64, hash string) (at time.Time, known bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.parents[hash]; ok {
		return at, true, nil
	}
	if l.begun && height+1 < l.first {
		return time.Time{}, false, nil // before this log began
	}
	for _, jump := range slices.Backward(l.jumps) {
		if jump.number > height {
			return jump.at, true, nil
		}
	}
	return time.Time{}, false, l.changed
}

// await is confirmed for alerts that may be faster than the chain's word to
// this log. It gives up at the end of ctx.
func (l *headLog) await(ctx context.Context, height uint64, hash string) (time.Time, bool) {
	for {
		at, known, more := l.confirmed(height, hash)
		if known || more == nil {
			return at, known
		}
		select {
		case <-ctx.Done():
			return time.Time{}, false
		case <-more:
		}
	}
}

// subscribeHeads has a chain's new heads written to the log until ctx ends. It
// returns when the chain has accepted; what ends the subscription later is sent
// to the channel.
func subscribeHeads(ctx context.Context, url string, log *headLog) (<-chan error, error) {
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	conn, response, err := websocket.Dial(dial, url, nil)
	if response != nil && response.Body != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the simulated chain: %w", err)
	}
	conn.SetReadLimit(headMessage)
	const request = `{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}`
	if err := conn.Write(dial, websocket.MessageText, []byte(request)); err != nil {
		conn.CloseNow()
		return nil, fmt.Errorf("subscribe to the simulated chain: %w", err)
	}
	var answer struct {
		Result string          `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	err = readJSON(dial, conn, &answer)
	if err == nil && answer.Result == "" {
		err = fmt.Errorf("it answered %s", clean(string(answer.Error)))
	}
	if err != nil {
		conn.CloseNow()
		return nil, fmt.Errorf("subscribe to the simulated chain: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		defer conn.CloseNow()
		ended <- readHeads(ctx, conn, log)
	}()
	return ended, nil
}

func readHeads(ctx context.Context, conn *websocket.Conn, log *headLog) error {
	for {
		var note struct {
			Params struct {
				Result struct {
					Number string `json:"number"`
					Hash   string `json:"hash"`
					Parent string `json:"parentHash"`
				} `json:"result"`
			} `json:"params"`
		}
		if err := readJSON(ctx, conn, &note); err != nil {
			return fmt.Errorf("the subscription to the simulated chain ended: %w", err)
		}
		at := time.Now()
		r := note.Params.Result
		number, err := strconv.ParseUint(r.Number, 0, 64)
		if err != nil {
			return fmt.Errorf("the simulated chain announced block %q: %w", clean(r.Number), err)
		}
		log.add(head{number: number, hash: r.Hash, parent: r.Parent, at: at})
	}
}

func readJSON(ctx context.Context, conn *websocket.Conn, v any) error {
	_, data, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
