package spec

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
)

// DefaultTenant is the tenant of the documents at the root of a tree.
const DefaultTenant = "default"

// Tree is a whole configuration directory.
type Tree struct {
	// Networks are those of networks/ at the root, by slug: shared by all
	// tenants, also when the only one is DefaultTenant.
	Networks map[string]*Network
	// Tenants by name: DefaultTenant for monitors/ and triggers/ at the root, and
	// one for each folder in tenants/. Their Networks are private ones.
	Tenants map[string]*Folder
	Files   map[string]string // DocKey -> file, of the shared networks
}

var tenantName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// IsTenantName reports whether s may name a tenant: 1 to 63 lower-case letters,
// digits, underscores and hyphens, beginning with a letter or digit.
func IsTenantName(s string) bool { return tenantName.MatchString(s) }

// ReadTree reads a configuration directory: the plain layout of networks/,
// monitors/ and triggers/, which is the tenant "default"; or tenants/NAME/ with
// the same inside, sharing networks/; or both. Problems name files relative to
// the root.
func ReadTree(fsys fs.FS, opts ...Option) (*Tree, Problems) {
	tree := &Tree{Tenants: make(map[string]*Folder)}
	tenants, err := fs.ReadDir(fsys, dirTenants)
	many := err == nil
	root := folderReader{fsys: fsys, opts: newOptions(opts)}
	root.opts.scripts = fsys
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		root.add(dirTenants, "", SeverityError, "cannot be read: %v", err)
	}

	shared := newFolder()
	set := root.networks(shared, !many)
	tree.Networks, tree.Files = shared.Networks, shared.Files
	for slug, n := range shared.Networks {
		root.problems = append(root.problems, CheckShared(n).in(shared.Files[DocKey(KindNetwork, slug)])...)
	}
	root.opts.shared = set
	if !many || exists(fsys, dirMonitors) {
		folder := newFolder()
		root.triggersAndMonitors(folder, &networkSet{}, !many)
		tree.Tenants[DefaultTenant] = folder
	} else if exists(fsys, dirTriggers) {
		root.add(dirTriggers, "", SeverityWarning, "has no effect without monitors/ beside it: move it into a tenant's folder")
	}
	for _, e := range tenants {
		root.tenant(tree, e)
	}
	return tree, root.problems.sorted()
}

func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// tenant reads one folder in tenants/.
func (r *folderReader) tenant(tree *Tree, e fs.DirEntry) {
	name, dir := e.Name(), path.Join(dirTenants, e.Name())
	if name[0] == '.' {
		return // the bookkeeping of a mounted volume
	}
	info, err := fs.Stat(r.fsys, dir)
	if err != nil {
		// Whoever reads the tree must not take this tenant for a deleted one.
		r.add(dir, "", SeverityError, "cannot be read: %v", err)
		return
	}
	if !info.IsDir() {
		return // a stray file
	}
	if !IsTenantName(name) {
		r.add(dir, "", SeverityError, "is no name for a tenant: expected 1 to 63 lower-case letters, digits, underscores or hyphens")
		return
	}
	if _, taken := tree.Tenants[name]; taken {
		r.add(dir, "", SeverityError, "is the tenant of monitors/ at the root: move those into this folder, or rename it")
		return
	}
	fsys, err := fs.Sub(r.fsys, dir)
	if err != nil {
		r.add(dir, "", SeverityError, "cannot be read: %v", err)
		return
	}
	t := folderReader{fsys: fsys, prefix: dir, opts: r.opts}
	t.opts.scripts, t.opts.tenant = fsys, true
	folder := newFolder()
	own := t.networks(folder, false)
	t.checkWatch(folder, own)
	t.triggersAndMonitors(folder, own, false)
	tree.Tenants[name] = folder
	r.problems = append(r.problems, t.problems...)
}
