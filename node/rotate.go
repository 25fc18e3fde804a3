package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// secretsEvery is how often the secrets that the folder refers to are looked at.
const secretsEvery = 10 * time.Second

// errNotInForce: what is in force is not what this node's folder says.
var errNotInForce = errors.New("its configuration in force is not that of this folder")

// noting is a resolver that keeps what it has found, also in vain.
type noting struct {
	spec.Resolver
	values map[spec.Secret]string
}

// Resolve finds a value, and keeps it.
func (r noting) Resolve(ctx context.Context, s spec.Secret) (string, error) {
	value, err := r.Resolver.Resolve(ctx, s)
	if err == nil {
		r.values[s] = value
	}
	return value, err
}

// fixed resolves secrets to what they were.
type fixed map[spec.Secret]string

// Resolve finds what a value was.
func (f fixed) Resolve(_ context.Context, s spec.Secret) (string, error) {
	if value, ok := f[s]; ok {
		return value, nil
	}
	return "", fmt.Errorf("%s %q was not there before: %w", s.Type, s.Value, spec.ErrSecretNotFound)
}

// watchSecrets takes over secrets of the folder that change while its documents
// stay as they are.
func (n *Node) watchSecrets(ctx context.Context) {
	ticker := time.NewTicker(secretsEvery)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text := ""
		if err := n.rotate(ctx); err != nil && ctx.Err() == nil {
			text = err.Error()
		}
		if text != "" && text != said {
			n.log.Error("a changed secret of the folder was not taken over", "folder", n.opts.Config, "error", text)
		}
		said = text
	}
}

// rotate seals anew what depends on files and variables that have changed since
// the folder was read. A tenant gets its new secrets only where the configuration
// in force is what the folder's documents give with the old ones: neither are
// documents taken over that somebody is editing, nor an older copy of them.
func (n *Node) rotate(ctx context.Context) error {
	n.importing.Lock()
	defer n.importing.Unlock()
	before := n.resolved
	changed, err := n.changedSecrets(ctx, before)
	if err != nil || !changed {
		return err
	}
	f, err := n.readFolder(ctx, n.opts.Config)
	if err != nil {
		return err
	}
	was := &folder{tree: f.tree, broken: f.broken}
	if err := was.pack(ctx, sealer{n.keeper, fixed(before)}); err != nil {
		return err
	}
	last, err := n.lastFolder()
	if err != nil {
		return err
	}
	untouched := last != nil && last.Done && last.Digest == was.digest
	if untouched {
		if err := n.noteFolder(f, false); err != nil {
			return err
		}
	}
	errs := []error{n.replace(ctx, fsm.Shared, was.shared, f.shared)}
	for _, tenant := range slices.Sorted(maps.Keys(f.tree.Tenants)) {
		switch {
		case f.refused[tenant] != nil && was.refused[tenant] != nil: // keeps what it has, as before
		case f.refused[tenant] != nil:
			errs = append(errs, fmt.Errorf("tenant %q: %w", tenant, f.refused[tenant]))
		case was.tenants[tenant] == nil:
			errs = append(errs, fmt.Errorf("tenant %q: %w", tenant, was.refused[tenant]))
		default:
			errs = append(errs, n.replace(ctx, tenant, was.tenants[tenant], f.tenants[tenant]))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: SIGHUP takes the folder over", err)
	}
	if untouched {
		return n.noteFolder(f, true)
	}
	return nil
}

// changedSecrets reports whether something resolves to another value. What does
// not resolve at the moment may be in the middle of its change.
func (n *Node) changedSecrets(ctx context.Context, before map[spec.Secret]string) (bool, error) {
	if len(before) == 0 {
		return false, nil
	}
	resolver, err := secrets.NewResolver(n.opts.Config, nil)
	if err != nil {
		return false, err
	}
	defer resolver.Close()
	changed := false
	var errs []error
	for s, value := range before {
		now, err := resolver.Resolve(ctx, s)
		switch {
		case err != nil:
			errs = append(errs, err)
		case now != value:
			changed = true
		}
	}
	return changed && len(errs) == 0, errors.Join(errs...)
}

// replace puts a tenant's configuration in force in the place of another one.
func (n *Node) replace(ctx context.Context, tenant string, was, now *store.Packed) error {
	if slices.EqualFunc(was.Manifest.Docs, now.Manifest.Docs, func(a, b fsm.Doc) bool { return a.Hash == b.Hash }) {
		return nil
	}
	for range putTries {
		changed, err := n.putOnce(ctx, tenant, now, was)
		switch {
		case errors.Is(err, fsm.ErrConflict):
			continue
		case err != nil:
			return err
		case changed:
			n.log.Info("a secret of the folder has changed and was taken over", "tenant", tenant)
			n.metrics.imports.WithLabelValues("changed").Inc()
		}
		return nil
	}
	return fmt.Errorf("tenant %q: %w", tenant, fsm.ErrConflict)
}
