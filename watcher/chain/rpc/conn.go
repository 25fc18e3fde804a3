package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Conn makes calls to one endpoint, on behalf of one use of Do.
type Conn struct {
	pool *Pool
	ep   *endpoint
	kind Kind
}

// Endpoint is the scheme and host of the endpoint.
func (c *Conn) Endpoint() string { return c.ep.redact.host }

// As is the same endpoint with calls counted as another kind. Hedged attempts
// stay what they are.
func (c *Conn) As(kind Kind) *Conn {
	if c.kind == Hedge {
		return c
	}
	return &Conn{pool: c.pool, ep: c.ep, kind: kind}
}

// Lacks reports whether the endpoint said within the last hour that it does
// not offer a method.
func (c *Conn) Lacks(method string) bool { return c.ep.lacks(method, time.Now()) }

// Call sends one request. The error is an *Error, or that of ctx.
func (c *Conn) Call(ctx context.Context, method string, params ...any) (*Reply, error) {
	body, err := appendRequest(nil, 1, method, params)
	if err != nil {
		return nil, err
	}
	if err := c.pool.admit(ctx, 1); err != nil {
		return nil, err
	}
	c.count(ctx, method, 1)
	buf, err := c.post(ctx, body)
	if err != nil {
		return nil, c.failed(method, err)
	}
	env, err := parseEnvelope(buf.b)
	if err != nil {
		return nil, c.failed(method, c.malformed(buf.b, err))
	}
	if err := c.outcome(env); err != nil {
		return nil, c.failed(method, err)
	}
	return &Reply{Result: env.result, buf: buf}, nil
}

// Batches is the pseudo-method which an endpoint Lacks when it refused a batch.
const Batches = "batch"

// Request is one element of a batch.
type Request struct {
	Method string
	Params []any
}

// Answer is the outcome of one element of a batch.
type Answer struct {
	Result json.RawMessage
	Err    error // *Error: this element failed
}

// Batch sends requests in one HTTP request. The error is about the batch as a
// whole; answers come in the order of the requests and share the Reply's
// memory, which is valid until its Release.
func (c *Conn) Batch(ctx context.Context, requests []Request) ([]Answer, *Reply, error) {
	body := []byte{'['}
	for i, r := range requests {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = appendRequest(body, i+1, r.Method, r.Params); err != nil {
			return nil, nil, err
		}
	}
	if err := c.pool.admit(ctx, len(requests)); err != nil {
		return nil, nil, err
	}
	for _, r := range requests {
		c.count(ctx, r.Method, 1)
	}
	buf, err := c.post(ctx, append(body, ']'))
	if err != nil {
		return nil, nil, c.refused(err)
	}
	envelopes, err := parseBatch(buf.b)
	if err != nil {
		// A node without batches answers with one error object.
		if env, single := parseEnvelope(buf.b); single == nil {
			if err := c.outcome(env); err != nil {
				return nil, nil, c.refused(err)
			}
		}
		return nil, nil, c.refused(c.malformed(buf.b, err))
	}
	answers := make([]Answer, len(requests))
	for i := range answers {
		answers[i].Err = &Error{
			Endpoint: c.ep.redact.host, Method: requests[i].Method, reason: ReasonMalformed, Message: "batch answered without this element",
		}
	}
	for _, env := range envelopes {
		id, err := strconv.Atoi(string(bytes.Trim(env.id, `"`)))
		if err != nil || id < 1 || id > len(answers) {
			continue
		}
		answers[id-1] = Answer{Result: env.result}
		if err := c.outcome(env); err != nil {
			answers[id-1] = Answer{Err: c.failed(requests[id-1].Method, err)}
		}
	}
	return answers, &Reply{buf: buf}, nil
}

// outcome turns the error member of a response into an *Error.
func (c *Conn) outcome(env envelope) error {
	return outcome(c.ep.redact, env)
}

func outcome(r *redactor, env envelope) error {
	if env.err == nil {
		if env.result == nil {
			return &Error{Endpoint: r.host, reason: ReasonMalformed, Message: "answer has neither result nor error"}
		}
		return nil
	}
	var e struct {
		Code    json.Number `json:"code"`
		Message string      `json:"message"`
	}
	if err := json.Unmarshal(env.err, &e); err != nil {
		// Some proxies send a bare text.
		return &Error{Endpoint: r.host, reason: rpcReason(0, string(env.err)), Message: r.clean(string(env.err))}
	}
	code, _ := strconv.Atoi(e.Code.String())
	return &Error{Endpoint: r.host, Code: code, reason: rpcReason(code, e.Message), Message: r.clean(e.Message)}
}

func (c *Conn) count(ctx context.Context, method string, n int) {
	chain.Count(ctx, n)
	c.pool.counts.add(c.kind, n)
	c.pool.opts.Metrics.calls.WithLabelValues(c.pool.opts.Network, c.kind.String(), method).Add(float64(n))
}

// failed completes an error and lets the endpoint draw its conclusions.
func (c *Conn) failed(method string, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // errors of this package, not wrapped yet
	if !ok {
		return err
	}
	e.Method = method
	now := time.Now()
	switch e.reason {
	case ReasonRateLimited:
		c.ep.pause(now, e.RetryAfter)
	case ReasonMethodMissing:
		c.ep.setLacks(method, now)
	case ReasonNetwork, ReasonTimeout:
		c.ep.disconnected()
	}
	c.pool.opts.Metrics.errors.WithLabelValues(c.pool.opts.Network, e.Endpoint, e.reason).Inc()
	return e
}

// refused is failed for a batch. What is not about the connection or the rate
// is taken as a refusal of batches altogether.
func (c *Conn) refused(err error) error {
	err = c.failed(Batches, err)
	switch e, _ := errors.AsType[*Error](err); {
	case e == nil:
	case e.reason == ReasonStatus, e.reason == ReasonMalformed, e.reason == ReasonRPC:
		c.ep.setLacks(Batches, time.Now())
	}
	return err
}

func (c *Conn) malformed(body []byte, err error) *Error {
	return malformed(c.ep.redact, body, err)
}

func malformed(r *redactor, body []byte, err error) *Error {
	e := &Error{Endpoint: r.host, reason: ReasonMalformed, Message: err.Error()}
	start := bytes.TrimSpace(body[:min(len(body), 120)])
	switch {
	case len(start) == 0:
		e.Message = "empty body"
	case start[0] == '<':
		e.Message = "HTML instead of JSON: " + r.clean(string(start))
	case start[0] != '{' && start[0] != '[':
		e.Message = "not JSON: " + r.clean(string(start))
	}
	return e
}

func appendRequest(b []byte, id int, method string, params []any) ([]byte, error) {
	if params == nil {
		params = []any{} // null is refused by some nodes
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("%s: parameters: %w", method, err)
	}
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendInt(b, int64(id), 10)
	b = append(b, `,"method":`...)
	b = strconv.AppendQuote(b, method)
	b = append(b, `,"params":`...)
	b = append(b, text...)
	return append(b, '}'), nil
}
