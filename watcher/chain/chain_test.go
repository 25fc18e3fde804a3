package chain_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

type named struct{ error }

func (named) Reason() string { return "rate-limited" }

func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		"":             nil,
		"not-found":    fmt.Errorf("block 7: %w", chain.ErrNotFound),
		"incomplete":   fmt.Errorf("%w: %w", chain.ErrIncomplete, errors.New("no receipts")),
		"wrong-chain":  errors.Join(chain.ErrNotFound, chain.ErrWrongChain),
		"unavailable":  chain.ErrUnavailable,
		"timeout":      context.DeadlineExceeded,
		"canceled":     context.Canceled,
		"rate-limited": fmt.Errorf("x: %w", errors.Join(chain.ErrNotFound, named{errors.New("y")})),
		"other":        errors.New("z"),
	} {
		if got := chain.Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestRefetch(t *testing.T) {
	if chain.IsRefetch(t.Context()) || !chain.IsRefetch(chain.Refetch(t.Context())) {
		t.Error("the mark is not what Refetch made it")
	}
}
