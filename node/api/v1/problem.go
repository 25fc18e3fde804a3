package v1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
)

// huma makes the problems of what it finds wrong by itself through this variable.
// The values it found are left out: they may be secret.
func init() {
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		if status == http.StatusInternalServerError && msg == unreadBody {
			status = http.StatusBadRequest
		}
		p := newProblem(ctx.Context(), status, msg)
		for _, err := range errs {
			p.Add(err)
		}
		for _, d := range p.Errors {
			d.Value = nil
		}
		return p
	}
}

// unreadBody is what huma says of a body that breaks off, or is not encoded as its
// header says: a fault of the sender's, which it takes for one of the node's.
const unreadBody = "cannot read request body"

func newProblem(ctx context.Context, status int, detail string) *huma.ErrorModel {
	p := &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
	if id := requestID(ctx); id != "" {
		p.Instance = "urn:ozmo:request:" + id
	}
	return p
}

// TypeOverQuota is the type of problems of what a tenant may not have so much of: unlike
// other conflicts, trying again is of no use.
const TypeOverQuota = "urn:ozmo:problem:over-quota"

// errConflict refuses what the present state does not allow.
var errConflict = errors.New("conflict")

func conflictf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errConflict, fmt.Errorf(format, args...))
}

// statuses maps errors to HTTP. What is not in it is the node's own fault.
var statuses = []struct {
	err    error
	status int
}{
	{errNoKey, http.StatusUnauthorized},
	{errThrottled, http.StatusTooManyRequests},
	{errTooFast, http.StatusTooManyRequests},
	{errTooManyStreams, http.StatusTooManyRequests},
	{errNotThere, http.StatusNotFound},
	{fsm.ErrNotFound, http.StatusNotFound},
	{errConflict, http.StatusConflict},
	{fsm.ErrConflict, http.StatusConflict},
	{fsm.ErrTooMany, http.StatusConflict},
	{fsm.ErrQuota, http.StatusConflict},
	{api.ErrRefused, http.StatusConflict},
	{api.ErrBadRequest, http.StatusUnprocessableEntity},
	{fsm.ErrUnreachable, http.StatusServiceUnavailable},
	{api.ErrUnavailable, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
}

// waiting is an error that goes away by itself.
type waiting struct {
	error
	wait time.Duration
}

func (w *waiting) Unwrap() error { return w.error }

func later(err error, wait time.Duration) error { return &waiting{err, wait} }

// problemOf is an error as its problem. All that is not found looks the same, but to
// operators.
func (a *API) problemOf(ctx context.Context, err error) error {
	if p, ok := errors.AsType[*huma.ErrorModel](err); ok { // huma's own, of a precondition
		told := newProblem(ctx, p.Status, p.Detail)
		for _, d := range p.Errors {
			told.Errors = append(told.Errors, &huma.ErrorDetail{Message: d.Message, Location: d.Location})
		}
		if h, ok := errors.AsType[huma.HeadersError](err); ok {
			return huma.ErrorWithHeaders(told, h.GetHeaders())
		}
		return told
	}
	if e, ok := errors.AsType[*spec.ProblemsError](err); ok {
		p := newProblem(ctx, http.StatusUnprocessableEntity, "the document is not valid")
		for _, one := range e.Problems {
			p.Errors = append(p.Errors, &huma.ErrorDetail{Message: one.Message, Location: location(one.Path)})
		}
		return p
	}
	if e, ok := errors.AsType[*errRole](err); ok {
		return newProblem(ctx, http.StatusForbidden, e.Error())
	}
	status := http.StatusInternalServerError
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			status = s.status
			break
		}
	}
	p := newProblem(ctx, status, err.Error())
	if errors.Is(err, fsm.ErrQuota) {
		p.Type = TypeOverQuota
	}
	header := http.Header{}
	switch status {
	case http.StatusInternalServerError:
		a.log.Error("a request failed", "request", requestID(ctx), "error", err)
		p.Detail = "the node could not do this; its log tells why, under the id of this request"
	case http.StatusNotFound:
		if actorOf(ctx).Role != fsm.RoleOperator {
			p.Detail = errNotThere.Error()
		}
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="ozmo"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		wait := time.Second
		if w, ok := errors.AsType[*waiting](err); ok {
			wait = w.wait
		}
		header.Set("Retry-After", strconv.Itoa(seconds(max(wait, time.Second))))
	default:
	}
	if len(header) == 0 {
		return p
	}
	return huma.ErrorWithHeaders(p, header)
}

// location is the place of a problem of a document, as huma names places.
func location(path string) string {
	switch {
	case path == "":
		return "body"
	case path[0] == '[':
		return "body" + path
	default:
		return "body." + path
	}
}

// refuse answers with a problem before a handler is reached.
func (a *API) refuse(ctx huma.Context, err error) {
	told := a.problemOf(ctx.Context(), err)
	if h, ok := errors.AsType[huma.HeadersError](told); ok {
		for name, values := range h.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
	}
	p, _ := errors.AsType[*huma.ErrorModel](told)
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetStatus(p.Status)
	enc := json.NewEncoder(ctx.BodyWriter())
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the peer is gone: nothing to do about it
}
