package spec

import (
	"errors"
	"io/fs"
	"path"
)

// TreeReader reads a configuration directory tenant by tenant, where ReadTree would
// hold them all at once.
type TreeReader struct {
	// Networks are the shared ones, by slug; see Tree.
	Networks map[string]*Network
	Files    map[string]string // DocKey -> file, of the shared networks
	// Shared tells whether there is a folder for shared networks at all.
	Shared bool

	root    folderReader
	entries map[string]fs.DirEntry
	names   []string
}

// OpenTree reads the shared networks of a configuration directory and finds out what
// tenants there are. The problems are those of the shared networks and of names.
func OpenTree(fsys fs.FS, opts ...Option) (*TreeReader, Problems) {
	t := &TreeReader{entries: make(map[string]fs.DirEntry), Shared: exists(fsys, dirNetworks)}
	entries, err := fs.ReadDir(fsys, dirTenants)
	many := err == nil
	t.root = folderReader{fsys: fsys, opts: newOptions(opts)}
	t.root.opts.scripts = fsys
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.root.add(dirTenants, "", SeverityError, "cannot be read: %v", err)
	}
	shared := newFolder()
	set := t.root.networks(shared, !many)
	t.Networks, t.Files = shared.Networks, shared.Files
	for slug, n := range shared.Networks {
		t.root.problems = append(t.root.problems, CheckShared(n).in(shared.Files[DocKey(KindNetwork, slug)])...)
	}
	t.root.opts.shared = set.over(t.root.opts.shared)
	if !many || exists(fsys, dirMonitors) {
		t.names = append(t.names, DefaultTenant)
	} else if exists(fsys, dirTriggers) {
		t.root.add(dirTriggers, "", SeverityWarning, "has no effect without monitors/ beside it: move it into a tenant's folder")
	}
	for _, e := range entries {
		if t.root.tenantEntry(e, len(t.names) > 0 && t.names[0] == DefaultTenant) {
			t.entries[e.Name()] = e
			t.names = append(t.names, e.Name())
		}
	}
	return t, t.root.problems.sorted()
}

// over is a set with what another one has besides.
func (s *networkSet) over(other *networkSet) *networkSet {
	return &networkSet{bySlug: unite(other.bySlug, s.bySlug), byStem: unite(other.byStem, s.byStem), broken: s.broken}
}

// tenantEntry reports whether an entry of tenants/ is the folder of a tenant, and
// adds what is wrong with it.
func (r *folderReader) tenantEntry(e fs.DirEntry, rootTaken bool) bool {
	name, dir := e.Name(), path.Join(dirTenants, e.Name())
	if name[0] == '.' {
		return false // the bookkeeping of a mounted volume
	}
	info, err := fs.Stat(r.fsys, dir)
	if err != nil {
		// Whoever reads the tree must not take this tenant for a deleted one.
		r.add(dir, "", SeverityError, "cannot be read: %v", err)
		return false
	}
	if !info.IsDir() {
		return false // a stray file
	}
	if !IsTenantName(name) {
		r.add(dir, "", SeverityError, "is no name for a tenant: expected 1 to 63 lower-case letters, digits, underscores or hyphens")
		return false
	}
	if name == DefaultTenant && rootTaken {
		r.add(dir, "", SeverityError, "is the tenant of monitors/ at the root: move those into this folder, or rename it")
		return false
	}
	return true
}

// Tenants are the tenants of the directory, DefaultTenant first where monitors/ is
// at the root.
func (t *TreeReader) Tenants() []string { return t.names }

// Tenant reads the documents of one tenant. It may be called from several goroutines
// at once.
func (t *TreeReader) Tenant(name string) (*Folder, Problems) {
	r := folderReader{fsys: t.root.fsys, opts: t.root.opts}
	folder := newFolder()
	if t.entries[name] == nil {
		r.triggersAndMonitors(folder, &networkSet{}, len(t.entries) == 0)
		return folder, r.problems.sorted()
	}
	r.read(folder, name)
	return folder, r.problems.sorted()
}

// read reads the folder of a tenant in tenants/.
func (r *folderReader) read(folder *Folder, name string) {
	dir := path.Join(dirTenants, name)
	fsys, err := fs.Sub(r.fsys, dir)
	if err != nil {
		r.add(dir, "", SeverityError, "cannot be read: %v", err)
		return
	}
	t := folderReader{fsys: fsys, prefix: dir, opts: r.opts}
	t.opts.scripts, t.opts.tenant = fsys, true
	own := t.networks(folder, false)
	t.checkWatch(folder, own)
	t.triggersAndMonitors(folder, own, false)
	r.problems = append(r.problems, t.problems...)
}
