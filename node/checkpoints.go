package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// importCheckpoints gives networks that have not begun the place where
// OpenZeppelin Monitor left off.
func (n *Node) importCheckpoints(ctx context.Context, keysOf func(slug string) []string) error {
	checkpoints, problems := spec.ReadCheckpoints(os.DirFS(n.opts.Checkpoints))
	n.logProblems(problems)
	if err := problems.Err(); err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	for _, slug := range slices.Sorted(maps.Keys(checkpoints)) {
		c := checkpoints[slug]
		if c.LastBlock == 0 {
			continue
		}
		missed := slices.DeleteFunc(slices.Clone(c.Missed), func(h uint64) bool { return h > c.LastBlock })
		keys := keysOf(slug)
		if len(keys) == 0 {
			n.log.Warn("checkpoint ignored: there is no network of that slug", "slug", slug)
		}
		for _, key := range keys {
			_, err := n.group.Propose(ctx, &fsm.StartNetwork{Network: key, Height: c.LastBlock + 1, Missed: missed})
			switch {
			case errors.Is(err, fsm.ErrConflict):
				n.log.Info("checkpoint ignored: the network has begun here", "network", key)
			case err != nil:
				return fmt.Errorf("checkpoint of %s: %w", key, err)
			default:
				n.log.Info("checkpoint imported", "network", key, "from", c.LastBlock+1, "missed", len(missed))
			}
		}
	}
	return nil
}

// networksCalled are the keys of the folder's networks, shared or private, of a
// slug.
func (f *folder) networksCalled(slug string) []string {
	var keys []string
	if f.tree.Networks[slug] != nil {
		keys = append(keys, store.Key(fsm.Shared, slug))
	}
	for _, tenant := range slices.Sorted(maps.Keys(f.tenants)) {
		if f.tree.Tenants[tenant].Networks[slug] != nil {
			keys = append(keys, store.Key(tenant, slug))
		}
	}
	return keys
}

// networksCalled are the keys of the networks, shared or private, of a slug.
func (n *Node) networksCalled(slug string) []string {
	var keys []string
	for network := range n.state.View().Networks() {
		if _, s := store.Owner(network.Key); s == slug {
			keys = append(keys, network.Key)
		}
	}
	return keys
}
