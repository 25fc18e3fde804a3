package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Reply is the result of a call. Result lies in a buffer that is used again
// after Release; a Reply that is not released is left to the collector.
type Reply struct {
	Result json.RawMessage
	buf    *buffer
}

// Null reports whether the result is null: the node has no such thing.
func (r *Reply) Null() bool { return bytes.Equal(r.Result, []byte("null")) }

// Release gives the memory of Result back. It must not be used afterwards.
func (r *Reply) Release() {
	if r != nil && r.buf != nil {
		r.Result = nil
		putBuffer(r.buf)
		r.buf = nil
	}
}

type buffer struct{ b []byte }

// Larger buffers are not kept: one unusual block must not stay in memory.
const maxPooled = 16 << 20

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func putBuffer(buf *buffer) {
	if cap(buf.b) <= maxPooled {
		buf.b = buf.b[:0]
		buffers.Put(buf)
	}
}

// post sends a body and returns that of a 2xx response. Errors are *Error
// without a method, or the error of ctx.
func (c *Conn) post(ctx context.Context, body []byte) (*buffer, error) {
	attempt, cancel := context.WithTimeout(ctx, c.pool.opts.Timeout)
	defer cancel()
	if err := c.wait(attempt); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &Error{Endpoint: c.ep.redact.host, reason: ReasonRateLimited, Message: "own rate limit: no room within the time allowed"}
	}
	start := time.Now()
	req, err := http.NewRequestWithContext(attempt, http.MethodPost, c.ep.url, bytes.NewReader(body))
	if err != nil {
		return nil, transportError(c.ep.redact, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.pool.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, transportError(c.ep.redact, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, c.statusError(resp)
	}
	buf, _ := buffers.Get().(*buffer)
	buf.b, err = readBody(buf.b[:0], resp, c.pool.opts.MaxBody)
	if err != nil {
		putBuffer(buf)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := err.(*Error); ok { //nolint:errorlint // made by readBody
			e.Endpoint, e.Status = c.ep.redact.host, resp.StatusCode
			return nil, e
		}
		return nil, transportError(c.ep.redact, err)
	}
	m := c.pool.opts.Metrics
	m.latency.WithLabelValues(c.pool.opts.Network, c.kind.String()).Observe(time.Since(start).Seconds())
	m.received.WithLabelValues(c.pool.opts.Network).Add(float64(len(buf.b)))
	return buf, nil
}

// wait keeps to our own rate limit.
func (c *Conn) wait(ctx context.Context) error {
	if c.ep.limiter == nil {
		return nil
	}
	return c.ep.limiter.Wait(ctx)
}

// statusError reads what an endpoint says beside an HTTP error: JSON-RPC
// errors come with many statuses.
func (c *Conn) statusError(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	e := &Error{Endpoint: c.ep.redact.host, reason: ReasonStatus}
	if env, err := parseEnvelope(text); err == nil && env.err != nil {
		if rpcErr, ok := c.outcome(env).(*Error); ok { //nolint:errorlint // made by outcome
			e = rpcErr
			if e.reason == ReasonRPC {
				e.reason = ReasonStatus
			}
		}
	} else {
		e.Message = c.ep.redact.clean(string(bytes.TrimSpace(text)))
	}
	e.Status = resp.StatusCode
	if resp.StatusCode/100 == 3 {
		e.Message = "redirects are not followed: configure the final URL"
	}
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable && e.RetryAfter > 0 {
		e.reason = ReasonRateLimited
	}
	return e
}

// retryAfter reads both forms of the header: seconds and a date. 0 when there
// is none.
func retryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(value); err == nil && s > 0 {
		return time.Duration(min(s, int(maxPause/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// readBody reads into b, growing it once where the length is known.
func readBody(b []byte, resp *http.Response, limit int64) ([]byte, error) {
	tooBig := func() error {
		return &Error{reason: ReasonOversized, Message: fmt.Sprintf("response larger than %d bytes", limit)}
	}
	if resp.ContentLength > limit {
		return b, tooBig()
	}
	if n := int(resp.ContentLength); n >= cap(b) {
		b = make([]byte, 0, n+1) // one more: the read that finds the end needs room
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := resp.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			return b, tooBig()
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
