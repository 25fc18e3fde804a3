package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// How long an HTTP channel waits, and how much it reads.
const (
	connectTimeout = 10 * time.Second
	sendTimeout    = 15 * time.Second // the whole attempt, up to the answer's header
	bodyTimeout    = 2 * time.Second  // the answer's body, which decides nothing
	maxBody        = 64 << 10         // bytes read of the answer
	maxExcerpt     = 1 << 10          // bytes kept of it
	maxRetryAfter  = 7 * 24 * time.Hour
)

// DialFunc opens connections. It is where an egress guard belongs: it resolves
// the name and connects to the address that it has judged, so that no name can
// point somewhere else. A refusal should wrap ErrForbidden.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// NewHTTPClient makes a client for HTTP channels; nil arguments mean a plain
// dialer and the system's certificates. Connections are reused. No proxy is
// taken from the environment: a guard in dial would only ever see the proxy.
func NewHTTPClient(dial DialFunc, tlsConfig *tls.Config) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connectTimeout)
			defer cancel()
			return dial(ctx, network, address)
		},
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is read is what counts against maxBody
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    10,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}}
}

// HTTP makes single attempts for channels that speak HTTP, by the rules of spec
// triggers-and-notifications §4 and §7.
type HTTP struct{ client *http.Client }

// NewHTTP sends through a client, nil meaning NewHTTPClient(nil, nil). Whatever
// the client says, redirects are not followed: they would lead around the
// signature's receiver and any guard of addresses.
func NewHTTP(client *http.Client) *HTTP {
	if client == nil {
		client = NewHTTPClient(nil, nil)
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Jar = nil
	return &HTTP{client: &c}
}

// Send makes one attempt for the channel of a name, with the request that build
// makes of a notification. What cannot be built is refused before any request.
func (h *HTTP) Send(ctx context.Context, name string, n *Notification, build func(*Notification) (Request, error)) (Result, error) {
	req, err := build(n)
	if err != nil {
		return Result{Permanent: true}, fmt.Errorf("%s: %w", name, err)
	}
	res, err := h.Do(ctx, req)
	if err != nil {
		return res, fmt.Errorf("%s: %w", name, err)
	}
	return res, nil
}

// Request is what an HTTP channel sends.
type Request struct {
	Method  string
	URL     string
	Header  http.Header
	Body    []byte
	Secrets []string // values that must not come back in an excerpt or error
}

// Do makes one attempt. The status alone decides: 2xx is success, whatever
// becomes of the body. Errors name scheme and host of the address, no more.
func (h *HTTP) Do(ctx context.Context, r Request) (Result, error) {
	red := newRedactor(r.URL, r.Secrets)
	target := r.Method + " " + spec.Redact(r.URL)

	// One clock after the other runs over the same context: the attempt's until
	// the header has come, then the body's.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clock := time.AfterFunc(sendTimeout, func() { cancel(ErrTimeout) })
	defer clock.Stop()

	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Result{Permanent: true}, fmt.Errorf("%s: %w: %w", target, ErrMisconfigured, red.cleanError(err))
	}
	if (req.URL.Scheme != "https" && req.URL.Scheme != "http") || req.URL.Host == "" {
		return Result{Permanent: true}, fmt.Errorf("%s: %w: want an address that begins with https:// or http:// and names a host", r.Method, ErrMisconfigured)
	}
	req.Header = r.Header
	// Otherwise the client repeats a request with an Idempotency-Key by itself when a
	// connection that was kept breaks: an attempt is one request.
	req.GetBody = nil
	if host := r.Header.Get("Host"); host != "" {
		req.Host = host // the client ignores it as a header
	}

	start := time.Now()
	resp, err := h.client.Do(req)
	res := Result{Latency: time.Since(start), Bytes: len(r.Body)}
	if err != nil {
		res.Permanent = errors.Is(err, ErrForbidden) || errors.Is(err, ErrMisconfigured)
		if errors.Is(context.Cause(ctx), ErrTimeout) {
			return res, fmt.Errorf("%s: %w (%s)", target, ErrTimeout, sendTimeout)
		}
		return res, fmt.Errorf("%s: %w", target, red.cleanError(err))
	}
	defer resp.Body.Close()
	clock.Reset(bodyTimeout)
	res.Status = resp.StatusCode
	res.Excerpt = readExcerpt(resp.Body, red)
	if accepted(res.Status) {
		return res, nil
	}
	res.Permanent = permanent(res.Status)
	res.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return res, fmt.Errorf("%s: %w: %s", target, ErrRefused, describe(res))
}

// readExcerpt reads a bounded part of an answer's body. Reading to the end lets
// the connection be used again; failing to do so is no failure of the attempt.
func readExcerpt(body io.Reader, red redactor) string {
	data, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	whole := err == nil && len(data) <= maxBody
	return red.excerpt(data[:min(len(data), maxBody)], whole)
}

func accepted(status int) bool { return status >= 200 && status <= 299 }

// permanent tells a refusal for good from one that may pass. 410 is among the
// former: the receiver wants to hear nothing any more.
func permanent(status int) bool {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return false
	default:
		return status < 500
	}
}

func describe(res Result) string {
	text := "answered " + strconv.Itoa(res.Status)
	if name := http.StatusText(res.Status); name != "" {
		text += " " + name
	}
	switch {
	case res.Status >= 300 && res.Status <= 399:
		text += " (redirects are not followed: use the final address)"
	case res.RetryAfter > 0:
		text += ", asking to wait " + res.RetryAfter.String()
	}
	return text
}

// retryAfter reads a Retry-After header, in seconds or as a date; what it
// cannot read, or lies in the past, is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

func misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMisconfigured, fmt.Sprintf(format, args...))
}
