package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// ErrBehind is returned by the function given to Do when an endpoint answers,
// but from an older state than others do. It loses its place for a while.
var ErrBehind = errors.New("endpoint is behind")

// ErrForbidden is what Options.Dial returns, wrapped, for an endpoint that the
// operator does not let tenants use.
var ErrForbidden = errors.New("endpoint is not allowed")

// The reasons of an Error, as metrics and logs spell them.
const (
	ReasonNetwork       = "network"        // connection refused, reset, name not found
	ReasonForbidden     = "forbidden"      // the operator does not allow its address
	ReasonTimeout       = "timeout"        // no complete answer in time
	ReasonStatus        = "http-status"    // an HTTP status other than 2xx
	ReasonRateLimited   = "rate-limited"   // HTTP 429, or its JSON-RPC forms
	ReasonMalformed     = "malformed"      // not JSON-RPC: HTML, text, cut JSON
	ReasonOversized     = "oversized"      // more bytes than allowed
	ReasonRPC           = "rpc-error"      // a JSON-RPC error
	ReasonMethodMissing = "method-missing" // the endpoint does not offer the method
)

// Error is a failed request to one endpoint.
type Error struct {
	Endpoint   string // scheme://host, never more of the URL
	Method     string // empty for a batch
	Status     int    // HTTP status, 0 when none was received
	Code       int    // JSON-RPC error code, 0 when there was none
	Message    string // what the endpoint or the network said, redacted
	RetryAfter time.Duration

	reason string
	cause  error // for errors.Is only; its text may hold a URL
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Endpoint)
	if e.Method != "" {
		b.WriteString(": " + e.Method)
	}
	b.WriteString(": " + e.reason)
	if e.Status != 0 && e.Status/100 != 2 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, " (code %d)", e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Reason is one of the Reason constants.
func (e *Error) Reason() string { return e.reason }

// Unwrap makes errors.Is work for context errors.
func (e *Error) Unwrap() error { return e.cause }

// IsMethodMissing reports whether the endpoint said that it does not offer
// the method, rather than that the call failed.
func IsMethodMissing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.reason == ReasonMethodMissing
}

// transportError keeps the cause of a failed request and drops the URL that
// net/http puts in front of it.
func transportError(r *redactor, err error) *Error {
	out := &Error{Endpoint: r.host, reason: ReasonNetwork, cause: err}
	text := err
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		text = wrapped.Err
	}
	out.Message = r.clean(text.Error())
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, ErrForbidden):
		out.reason = ReasonForbidden
	case errors.Is(err, context.DeadlineExceeded), ok && timeout.Timeout():
		out.reason = ReasonTimeout
	}
	return out
}

// The texts by which nodes and providers say that they lack a method, beside
// the code -32601, and that they are asked too often, beside HTTP 429.
var (
	missingTexts = []string{
		"method not found", "does not exist", "is not available", "not supported", "unsupported method",
		"method is not allowed", "method not allowed", "not whitelisted", "unknown method", "not implemented",
	}
	limitTexts = []string{
		"rate limit", "rate-limit", "ratelimit", "too many requests", "request limit", "limit exceeded", "throttle",
		"capacity", "quota", "compute units per second",
	}
)

const (
	codeMethodNotFound = -32601
	codeUnsupported    = -32004 // EIP-1474: method not supported
	codeLimitExceeded  = -32005 // EIP-1474: limit exceeded
)

// rpcReason sorts a JSON-RPC error.
func rpcReason(code int, message string) string {
	message = strings.ToLower(message)
	says := func(texts []string) bool {
		for _, t := range texts {
			if strings.Contains(message, t) {
				return true
			}
		}
		return false
	}
	// The limit comes first: "the method is rate limited, not available" is
	// about now, and a method once called missing is left alone for an hour.
	switch {
	case code == codeMethodNotFound, code == codeUnsupported:
		return ReasonMethodMissing
	case code == codeLimitExceeded, code == 429, says(limitTexts):
		return ReasonRateLimited
	case says(missingTexts) && strings.Contains(message, "method"):
		return ReasonMethodMissing
	}
	return ReasonRPC
}
