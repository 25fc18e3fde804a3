package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// ImportReport tells what a folder brought.
type ImportReport struct {
	Problems spec.Problems
	Tenants  int      // in the folder
	Changed  []string // tenants that have a new version now
	Removed  []string
	Refused  []string // tenants that keep what they had, because of errors
}

// ErrSharedNetworks refuses a whole folder: every tenant depends on these.
var ErrSharedNetworks = errors.New("the shared networks are refused; nothing was changed")

// Import takes over a folder of documents: each tenant entirely, or not at all
// where it has errors. Tenants that are no longer in the folder are deleted.
func (n *Node) Import(ctx context.Context, dir string) (*ImportReport, error) {
	n.importing.Lock()
	defer n.importing.Unlock()
	resolver, err := secrets.NewResolver(dir, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: configuration folder %s: %w", errRefused, dir, err)
	}
	defer resolver.Close()
	tree, problems := spec.ReadTree(os.DirFS(dir), spec.WithResolver(ctx, resolver), spec.WithTime(time.Now()))
	problems = append(problems, match.CheckTree(tree)...)
	report := &ImportReport{Problems: problems, Tenants: len(tree.Tenants)}
	n.logProblems(problems)
	broken := brokenTenants(problems)
	sealer := sealer{n.keeper, resolver}
	if broken[fsm.Shared] {
		return report, fmt.Errorf("%w:\n%w", ErrSharedNetworks, problems.Err())
	}
	if len(tree.Tenants) == 0 && n.hasTenants() {
		return report, fmt.Errorf("%w: the folder %s holds no tenant at all: nothing was deleted (is it mounted? to end the last tenant, leave its monitors/ empty)", errRefused, dir)
	}
	shared, err := store.PackShared(ctx, tree.Networks, sealer)
	if err != nil {
		return report, fmt.Errorf("%w: %w", ErrSharedNetworks, err)
	}
	if err := n.checkNetworks(fsm.Shared, tree.Networks); err != nil {
		return report, fmt.Errorf("%w: %w", ErrSharedNetworks, err)
	}
	// What a refused tenant still uses must not vanish under it.
	n.keepUsed(&shared.Manifest, broken)
	if _, err := n.put(ctx, fsm.Shared, shared); err != nil {
		return report, err
	}
	if err := n.importTenants(ctx, tree, broken, sealer, report); err != nil {
		return report, err
	}
	if err := n.removeOthers(ctx, tree, broken, report); err != nil {
		return report, err
	}
	n.log.Info("configuration read", "folder", dir, "tenants", report.Tenants,
		"changed", len(report.Changed), "removed", len(report.Removed), "refused", len(report.Refused))
	return report, nil
}

var errRefused = errors.New("refused, what was there stays")

// hasTenants reports whether the state has any.
func (n *Node) hasTenants() bool {
	for t := range n.state.View().Tenants() {
		if t.ID != fsm.Shared {
			return true
		}
	}
	return false
}

// importParallel is how many tenants are taken over at a time: their proposals
// share commits.
const importParallel = 64

// importTenants takes over each tenant entirely, or not at all.
func (n *Node) importTenants(ctx context.Context, tree *spec.Tree, broken map[string]bool, sealer store.Sealer, report *ImportReport) error {
	names := slices.Sorted(maps.Keys(tree.Tenants))
	changed, refused := make([]bool, len(names)), make([]error, len(names))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(importParallel)
	for i, name := range names {
		work.Go(func() (err error) {
			changed[i], err = n.importTenant(ctx, name, tree, broken[name], sealer)
			if errors.Is(err, errRefused) {
				refused[i] = err
				return nil
			}
			return err
		})
	}
	err := work.Wait()
	for i, name := range names {
		switch {
		case refused[i] != nil:
			n.log.Error("this tenant's configuration was not taken over", "tenant", name, "error", refused[i])
			report.Refused = append(report.Refused, name)
			n.metrics.imports.WithLabelValues("refused").Inc()
		case changed[i]:
			report.Changed = append(report.Changed, name)
			n.metrics.imports.WithLabelValues("changed").Inc()
		case err == nil:
			n.metrics.imports.WithLabelValues("unchanged").Inc()
		}
	}
	return err
}

func (n *Node) importTenant(ctx context.Context, name string, tree *spec.Tree, broken bool, sealer store.Sealer) (changed bool, err error) {
	if broken {
		return false, fmt.Errorf("its documents have errors: %w", errRefused)
	}
	folder := tree.Tenants[name]
	if err := n.checkNetworks(name, folder.Networks); err != nil {
		return false, fmt.Errorf("%w: %w", err, errRefused)
	}
	packed, err := store.Pack(ctx, name, folder, tree.Networks, sealer)
	if err != nil {
		return false, fmt.Errorf("%w: %w", err, errRefused)
	}
	return n.put(ctx, name, packed)
}

// checkNetworks refuses what would turn a network into another one: its past
// would be a lie.
func (n *Node) checkNetworks(tenant string, networks map[string]*spec.Network) error {
	v := n.state.View()
	for slug, doc := range networks {
		old, _, err := store.FindNetwork(v, store.Key(tenant, slug))
		if err != nil || old.ChainID == nil || doc.ChainID == nil || *old.ChainID == *doc.ChainID {
			continue
		}
		return fmt.Errorf("network %s: its chain_id cannot change from %d to %d: give the other chain a slug of its own",
			store.Key(tenant, slug), *old.ChainID, *doc.ChainID)
	}
	return nil
}

// keepUsed carries over shared networks that are gone from the folder, but used
// by tenants that keep their old configuration.
func (n *Node) keepUsed(m *fsm.Manifest, broken map[string]bool) {
	v := n.state.View()
	old, ok := v.Tenant(fsm.Shared)
	if !ok {
		return
	}
	for name := range broken {
		t, ok := v.Tenant(name)
		if !ok {
			continue
		}
		for _, key := range t.Current.Manifest.Wanted {
			_, kept := m.Find(fsm.DocNetwork, key)
			if d, was := old.Current.Manifest.Find(fsm.DocNetwork, key); was && !kept {
				m.Docs = append(m.Docs, d)
				m.Normalize()
			}
		}
	}
}

// putTries bounds how often a configuration is proposed that other nodes are
// putting in force at the same time.
const putTries = 5

// put proposes a tenant's configuration, if it differs from the one in force.
// Nodes that start together read the same folder: whoever comes second finds
// that nothing is left to do.
func (n *Node) put(ctx context.Context, tenant string, p *store.Packed) (changed bool, err error) {
	for range putTries {
		changed, err = n.putOnce(ctx, tenant, p)
		if !errors.Is(err, fsm.ErrConflict) {
			break
		}
	}
	return changed, err
}

func (n *Node) putOnce(ctx context.Context, tenant string, p *store.Packed) (changed bool, err error) {
	if err := n.group.Barrier(ctx); err != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	v := n.state.View()
	c := &fsm.SetTenantVersion{Tenant: tenant, Manifest: p.Manifest, At: time.Now().UnixMilli()}
	if t, ok := v.Tenant(tenant); ok {
		if reflect.DeepEqual(*t.Current.Manifest, p.Manifest) {
			return false, nil
		}
		c.Expect = t.Current.Number
	}
	for _, chunk := range chunks(p.Blobs, v) {
		if _, err := n.group.Propose(ctx, &fsm.PutBlobs{Blobs: chunk, At: time.Now().UnixMilli()}); err != nil {
			return false, fmt.Errorf("tenant %q: %w", tenant, err)
		}
	}
	if _, err := n.group.Propose(ctx, c); err != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	return true, nil
}

// chunks groups blobs into commands of bearable size. Those already there are
// sent again all the same when nothing uses them: they might be collected.
func chunks(blobs [][]byte, v *fsm.View) [][][]byte {
	var out [][][]byte
	size := 0
	for _, b := range blobs {
		if v.BlobUsed(fsm.HashBlob(b)) {
			continue
		}
		if len(out) == 0 || size+len(b) > fsm.MaxBlobChunk {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], b)
		size += len(b)
	}
	return out
}

func (n *Node) removeOthers(ctx context.Context, tree *spec.Tree, broken map[string]bool, report *ImportReport) error {
	for t := range n.state.View().Tenants() {
		if t.ID == fsm.Shared || tree.Tenants[t.ID] != nil || broken[t.ID] {
			continue
		}
		c := &fsm.DeleteTenant{Tenant: t.ID, Expect: t.Current.Number, At: time.Now().UnixMilli()}
		_, err := n.group.Propose(ctx, c)
		if errors.Is(err, fsm.ErrNotFound) {
			continue // another node has read the same folder
		}
		if err != nil {
			return fmt.Errorf("tenant %q is gone from the folder: %w", t.ID, err)
		}
		report.Removed = append(report.Removed, t.ID)
	}
	return nil
}

// brokenTenants are those with an error in their files; fsm.Shared stands for
// the shared networks.
func brokenTenants(problems spec.Problems) map[string]bool {
	out := map[string]bool{}
	for _, p := range problems.Errors() {
		parts := strings.Split(filepath.ToSlash(p.File), "/")
		switch {
		case len(parts) > 1 && parts[0] == "tenants":
			out[parts[1]] = true
		case parts[0] == "networks", parts[0] == "tenants":
			// The folder of all tenants cannot be read: that does not mean that
			// they are gone.
			out[fsm.Shared] = true
		default:
			out[spec.DefaultTenant] = true
		}
	}
	return out
}

func (n *Node) logProblems(problems spec.Problems) {
	for _, p := range problems {
		severity := p.Severity
		p.Severity = spec.SeverityError // the log's level tells it
		switch severity {
		case spec.SeverityError:
			n.log.Error("configuration", "problem", p.String())
		case spec.SeverityWarning:
			n.log.Warn("configuration", "problem", p.String())
		default:
			n.log.Info("configuration", "problem", p.String())
		}
	}
}

// sealer resolves references on this node and seals what they give.
type sealer struct {
	keeper   *secrets.Keeper
	resolver spec.Resolver
}

// SealAll implements store.Sealer.
func (s sealer) SealAll(ctx context.Context, tenant string, list []*spec.Secret) error {
	for _, secret := range list {
		if secret.Type == spec.SecretPlain || secret.Type == spec.SecretSealed {
			continue
		}
		value, err := s.resolver.Resolve(ctx, *secret)
		if err != nil {
			return err
		}
		*secret = spec.Plain(value)
	}
	return s.keeper.SealAll(tenant, list)
}

// importCheckpoints gives networks that have not begun the place where
// OpenZeppelin Monitor left off.
func (n *Node) importCheckpoints(ctx context.Context, dir string) error {
	checkpoints, problems := spec.ReadCheckpoints(os.DirFS(dir))
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
		keys := n.networksCalled(slug)
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
