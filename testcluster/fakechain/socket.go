package fakechain

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// socket is one websocket connection.
type socket struct {
	cancel context.CancelFunc
	out    chan []byte

	mu   sync.Mutex
	subs []string
}

func (e *Endpoint) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	s := &socket{cancel: cancel, out: make(chan []byte, 4096)}
	e.mu.Lock()
	down := e.down
	e.sockets[s] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.sockets, s)
		e.mu.Unlock()
	}()
	if down {
		return
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	writing.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case message := <-s.out:
				if conn.Write(ctx, websocket.MessageText, message) != nil {
					cancel()
					return
				}
			}
		}
	})
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var req request
		if json.Unmarshal(message, &req) != nil {
			return
		}
		resp, err := e.answerSocket(ctx, s, req)
		if err != nil {
			return // a fault of the transport
		}
		select {
		case s.out <- mustJSON(resp):
		case <-ctx.Done():
			return
		}
		if req.Method == "eth_subscribe" && resp.Error == nil {
			s.subscribe(string(resp.Result))
		}
	}
}

func (e *Endpoint) answerSocket(ctx context.Context, s *socket, req request) (response, error) {
	if req.Method != "eth_subscribe" {
		return e.answer(ctx, req)
	}
	resp := response{Version: "2.0", ID: req.ID}
	if f := e.enter(req.Method); f != nil {
		if f.kind != rpcError {
			return resp, httpFault{f}
		}
		resp.Error = &callError{f.code, f.text}
		return resp, nil
	}
	if string(req.param(0)) != `"newHeads"` {
		resp.Error = &callError{-32602, "only newHeads can be subscribed to"}
		return resp, nil
	}
	resp.Result = mustJSON(fmt.Sprintf("0xsub%d", s.subscriptions()+1))
	return resp, nil
}

func (s *socket) subscribe(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, id)
}

func (s *socket) subscriptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs)
}

// push queues a notification; a reader that is 4096 behind is cut off.
func (s *socket) push(header json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.subs {
		message := fmt.Sprintf(`{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":%s,"result":%s}}`, id, header)
		select {
		case s.out <- []byte(message):
		default:
			s.cancel()
		}
	}
}
