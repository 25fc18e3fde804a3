package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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

// folder is a folder of documents that was read, checked and packed.
type folder struct {
	dir     string
	tree    *spec.Tree
	broken  map[string]bool // tenants whose documents have errors
	shared  *store.Packed
	tenants map[string]*store.Packed
	refused map[string]error // tenants that cannot be taken over
	report  *ImportReport
	digest  string                 // of all of it, secrets included
	values  map[spec.Secret]string // of the secrets that its documents refer to
}

// Import takes over a folder of documents: each tenant entirely, or not at all
// where it has errors. Tenants that are no longer in the folder are deleted.
func (n *Node) Import(ctx context.Context, dir string) (*ImportReport, error) {
	n.importing.Lock()
	defer n.importing.Unlock()
	f, err := n.readFolder(ctx, dir)
	if err != nil {
		return f.report, err
	}
	return f.report, n.takeOver(ctx, f)
}

// readFolder changes nothing. The folder's report is there also with an error.
func (n *Node) readFolder(ctx context.Context, dir string) (*folder, error) {
	f := &folder{dir: dir, report: &ImportReport{}, values: map[spec.Secret]string{}}
	resolver, err := secrets.NewResolver(dir, nil)
	if err != nil {
		return f, fmt.Errorf("%w: configuration folder %s: %w", errRefused, dir, err)
	}
	defer resolver.Close()
	noted := noting{resolver, f.values}
	tree, problems := spec.ReadTree(os.DirFS(dir), spec.WithResolver(ctx, noted), spec.WithTime(time.Now()))
	problems = slices.Concat(problems, match.CheckTree(tree), n.checkStored(tree))
	f.tree, f.broken = tree, brokenTenants(problems)
	f.report.Problems, f.report.Tenants = problems, len(tree.Tenants)
	n.logProblems(problems)
	if f.broken[fsm.Shared] {
		return f, fmt.Errorf("%w:\n%w", ErrSharedNetworks, problems.Err())
	}
	if len(tree.Tenants) == 0 && n.hasTenants(fsm.SourceFolder) {
		return f, fmt.Errorf("%w: the folder %s holds no tenant at all: nothing was deleted (is it mounted? to end the last tenant, leave its monitors/ empty)", errRefused, dir)
	}
	err = f.pack(ctx, sealer{n.keeper, noted})
	n.resolved = f.values
	return f, err
}

// pack prepares what was read for the state.
func (f *folder) pack(ctx context.Context, sealer store.Sealer) (err error) {
	f.tenants, f.refused = map[string]*store.Packed{}, map[string]error{}
	if f.shared, err = store.PackShared(ctx, f.tree.Networks, sealer); err != nil {
		return fmt.Errorf("%w: %w", ErrSharedNetworks, err)
	}
	digest := sha256.New()
	fmt.Fprintf(digest, "%+v\n", f.shared.Manifest)
	for _, name := range slices.Sorted(maps.Keys(f.tree.Tenants)) {
		if f.broken[name] {
			f.refused[name] = fmt.Errorf("its documents have errors: %w", errRefused)
		} else if f.tenants[name], err = store.Pack(ctx, name, f.tree.Tenants[name], f.tree.Networks, sealer); err != nil {
			f.refused[name] = fmt.Errorf("%w: %w", err, errRefused)
			delete(f.tenants, name)
		}
		fmt.Fprintf(digest, "%s %v\n", name, f.refused[name])
		if packed := f.tenants[name]; packed != nil {
			fmt.Fprintf(digest, "%+v\n", packed.Manifest)
		}
	}
	f.digest = hex.EncodeToString(digest.Sum(nil))
	return nil
}

// takeOver puts a folder in force.
func (n *Node) takeOver(ctx context.Context, f *folder) error {
	own := n.checkSource(fsm.Shared)
	if own != nil && len(f.tree.Networks) == 0 {
		f.shared, own = nil, nil // there are none to put in their place
	}
	if err := errors.Join(own, n.checkNetworks(fsm.Shared, f.tree.Networks)); err != nil {
		return fmt.Errorf("%w: %w", ErrSharedNetworks, err)
	}
	if err := n.noteFolder(f, false); err != nil {
		return err
	}
	if f.shared != nil {
		// What a refused tenant still uses must not vanish under it.
		n.keepUsed(&f.shared.Manifest, f.refused)
		if _, err := n.put(ctx, fsm.Shared, f.shared); err != nil {
			return err
		}
	}
	if err := n.takeOverTenants(ctx, f); err != nil {
		return err
	}
	if err := n.removeOthers(ctx, f); err != nil {
		return err
	}
	r := f.report
	n.log.Info("configuration read", "folder", f.dir, "tenants", r.Tenants,
		"changed", len(r.Changed), "removed", len(r.Removed), "refused", len(r.Refused))
	return n.noteFolder(f, true)
}

var errRefused = errors.New("refused, what was there stays")

// hasTenants reports whether the state has any of one of the sources.
func (n *Node) hasTenants(sources ...fsm.Source) bool {
	for t := range n.state.View().Tenants() {
		if t.ID != fsm.Shared && slices.Contains(sources, t.Source) {
			return true
		}
	}
	return false
}

// checkSource refuses to take over what the API has: only one of them can say what
// its documents are.
func (n *Node) checkSource(tenant string) error {
	if t, ok := n.state.View().Tenant(tenant); !ok || t.Source == fsm.SourceFolder {
		return nil
	}
	if tenant == fsm.Shared {
		return errors.New("the cluster has shared networks that were made over the API: delete those there, or take networks/ out of the folder")
	}
	return fmt.Errorf("there is a tenant %q that was made over the API: give the folder's another name, or delete that one", tenant)
}

// importParallel is how many tenants are taken over at a time: their proposals
// share commits.
const importParallel = 64

// takeOverTenants takes over each tenant entirely, or not at all.
func (n *Node) takeOverTenants(ctx context.Context, f *folder) error {
	names := slices.Sorted(maps.Keys(f.tree.Tenants))
	changed := make([]bool, len(names))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(importParallel)
	for i, name := range names {
		if f.tenants[name] == nil {
			continue
		}
		if err := errors.Join(n.checkSource(name), n.checkNetworks(name, f.tree.Tenants[name].Networks)); err != nil {
			f.refused[name] = fmt.Errorf("%w: %w", err, errRefused)
			continue
		}
		work.Go(func() (err error) {
			changed[i], err = n.put(ctx, name, f.tenants[name])
			return err
		})
	}
	err := work.Wait()
	for i, name := range names {
		switch why := f.refused[name]; {
		case why != nil:
			n.log.Error("this tenant's configuration was not taken over", "tenant", name, "error", why)
			f.report.Refused = append(f.report.Refused, name)
			n.metrics.imports.WithLabelValues("refused").Inc()
		case changed[i]:
			f.report.Changed = append(f.report.Changed, name)
			n.metrics.imports.WithLabelValues("changed").Inc()
		case err == nil:
			n.metrics.imports.WithLabelValues("unchanged").Inc()
		}
	}
	return err
}

// checkNetworks refuses what would turn a network into another one: its past
// would be a lie.
func (n *Node) checkNetworks(tenant string, networks map[string]*spec.Network) error {
	v := n.state.View()
	for slug, doc := range networks {
		old, _, err := store.FindNetwork(v, store.Key(tenant, slug))
		if errors.Is(err, fsm.ErrUnreachable) {
			return err
		}
		if err != nil || old.ChainID == nil || doc.ChainID == nil || *old.ChainID == *doc.ChainID {
			continue
		}
		return fmt.Errorf("network %s: its chain_id cannot change from %d to %d: give the other chain a slug of its own",
			store.Key(tenant, slug), *old.ChainID, *doc.ChainID)
	}
	return nil
}

// keepUsed carries over shared networks that are gone from the folder, but used
// by tenants that keep their old configuration, or that are not the folder's.
func (n *Node) keepUsed(m *fsm.Manifest, refused map[string]error) {
	v := n.state.View()
	old, ok := v.Tenant(fsm.Shared)
	if !ok {
		return
	}
	for t := range v.Tenants() {
		if refused[t.ID] == nil && t.Source == fsm.SourceFolder {
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
		changed, err = n.putOnce(ctx, tenant, p, nil)
		if !errors.Is(err, fsm.ErrConflict) {
			break
		}
	}
	return changed, err
}

// putOnce replaces only the configuration that is given as the one in force, if
// any is; with another one in force the error wraps errNotInForce.
func (n *Node) putOnce(ctx context.Context, tenant string, p, only *store.Packed) (changed bool, err error) {
	if err := n.caughtUp(ctx); err != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	v := n.state.View()
	c := &fsm.SetTenantVersion{Tenant: tenant, At: time.Now().UnixMilli()}
	if t, ok := v.Tenant(tenant); ok {
		if t.Current.Manifest.Same(&p.Manifest) {
			return false, nil
		}
		if only != nil && !t.Current.Manifest.Same(&only.Manifest) {
			return false, fmt.Errorf("tenant %q: %w", tenant, errNotInForce)
		}
		c.Expect = t.Current.Number
	} else if only != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, errNotInForce)
	}
	if c.Manifest, err = n.place(ctx, v, tenant, p.Manifest, p.Blobs); err != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	if _, err := n.byFolder(ctx, c, "tenant.put", tenant); err != nil {
		return false, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	return true, nil
}

// removeOthers deletes the tenants that are gone from the folder.
func (n *Node) removeOthers(ctx context.Context, f *folder) error {
	for t := range n.state.View().Tenants() {
		if t.ID == fsm.Shared || t.Source != fsm.SourceFolder || f.tree.Tenants[t.ID] != nil || f.broken[t.ID] {
			continue
		}
		c := &fsm.DeleteTenant{Tenant: t.ID, Expect: t.Current.Number, At: time.Now().UnixMilli()}
		_, err := n.byFolder(ctx, c, "tenant.delete", t.ID)
		if errors.Is(err, fsm.ErrNotFound) {
			continue // another node has read the same folder
		}
		if err != nil {
			return fmt.Errorf("tenant %q is gone from the folder: %w", t.ID, err)
		}
		n.log.Warn("a tenant is gone from the folder and was deleted", "tenant", t.ID, "folder", f.dir)
		f.report.Removed = append(f.report.Removed, t.ID)
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
		if secret.Type == spec.SecretPlain || secret.Type == spec.SecretSealed || secret.Type == spec.SecretStored {
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
