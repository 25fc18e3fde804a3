package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/worker/match"
)

// Options say how a folder is read.
type Options struct {
	// Env looks variables up; nil: the environment of the process.
	Env func(name string) (string, bool)
	// Shared are the networks of the cluster, to which monitors may refer.
	Shared map[string]*spec.Network
}

// Folder is a configuration folder.
type Folder struct {
	Dir string
	// Many tells that it has tenants/, one folder for each; else it is one tenant's,
	// in OpenZeppelin Monitor's layout, whose networks are the tenant's own.
	Many bool

	fsys     fs.FS
	resolver *secrets.Resolver
	recorder *recorder
	options  []spec.Option
	shared   map[string]*spec.Network // of the cluster
	tree     *spec.TreeReader         // where there are many
	problems spec.Problems            // of the shared networks, and of names
}

// ErrNoFolder: there is no configuration in it.
var ErrNoFolder = errors.New("this is no configuration folder")

// Open begins to read a folder. A folder that holds the configuration in config/, as
// OpenZeppelin Monitor's own does, will do.
func Open(ctx context.Context, dir string, o Options) (*Folder, error) {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%w: %s is a file", ErrNoFolder, dir)
	}
	if !looksLike(os.DirFS(dir)) {
		inner := filepath.Join(dir, "config")
		if !looksLike(os.DirFS(inner)) {
			return nil, fmt.Errorf("%w: %s has none of networks/, monitors/, triggers/ and tenants/ in it", ErrNoFolder, dir)
		}
		dir = inner
	}
	resolver, err := secrets.NewResolver(dir, o.Env)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir, fsys: os.DirFS(dir), resolver: resolver, shared: o.Shared}
	f.recorder = &recorder{next: resolver, failed: map[string]spec.Secret{}}
	f.options = []spec.Option{
		spec.WithResolver(ctx, f.recorder), spec.WithTime(time.Now()), spec.WithSealed(), spec.WithSharedNetworks(o.Shared),
	}
	if f.Many = exists(f.fsys, "tenants"); f.Many {
		f.tree, f.problems = spec.OpenTree(f.fsys, f.options...)
	}
	return f, nil
}

func looksLike(fsys fs.FS) bool {
	for _, name := range []string{"networks", "monitors", "triggers", "tenants"} {
		if exists(fsys, name) {
			return true
		}
	}
	return false
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.resolver.Close() }

// Tenants are those that have a folder; none where the folder is one tenant's.
func (f *Folder) Tenants() []string {
	if f.tree == nil {
		return nil
	}
	return f.tree.Tenants()
}

// Shared are the networks for all tenants; nil where the folder has none.
func (f *Folder) Shared(ctx context.Context) (*Documents, spec.Problems, error) {
	if f.tree == nil {
		return nil, nil, nil
	}
	if !f.tree.Shared || f.problems.Err() != nil {
		return nil, f.problems, nil
	}
	d := newDocuments()
	d.Networks, d.files = maps.Clone(f.tree.Networks), f.tree.Files
	for slug, n := range d.Networks {
		own := *n // the tenants' monitors are compiled with the one in the tree
		own.RPCURLs = slices.Clone(n.RPCURLs)
		d.Networks[slug] = &own
	}
	return d, f.problems, f.resolve(ctx, d)
}

// Tenant reads the documents of one tenant; where the folder is one tenant's, of
// that, whatever its name. Problems are as `ozmo config check` has them; where one is
// an error, the documents are not all there are. It may be called from several
// goroutines at once.
func (f *Folder) Tenant(ctx context.Context, name string) (*Documents, spec.Problems, error) {
	var folder *spec.Folder
	var problems spec.Problems
	shared := f.shared
	if f.tree != nil {
		folder, problems = f.tree.Tenant(name)
		shared = maps.Clone(f.shared)
		if shared == nil {
			shared = map[string]*spec.Network{}
		}
		maps.Copy(shared, f.tree.Networks)
	} else {
		options := append(slices.Clone(f.options), spec.WithTenantFolder(), spec.WithScripts(f.fsys))
		folder, problems = spec.ReadFolder(f.fsys, options...)
	}
	problems = append(problems, match.CheckFolder(folder, shared)...)
	d := newDocuments()
	d.Networks, d.Monitors, d.Triggers, d.files = folder.Networks, folder.Monitors, folder.Triggers, folder.Files
	fsys := f.fsys
	if f.tree != nil && (name != spec.DefaultTenant || exists(f.fsys, "tenants/"+name)) {
		var err error
		if fsys, err = fs.Sub(f.fsys, "tenants/"+name); err != nil {
			return nil, nil, err
		}
	}
	if err := d.readScripts(fsys, folder.Scripts); err != nil {
		return nil, nil, err
	}
	return d, problems, f.resolve(ctx, d)
}

// readScripts takes the scripts that documents refer to over. Documents write their
// paths as from the folder; stored scripts have the same.
func (d *Documents) readScripts(fsys fs.FS, scripts map[string]string) error {
	languages := map[string]string{}
	for _, m := range d.Monitors {
		for _, s := range m.TriggerConditions {
			languages[s.ScriptPath] = s.Language
		}
	}
	for _, t := range d.Triggers {
		if t.Script != nil {
			languages[t.Script.ScriptPath] = t.Script.Language
		}
	}
	for written, file := range scripts {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		d.Scripts[file] = client.Script{Language: languages[written], Content: string(data)}
	}
	return nil
}

// resolve puts the secrets themselves in the place of references to this machine.
func (f *Folder) resolve(ctx context.Context, d *Documents) error {
	return resolveAll(ctx, f.recorder, d.secrets())
}

func resolveAll(ctx context.Context, r spec.Resolver, list []*spec.Secret) error {
	for _, s := range list {
		switch s.Type {
		case spec.SecretEnvironment, spec.SecretFile, spec.SecretVault:
			v, err := r.Resolve(ctx, *s)
			if err != nil {
				return err // it has just been resolved: it was taken away meanwhile
			}
			*s = spec.Plain(v)
		}
	}
	return nil
}

// Missing are the secrets among the problems that this machine does not have.
func (f *Folder) Missing(problems spec.Problems) []Missing { return f.recorder.missing(problems) }
