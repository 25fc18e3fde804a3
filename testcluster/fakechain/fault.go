package fakechain

import (
	"sync"
	"time"
)

type faultKind int

const (
	rpcError faultKind = iota + 1
	rawBody
	nullResult
	wrongChain
	partialReceipts
	foreignReceipts
	missingLogs
	wrongBlock
	slow
	closeConn
	httpStatus
)

// Fault is one way of misbehaving.
type Fault struct {
	kind       faultKind
	code       int
	text       string
	retryAfter time.Duration
	size       int
	times      int // 0: until healed
	release    *releaser
}

// Times limits a fault to the next n calls.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// RPCError answers a JSON-RPC error inside HTTP 200.
func RPCError(code int, message string) Fault {
	return Fault{kind: rpcError, code: code, text: message}
}

// Missing answers that there is no such method.
func Missing() Fault { return RPCError(-32601, "the method does not exist/is not available") }

// HTML answers a page, as load balancers do, with HTTP 200.
func HTML() Fault {
	return Fault{kind: rawBody, text: "<!DOCTYPE html><html><body>Service unavailable</body></html>"}
}

// Body answers any text with HTTP 200.
func Body(text string) Fault { return Fault{kind: rawBody, text: text} }

// Oversized answers so many bytes of white space.
func Oversized(bytes int) Fault { return Fault{kind: rawBody, size: bytes} }

// Null answers null: no such thing.
func Null() Fault { return Fault{kind: nullResult} }

// WrongChain makes eth_chainId and net_version name another chain.
func WrongChain(id int) Fault { return Fault{kind: wrongChain, code: id} }

// PartialReceipts leaves the last receipt of a block out.
func PartialReceipts() Fault { return Fault{kind: partialReceipts} }

// ForeignReceipts answers the receipts of the block before.
func ForeignReceipts() Fault { return Fault{kind: foreignReceipts} }

// MissingLogs answers receipts and logs without the logs, so that they
// contradict the header's bloom.
func MissingLogs() Fault { return Fault{kind: missingLogs} }

// WrongBlock answers the block before the one asked for.
func WrongBlock() Fault { return Fault{kind: wrongBlock} }

// Close closes the connection without an answer.
func Close() Fault { return Fault{kind: closeConn} }

// Status answers an HTTP status.
func Status(code int) Fault { return Fault{kind: httpStatus, code: code, text: "fault injected"} }

// TooMany answers HTTP 429, with a Retry-After when after is positive.
func TooMany(after time.Duration) Fault {
	return Fault{kind: httpStatus, code: 429, text: "slow down", retryAfter: after}
}

// Slow answers only after the returned function was called, or never.
func Slow() (f Fault, release func()) {
	r := &releaser{c: make(chan struct{})}
	return Fault{kind: slow, release: r}, r.free
}

type releaser struct {
	once sync.Once
	c    chan struct{}
}

func (r *releaser) free() { r.once.Do(func() { close(r.c) }) }
