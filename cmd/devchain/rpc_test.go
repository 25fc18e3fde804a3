package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// The client here is written by hand on purpose: the tests see the bytes that
// any client would.

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Message) }

type rpcRequest struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type rpcMessage struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
	Params struct {
		Subscription string          `json:"subscription"`
		Result       json.RawMessage `json:"result"`
	} `json:"params"`
}

func request(id int, method string, params ...any) rpcRequest {
	if params == nil {
		params = []any{}
	}
	return rpcRequest{Version: "2.0", ID: id, Method: method, Params: params}
}

// post sends one JSON document over HTTP and decodes the answer.
func post(ctx context.Context, url string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s: %s", resp.Status, data)
	}
	return json.Unmarshal(data, answer)
}

// tryCall calls a method over HTTP.
func tryCall[T any](ctx context.Context, url, method string, params ...any) (T, error) {
	var result T
	var message rpcMessage
	if err := post(ctx, url, request(1, method, params...), &message); err != nil {
		return result, fmt.Errorf("%s: %w", method, err)
	}
	if message.Error != nil {
		return result, fmt.Errorf("%s: %w", method, message.Error)
	}
	err := json.Unmarshal(message.Result, &result)
	return result, err
}

func call[T any](t *testing.T, url, method string, params ...any) T {
	t.Helper()
	result, err := tryCall[T](t.Context(), url, method, params...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// rpcBlock, rpcReceipt and rpcLog are what the tests look at in eth_ answers.
type rpcBlock struct {
	Number       string            `json:"number"`
	Hash         string            `json:"hash"`
	ParentHash   string            `json:"parentHash"`
	Timestamp    string            `json:"timestamp"`
	LogsBloom    string            `json:"logsBloom"`
	Transactions []json.RawMessage `json:"transactions"`
}

type rpcReceipt struct {
	TxHash      string   `json:"transactionHash"`
	BlockHash   string   `json:"blockHash"`
	BlockNumber string   `json:"blockNumber"`
	Status      string   `json:"status"`
	Contract    string   `json:"contractAddress"`
	Logs        []rpcLog `json:"logs"`
}

type rpcLog struct {
	Address string   `json:"address"`
	Topics  []string `json:"topics"`
	Data    string   `json:"data"`
	TxHash  string   `json:"transactionHash"`
	Removed bool     `json:"removed"`
}

func hexNumber(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func hexOf(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

func blockAt(t *testing.T, url string, number uint64) *rpcBlock {
	t.Helper()
	return call[*rpcBlock](t, url, "eth_getBlockByNumber", hexOf(number), true)
}

// wsClient is one WebSocket connection. Notifications that arrive while an
// answer is waited for are kept.
type wsClient struct {
	conn  *websocket.Conn
	notes []rpcMessage
}

func dialWS(t *testing.T, url string) *wsClient {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &wsClient{conn: conn}
}

func (c *wsClient) call(t *testing.T, method string, params ...any) json.RawMessage {
	t.Helper()
	if err := wsjson.Write(t.Context(), c.conn, request(7, method, params...)); err != nil {
		t.Fatal(err)
	}
	for {
		var message rpcMessage
		if err := wsjson.Read(t.Context(), c.conn, &message); err != nil {
			t.Fatal(err)
		}
		if message.Method != "" {
			c.notes = append(c.notes, message)
			continue
		}
		if message.Error != nil {
			t.Fatalf("%s: %v", method, message.Error)
		}
		return message.Result
	}
}

// nextHead returns the header of the next newHeads notification.
func (c *wsClient) nextHead(t *testing.T) rpcBlock {
	t.Helper()
	var message rpcMessage
	if len(c.notes) > 0 {
		message, c.notes = c.notes[0], c.notes[1:]
	} else if err := wsjson.Read(t.Context(), c.conn, &message); err != nil {
		t.Fatal(err)
	}
	var head rpcBlock
	if err := json.Unmarshal(message.Params.Result, &head); err != nil {
		t.Fatalf("notification %s: %v", message.Params.Result, err)
	}
	return head
}

// startChain serves a chain in this process and returns its server. It is shut
// down with the test, and must do so without an error.
func startChain(t *testing.T, change func(*options)) *server {
	t.Helper()
	opts := defaultOptions()
	opts.listen, opts.blockTime, opts.rate = "127.0.0.1:0", 0, 0
	if change != nil {
		change(&opts)
	}
	if err := opts.validate(); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := <-done; err != nil {
			t.Errorf("the chain did not stop cleanly: %v", err)
		}
	})
	return s
}

// eventually waits until try returns nil, and reports its last error otherwise.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}
