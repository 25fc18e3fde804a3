package v1

import (
	"context"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// Before a key is refused, a node makes sure that it has what was committed: a key that
// was made a moment ago on another node is good here, and a node that has just begun knows
// none. It is so for every refusal, so that nobody learns from the time it takes which
// keys there are; asking the leader costs a round of messages, so few do at a time.
const (
	certainPatience = time.Second
	certainAtOnce   = 8
)

var errUncertain = fmt.Errorf("%w: this node cannot tell yet whether the key is valid, since it has not caught up with the cluster", api.ErrUnavailable)

// certain waits until the view shows all keys that were there when it was called. Its error
// is errUncertain.
func (a *API) certain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, certainPatience)
	defer cancel()
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-ctx.Done():
		return errUncertain
	}
	if a.backend.CatchUp(ctx) != nil {
		return errUncertain // why is for operators to know: who asks has shown no key yet
	}
	return nil
}
