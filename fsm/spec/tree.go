package spec

import (
	"io/fs"
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
	r, problems := OpenTree(fsys, opts...)
	tree := &Tree{Networks: r.Networks, Tenants: make(map[string]*Folder), Files: r.Files}
	for _, name := range r.Tenants() {
		folder, more := r.Tenant(name)
		tree.Tenants[name] = folder
		problems = append(problems, more...)
	}
	return tree, problems.sorted()
}

func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return err == nil
}
