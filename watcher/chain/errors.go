package chain

import (
	"context"
	"errors"
)

var (
	// ErrNotFound: no endpoint has the block. At the tip it usually means that
	// the node which is asked lags behind the one which announced the head.
	ErrNotFound = errors.New("block not found")

	// ErrIncomplete: a block was answered, but not all of it: receipts or logs
	// are missing or belong to another block. Such a block is never announced.
	ErrIncomplete = errors.New("block incomplete")

	// ErrNoHeadSource: no endpoint of the network can push heads.
	ErrNoHeadSource = errors.New("no websocket endpoint to take heads from")

	// ErrWrongChain: an endpoint serves another chain than the network's.
	ErrWrongChain = errors.New("endpoint serves another chain")

	// ErrUnavailable: no endpoint could be asked at all.
	ErrUnavailable = errors.New("no endpoint available")
)

// Reason is a short, stable word for the cause of an error, fit for a metric
// label and a log line. Errors may name their own by a method Reason() string.
func Reason(err error) string {
	var named interface{ Reason() string }
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrWrongChain):
		return "wrong-chain"
	case errors.Is(err, ErrIncomplete):
		return "incomplete"
	case errors.As(err, &named):
		return named.Reason()
	case errors.Is(err, ErrNotFound):
		return "not-found"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "other"
}

type refetchKey struct{}

// Refetch marks a fetch as the repetition of an earlier one, so that it is
// counted apart: the budget of two calls per block is for first fetches.
func Refetch(ctx context.Context) context.Context {
	return context.WithValue(ctx, refetchKey{}, true)
}

// IsRefetch reports whether Refetch marked the context.
func IsRefetch(ctx context.Context) bool {
	marked, _ := ctx.Value(refetchKey{}).(bool)
	return marked
}
