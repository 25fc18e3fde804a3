package spec

// Bundle is the whole configuration of a tenant in one document: its documents by
// kind, then by id. Those with an error are left out.
type Bundle struct {
	Networks map[string]*Network
	Monitors map[string]*Monitor
	Triggers map[string]*Trigger
	Scripts  map[string]*StoredScript

	broken map[string]map[string]bool // by member and id: documents with errors
	absent map[string]bool            // members that were left out, or null
}

// The members of a bundle, each an object of documents by id.
const (
	BundleNetworks = "networks"
	BundleMonitors = "monitors"
	BundleTriggers = "triggers"
	BundleScripts  = "scripts"
)

// ParseBundle reads a bundle. The member "version", which a bundle is shown with, is
// passed over. What it refers to is checked by CheckReferences and CheckTrigger.
func ParseBundle(data []byte, opts ...Option) (*Bundle, Problems) {
	w, root := newWalk(data, newOptions(opts))
	b := &Bundle{broken: map[string]map[string]bool{}, absent: map[string]bool{}}
	o := root.object()
	if o != nil {
		o.optional("version")
	}
	b.Networks = readMember(b, o, BundleNetworks, readNetwork)
	b.Monitors = readMember(b, o, BundleMonitors, readMonitor)
	b.Triggers = readMember(b, o, BundleTriggers, readTrigger)
	b.Scripts = readMember(b, o, BundleScripts, readStoredScript)
	o.done()
	return b, w.finish()
}

func readMember[T any](b *Bundle, o *object, name string, read func(node) *T) map[string]*T {
	out := map[string]*T{}
	b.broken[name] = map[string]bool{}
	given := o.optional(name)
	b.absent[name] = o != nil && !given.ok()
	given.object().unknown(func(item node) {
		before := item.w.errors()
		if doc := read(item); doc != nil && item.w.errors() == before {
			out[item.key] = doc
		} else {
			b.broken[name][item.key] = true
		}
	})
	return out
}

// LeftOut reports whether a bundle that was read says nothing of a member: that there
// are no documents of a kind, it says with an empty object.
func (b *Bundle) LeftOut(member string) bool { return b.absent[member] }

// At is the path of a document in a bundle, or of a place in the document.
func (b *Bundle) At(member, id, path string) string {
	root := node{w: &walk{}}
	at := root.at(member).at(id).path()
	switch {
	case path == "":
		return at
	case path[0] == '[':
		return at + path
	default:
		return at + "." + path
	}
}

// Tolerating has references to documents of a bundle that have errors be no further
// problem.
func (r References) Tolerating(b *Bundle) References {
	if r.own == nil {
		r.own = &networkSet{}
	}
	own := *r.own
	own.broken = unite(own.broken, b.broken[BundleNetworks])
	r.own = &own
	r.triggers = unite(r.triggers, b.broken[BundleTriggers])
	if r.scripts != nil {
		r.scripts = unite(r.scripts, b.broken[BundleScripts])
	}
	return r
}
