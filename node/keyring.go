package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/gossip"
)

// Keyring tells which gossip keys there are, and which nodes lack one.
func (n *Node) Keyring(context.Context) (api.Keyring, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Keyring{}, err
	}
	v := n.state.View()
	keys, err := openKeys(v.Cluster(), n.keeper)
	if err != nil {
		return api.Keyring{}, err
	}
	known, _ := n.contacts.all()
	out := api.Keyring{}
	for range v.Nodes() {
		out.Nodes++
	}
	for i, key := range keys {
		id := gossip.KeyID(key)
		k := api.KeyStatus{ID: id, Primary: i == 0}
		for node := range v.Nodes() {
			if h, ok := known[node.Name]; !ok || !slices.Contains(h.Keys, id) {
				k.Missing = append(k.Missing, node.Name)
			}
		}
		out.Keys = append(out.Keys, k)
	}
	return out, nil
}

// ChangeKeyring changes the gossip keys. A key is used only once every node has
// it, so that no node is shut out.
func (n *Node) ChangeKeyring(ctx context.Context, change, id string) (api.Keyring, error) {
	ring, err := n.Keyring(ctx)
	if err != nil {
		return ring, err
	}
	v := n.state.View()
	c := v.Cluster()
	if len(c.Keys) == 0 && change != "install" || n.opts.Insecure {
		return ring, fmt.Errorf("%w: this cluster's gossip is not encrypted", api.ErrRefused)
	}
	i := slices.IndexFunc(ring.Keys, func(k api.KeyStatus) bool { return k.ID == id })
	if change != "install" && i < 0 {
		return ring, fmt.Errorf("gossip key %q: %w", id, fsm.ErrNotFound)
	}
	next := c
	next.Keys = slices.Clone(c.Keys)
	switch change {
	case "install":
		key := make([]byte, gossipKeySize)
		_, _ = rand.Read(key) // never fails
		next.Keys = append(next.Keys, sealKey(n.keeper, key))
	case "use":
		if missing := ring.Keys[i].Missing; len(missing) > 0 {
			return ring, fmt.Errorf("%w: nodes %v do not have key %s yet: wait, or remove those that are gone", api.ErrRefused, missing, id)
		}
		sealed := next.Keys[i]
		next.Keys = slices.Insert(slices.Delete(next.Keys, i, i+1), 0, sealed)
	case "remove":
		if i == 0 {
			return ring, fmt.Errorf("%w: key %s is in use: use another one first", api.ErrRefused, id)
		}
		next.Keys = slices.Delete(next.Keys, i, i+1)
	default:
		return ring, fmt.Errorf("%w: keyring %q: want install, use or remove", api.ErrBadRequest, change)
	}
	if _, err := n.group.Propose(ctx, &fsm.SetCluster{Expect: c.Index, Cluster: next}); err != nil {
		return ring, err
	}
	return n.Keyring(ctx)
}
