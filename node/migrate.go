package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Migrate moves the documents of a tenant to another store, or, without a tenant,
// says that new tenants begin there. Versions and their contents stay what they are,
// and whoever judges goes on: nothing is judged differently, nor later. What was
// interrupted is taken up by asking again.
func (n *Node) Migrate(ctx context.Context, m api.Migration) (api.Migrated, error) {
	out := api.Migrated{Tenant: m.Tenant, To: m.To}
	to, err := storeCalled(m.To)
	if err == nil {
		err = n.mustBeMember()
	}
	if err != nil {
		return out, err
	}
	if to == fsm.StorePostgres && n.contents == nil {
		return out, fmt.Errorf("%w: this node was not told where the PostgreSQL database is: start all nodes with --postgres-url", api.ErrRefused)
	}
	for range putTries {
		if err = n.group.Barrier(ctx); err != nil {
			return out, unavailable(err)
		}
		if m.Tenant == fsm.Shared {
			out.Changed, err = n.setStore(ctx, to)
		} else {
			out.Changed, out.Versions, err = n.moveContents(ctx, m.Tenant, to == fsm.StorePostgres)
		}
		if !errors.Is(err, fsm.ErrConflict) {
			break
		}
	}
	return out, unavailable(err)
}

func storeCalled(name string) (fsm.StoreKind, error) {
	for _, k := range []fsm.StoreKind{fsm.StoreEmbedded, fsm.StorePostgres} {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%w: store %q: want embedded or postgres", api.ErrBadRequest, name)
}

func (n *Node) setStore(ctx context.Context, to fsm.StoreKind) (changed bool, err error) {
	has := n.state.View().Store()
	if has.Kind == to {
		return false, nil
	}
	_, err = n.byOperator(ctx, &fsm.SetStore{Expect: has.Index, Kind: to}, "store.set", "", to.String())
	return err == nil, err
}

func (n *Node) moveContents(ctx context.Context, tenant string, outside bool) (changed bool, versions int, err error) {
	v := n.state.View()
	t, err := findTenant(v, tenant)
	if err != nil {
		return false, 0, err
	}
	c := &fsm.MoveContents{Tenant: tenant, Born: t.Born, Expect: t.Current.Number, Outside: outside}
	var from []*fsm.Manifest
	for _, version := range append(slices.Clone(t.Previous), t.Current) {
		if version.Manifest.Outside != outside {
			from = append(from, version.Manifest)
		}
	}
	if len(from) == 0 {
		return false, 0, nil
	}
	if err := v.Prefetch(from...); err != nil {
		return false, 0, err
	}
	var blobs [][]byte
	seen := map[fsm.Hash]bool{}
	for _, m := range from {
		for _, hash := range m.Hashes() {
			if seen[hash] {
				continue
			}
			seen[hash] = true
			data, err := v.Content(hash)
			if err != nil {
				return false, 0, fmt.Errorf("tenant %q: %w", tenant, err)
			}
			if outside {
				c.Sizes = append(c.Sizes, fsm.ContentSize{Hash: hash, Size: int64(len(data))})
			}
			if outside || !v.BlobUsed(hash) {
				blobs = append(blobs, data)
			}
		}
	}
	if outside {
		err = n.contents.Put(ctx, blobs, nil)
	} else {
		for _, chunk := range store.Chunks(blobs) {
			if err = n.putBlobs(ctx, chunk); err != nil {
				break
			}
		}
	}
	if err == nil {
		to := fsm.StoreEmbedded
		if outside {
			to = fsm.StorePostgres
		}
		_, err = n.byOperator(ctx, c, "tenant.migrate", tenant, to.String())
	}
	return err == nil, len(from), err
}
