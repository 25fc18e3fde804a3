package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// leaderPatience is how long a request waits for a leader to say what was committed
// before: as long as a command that is proposed.
const leaderPatience = 5 * time.Second

// caughtUp waits until this node has what was committed before. Without a leader
// nobody knows what that is; the error wraps api.ErrUnavailable then.
func (n *Node) caughtUp(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, leaderPatience, fmt.Errorf("waited %v", leaderPatience))
	defer cancel()
	if err := n.group.Barrier(limited); err != nil {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return nil
}
