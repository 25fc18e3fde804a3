package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/worker/store"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

var errNoURL = errors.New("the cluster keeps documents of tenants in PostgreSQL: start every node with --postgres-url, or --postgres-url-file, of the same database")

func (o *Options) checkStore() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch o.TenantStore {
	case "", fsm.StoreEmbedded.String():
	case fsm.StorePostgres.String():
		if o.PostgresURL == "" {
			wrong("--tenant-store postgres: say where the database is, with --postgres-url or --postgres-url-file")
		}
	default:
		wrong("--tenant-store %q: want embedded or postgres", o.TenantStore)
	}
	if o.PostgresURL != "" {
		if err := postgres.CheckURL(o.PostgresURL); err != nil {
			wrong("--postgres-url: %w", err)
		}
	}
	if o.PostgresSourceURL != "" {
		if err := postgres.CheckURL(o.PostgresSourceURL); err != nil {
			wrong("--postgres-source-url: %w", err)
		}
	}
	if o.SourceInterval < 0 {
		wrong("--postgres-source-interval %v: want more than 0", o.SourceInterval)
	}
	return errs
}

// openContents connects to the database, whether it answers or not.
func (n *Node) openContents(ctx context.Context) (err error) {
	if n.opts.PostgresURL == "" {
		return nil
	}
	n.contents, err = postgres.New(postgres.Options{
		URL: n.opts.PostgresURL, Cluster: n.membership.Cluster, Identity: n.identity, Logger: n.log, Registerer: n.opts.Registry,
	})
	if err != nil {
		return fmt.Errorf("--postgres-url: %w", err)
	}
	n.clean.push(n.contents.Close)
	n.state.ReadOutside(n.contents)
	n.loops.Go(func() { n.report(n.contents.Run(ctx)) })
	return nil
}

// identity waits for the cluster's record, which the first leader makes, and returns
// which cluster this is.
func (n *Node) identity(ctx context.Context) (string, error) {
	for {
		changed := n.state.Changed(fsm.TopicCluster)
		if c := n.state.View().Cluster(); c.Name != "" {
			return c.ID, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-changed:
		}
	}
}

// storeErr is why contents outside of the state cannot be read or written at the
// moment, a *postgres.Outage; nil if they can, or if there are none.
func (n *Node) storeErr() error {
	if n.contents == nil || !n.state.View().NeedsOutside() {
		return nil
	}
	return n.contents.Err()
}

// storeCheck is storeErr without names of hosts and users: whoever reaches the port
// may read it.
func (n *Node) storeCheck() error {
	err := n.storeErr()
	if out, ok := errors.AsType[*postgres.Outage](err); ok {
		return errors.New(out.Brief() + " (the node's log says why, and so does `ozmo status`, of the leader)")
	}
	return err
}

// settleStore sees to it that this node and the cluster agree on where documents are
// kept. A cluster without tenants takes over what its first node was told.
func (n *Node) settleStore(ctx context.Context) error {
	for {
		v := n.state.View()
		has := v.Store()
		switch {
		case v.NeedsOutside() && n.contents == nil:
			return errNoURL
		case n.opts.TenantStore == "" || n.opts.TenantStore == has.Kind.String():
			return nil
		case has.Index != 0 || n.hasTenants(fsm.SourceFolder, fsm.SourceAPI, fsm.SourceTables):
			return fmt.Errorf("--tenant-store %s: the cluster keeps its tenants' documents in the store %q: to move them, start all nodes with --postgres-url and without --tenant-store, and run `ozmo tenant migrate --to %s --all`",
				n.opts.TenantStore, has.Kind, n.opts.TenantStore)
		}
		_, err := n.group.Propose(ctx, &fsm.SetStore{Kind: fsm.StorePostgres, Fresh: true})
		switch {
		case err == nil:
			n.log.Info("tenants' documents are kept in PostgreSQL")
			return nil
		case errors.Is(err, fsm.ErrConflict):
			n.log.Info("the tenant store cannot be set yet", "reason", err)
		case !errors.Is(err, consensus.ErrNoLeader) && !errors.Is(err, consensus.ErrUncertain) && !errors.Is(err, consensus.ErrGated):
			return fmt.Errorf("the tenant store: %w", err)
		}
		if err := n.pause(ctx, registerPause); err != nil {
			return err
		}
	}
}

// place stores the contents of a tenant's next version where they belong.
func (n *Node) place(ctx context.Context, v *fsm.View, tenant string, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error) {
	p := store.Placing{Put: n.putBlobs}
	if n.contents != nil {
		p.Outside = n.contents
	}
	return p.Place(ctx, v, tenant, m, blobs)
}

func (n *Node) putBlobs(ctx context.Context, blobs [][]byte) error {
	_, err := n.group.Propose(ctx, &fsm.PutBlobs{Blobs: blobs, At: time.Now().UnixMilli()})
	return err
}

// warm reads what this node's tenants need before anybody asks for it, so that an
// hour in which the database does not answer finds it there.
func (n *Node) warm(ctx context.Context) {
	if n.contents == nil {
		return
	}
	var done uint64
	for {
		tenants, leases := n.state.Changed(fsm.TopicTenants), n.state.Changed(fsm.TopicLeases)
		v := n.state.View()
		var retry <-chan time.Time
		if err := n.warmSince(v, done); err != nil {
			retry = time.After(time.Second)
		} else {
			done = v.Index()
		}
		select {
		case <-ctx.Done():
			return
		case <-tenants:
		case <-leases:
		case <-retry:
		}
	}
}

func (n *Node) warmSince(v *fsm.View, index uint64) error {
	var versions []*fsm.Manifest
	for id := range v.TenantsSince(index) {
		if t, ok := v.Tenant(id); ok && v.Owner(t) == n.opts.Name {
			versions = append(versions, t.Current.Manifest)
		}
	}
	return v.Prefetch(versions...)
}

// contentAge is how long contents that nothing uses are kept: whoever has put them
// may still be about to propose the version that does.
const contentAge = time.Hour

// collectContents deletes from the database what nothing uses, on the leader.
func (n *Node) collectContents(ctx context.Context) {
	if n.contents == nil || n.restoring.Load() {
		return
	}
	deleted, err := n.contents.Collect(ctx, contentAge, func() (func(fsm.Hash) bool, error) {
		if err := n.group.Barrier(ctx); err != nil {
			return nil, err
		}
		v := n.state.View()
		return func(h fsm.Hash) bool { return v.OutsideUses(h) > 0 }, nil
	})
	if err != nil {
		n.log.Warn("unused contents in PostgreSQL could not be collected", "error", err)
	}
	if deleted > 0 {
		n.log.Info("unused contents in PostgreSQL were collected", "deleted", deleted)
	}
}
