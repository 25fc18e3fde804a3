package fakechain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

type request struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *callError      `json:"error,omitempty"`
}

type callError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *callError) Error() string { return e.Message }

// httpFault is a fault of the transport: it takes the whole response.
type httpFault struct{ *Fault }

func (httpFault) Error() string { return "fault of the transport" }

var null = json.RawMessage("null")

// ServeHTTP answers requests, batches and websocket handshakes.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		e.serveSocket(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	out, err := e.serve(r.Context(), body)
	if fault, ok := errors.AsType[httpFault](err); ok {
		fault.write(w)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out)
}

// serve answers one body.
func (e *Endpoint) serve(ctx context.Context, body []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte{'['}) {
		var req request
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		resp, err := e.answer(ctx, req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(resp)
	}
	var batch []request
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, err
	}
	if f := e.enter("batch"); f != nil {
		if f.kind != rpcError {
			return nil, httpFault{f}
		}
		return json.Marshal(response{Version: "2.0", ID: null, Error: &callError{f.code, f.text}})
	}
	out := make([]response, len(batch))
	for i, req := range batch {
		resp, err := e.answer(ctx, req)
		if err != nil {
			return nil, err
		}
		out[len(batch)-1-i] = resp // the order of a batch's answers is free
	}
	return json.Marshal(out)
}

func (e *Endpoint) answer(ctx context.Context, req request) (response, error) {
	resp := response{Version: "2.0", ID: req.ID}
	f := e.enter(req.Method)
	if f != nil {
		switch f.kind {
		case rawBody, closeConn, httpStatus:
			return resp, httpFault{f}
		case rpcError:
			resp.Error = &callError{f.code, f.text}
			return resp, nil
		case nullResult:
			resp.Result = null
			return resp, nil
		case slow:
			select {
			case <-f.release.c:
			case <-ctx.Done():
				return resp, httpFault{&Fault{kind: closeConn}}
			}
		}
	}
	result, err := e.call(req, f)
	if err != nil {
		rpcErr, ok := errors.AsType[*callError](err)
		if !ok {
			rpcErr = &callError{-32602, err.Error()}
		}
		resp.Error = rpcErr
		return resp, nil
	}
	resp.Result = result
	return resp, nil
}

func (f httpFault) write(w http.ResponseWriter) {
	switch f.kind {
	case rawBody:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, f.text+strings.Repeat(" ", f.size))
	case httpStatus:
		if f.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter/time.Second)))
		}
		http.Error(w, f.text, f.code)
	default:
		panic(http.ErrAbortHandler) // net/http's way of cutting the connection
	}
}

// call answers a method; f changes the answer, it may be nil.
func (e *Endpoint) call(req request, f *Fault) (json.RawMessage, error) {
	v := e.view()
	is := func(k faultKind) bool { return f != nil && f.kind == k }
	id := e.chain.opts.ChainID
	if is(wrongChain) {
		id = uint64(f.code) //nolint:gosec // small, from the test
	}
	switch req.Method {
	case "eth_chainId":
		return mustJSON(hexInt(id)), nil
	case "net_version":
		return mustJSON(strconv.FormatUint(id, 10)), nil
	case "web3_clientVersion":
		return mustJSON("fakechain/1"), nil
	case "eth_blockNumber":
		return mustJSON(hexInt(v.head)), nil
	case "eth_getBlockByNumber", "eth_getBlockByHash":
		b, err := v.find(req.param(0))
		if b != nil && is(wrongBlock) {
			b = v.at(b.Number - 1)
		}
		if b == nil || err != nil {
			return null, err
		}
		if string(req.param(1)) == "true" {
			return b.full, nil
		}
		return b.light, nil
	case "eth_getBlockReceipts":
		b, err := v.find(req.param(0))
		if b != nil && is(foreignReceipts) {
			b = v.at(b.Number - 1)
		}
		if b == nil || err != nil {
			return null, err
		}
		list := b.receipts
		if is(partialReceipts) && len(list) > 0 {
			list = list[:len(list)-1]
		}
		if is(missingLogs) {
			list = withoutLogs(list)
		}
		return mustJSON(list), nil
	case "eth_getTransactionReceipt":
		return v.receipt(req.param(0), is(missingLogs))
	case "eth_getLogs":
		return v.logs(req.param(0), is(missingLogs))
	}
	return nil, &callError{-32601, "the method " + req.Method + " does not exist/is not available"}
}

func (r request) param(i int) json.RawMessage {
	if i < len(r.Params) {
		return r.Params[i]
	}
	return null
}

// find reads a tag, a height or a hash.
func (v view) find(param json.RawMessage) (*Block, error) {
	var s string
	if err := json.Unmarshal(param, &s); err != nil {
		return nil, errors.New("want a block tag, number or hash")
	}
	switch s {
	case "latest", "pending":
		return v.at(v.head), nil
	case "earliest":
		return v.at(v.chain.opts.First), nil
	}
	if len(s) == 66 {
		h, err := fsm.ParseHash(s)
		return v.byHash(h), err
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	return v.at(n), err
}

func (v view) receipt(param json.RawMessage, noLogs bool) (json.RawMessage, error) {
	var hash fsm.Hash
	if err := json.Unmarshal(param, &hash); err != nil {
		return nil, err
	}
	v.chain.mu.Lock()
	b := v.chain.byTx[hash]
	v.chain.mu.Unlock()
	if b == nil || b.Number > v.head {
		return null, nil
	}
	for i := range b.Txs {
		if b.Txs[i].Hash == hash {
			if noLogs {
				return withoutLogs(b.receipts[i : i+1])[0], nil
			}
			return b.receipts[i], nil
		}
	}
	return null, nil
}

// logs knows the filters by block only: what the tests' subjects ask for.
func (v view) logs(param json.RawMessage, none bool) (json.RawMessage, error) {
	var filter struct {
		BlockHash *fsm.Hash       `json:"blockHash"`
		From      json.RawMessage `json:"fromBlock"`
		To        json.RawMessage `json:"toBlock"`
	}
	if err := json.Unmarshal(param, &filter); err != nil {
		return nil, err
	}
	var b *Block
	if filter.BlockHash != nil {
		if b = v.byHash(*filter.BlockHash); b == nil {
			return nil, &callError{-32000, "unknown block"}
		}
	} else {
		if !bytes.Equal(filter.From, filter.To) {
			return nil, &callError{-32005, "query spans more than one block"}
		}
		var err error
		if b, err = v.find(filter.From); err != nil {
			return nil, err
		}
	}
	if b == nil || none {
		return json.RawMessage("[]"), nil // like most nodes beyond their head
	}
	return b.logs, nil
}

func withoutLogs(receipts []json.RawMessage) []json.RawMessage {
	out := make([]json.RawMessage, len(receipts))
	for i, r := range receipts {
		var m map[string]json.RawMessage
		_ = json.Unmarshal(r, &m) // made by render
		m["logs"] = json.RawMessage("[]")
		out[i] = mustJSON(m)
	}
	return out
}
