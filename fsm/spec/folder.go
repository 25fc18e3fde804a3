package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Kind is a kind of document.
type Kind string

// The kinds.
const (
	KindNetwork Kind = "network"
	KindMonitor Kind = "monitor"
	KindTrigger Kind = "trigger"
)

// Folder is the configuration of one tenant. Documents with an error are left
// out of it.
type Folder struct {
	Networks map[string]*Network // by slug
	Monitors map[string]*Monitor // by name
	Triggers map[string]*Trigger // by id
	Files    map[string]string   // DocKey -> file, relative to the root of reading
	Scripts  map[string]string   // script path as written -> file inside the folder
}

func newFolder() *Folder {
	return &Folder{
		Networks: make(map[string]*Network), Monitors: make(map[string]*Monitor), Triggers: make(map[string]*Trigger),
		Files: make(map[string]string), Scripts: make(map[string]string),
	}
}

// DocKey is the key of a document in Files, like "network/ethereum_mainnet".
func DocKey(kind Kind, id string) string { return string(kind) + "/" + id }

// The sub-folders of a configuration folder.
const (
	dirNetworks = "networks"
	dirMonitors = "monitors"
	dirTriggers = "triggers"
	dirTenants  = "tenants"
)

// ReadFolder reads the folder of one tenant: networks/, monitors/ and triggers/,
// their direct *.json children only. Script paths are relative to it. All
// problems of all files are reported together.
func ReadFolder(fsys fs.FS, opts ...Option) (*Folder, Problems) {
	r := folderReader{fsys: fsys, opts: newOptions(opts)}
	if r.opts.scripts == nil {
		r.opts.scripts = fsys
	}
	out := newFolder()
	own := r.networks(out, !r.opts.tenant)
	r.checkWatch(out, own)
	r.triggersAndMonitors(out, own, !r.opts.tenant)
	return out, r.problems.sorted()
}

// folderReader reads the sub-folders of one folder and collects their problems.
type folderReader struct {
	fsys     fs.FS
	prefix   string // of file names in problems and Files
	opts     options
	problems Problems
}

func (r *folderReader) add(file, path string, s Severity, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: file, Path: path, Message: fmt.Sprintf(format, args...), Severity: s})
}

// files calls each for every JSON file of a sub-folder, in the order of names;
// ok is false for a file that cannot be read.
func (r *folderReader) files(dir string, required bool, each func(file string, data []byte, ok bool)) {
	entries, err := fs.ReadDir(r.fsys, dir)
	shown := path.Join(r.prefix, dir)
	if err != nil {
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			r.add(shown, "", SeverityError, "cannot be read: %v", err)
		case required:
			r.add(shown, "", SeverityError, "does not exist, expected a folder (it may be empty)")
		}
		return
	}
	for _, e := range entries {
		if e.IsDir() || !strings.EqualFold(path.Ext(e.Name()), ".json") {
			continue
		}
		file := path.Join(shown, e.Name())
		data, err := fs.ReadFile(r.fsys, path.Join(dir, e.Name()))
		if err != nil {
			r.add(file, "", SeverityError, "cannot be read: %v", err)
		}
		each(file, data, err == nil)
	}
}

// parseOptions are the options for the documents of one file.
func (r *folderReader) parseOptions(file string) options {
	o := r.opts
	o.file = file
	return o
}

func stem(file string) string { return strings.TrimSuffix(path.Base(file), path.Ext(file)) }

// names finds names that are the same once trimmed and lower-cased.
type names map[string]string // folded -> file

func (s names) taken(name, file string) (by string, taken bool) {
	key := strings.ToLower(strings.TrimSpace(name))
	if by, taken = s[key]; !taken {
		s[key] = file
	}
	return by, taken
}

func (r *folderReader) networks(out *Folder, required bool) *networkSet {
	set := &networkSet{bySlug: out.Networks, byStem: make(map[string]*Network), broken: make(map[string]bool)}
	byName, bySlug := names{}, names{}
	r.files(dirNetworks, required, func(file string, data []byte, ok bool) {
		n := r.network(file, data, ok)
		if n == nil {
			set.broken[stem(file)] = true
			return
		}
		if by, taken := byName.taken(n.Name, file); taken {
			r.add(file, "name", SeverityError, "found %s, which is the name of the network in %s", quote(n.Name), by)
		}
		set.byStem[stem(file)] = n
		if by, taken := bySlug.taken(n.Slug, file); taken {
			r.add(file, "slug", SeverityError, "found %s, which is the slug of the network in %s", quote(n.Slug), by)
			return
		}
		out.Networks[n.Slug] = n
		out.Files[DocKey(KindNetwork, n.Slug)] = file
	})
	return set
}

func (r *folderReader) network(file string, data []byte, ok bool) *Network {
	if !ok {
		return nil
	}
	w, root := newWalk(data, r.parseOptions(file))
	n, problems := accepted(w, readNetwork(root))
	r.problems = append(r.problems, problems...)
	if n != nil {
		r.problems = append(r.problems, n.Notices().in(file)...)
	}
	return n
}

// checkWatch checks the networks that use another one's blocks.
func (r *folderReader) checkWatch(out *Folder, own *networkSet) {
	for _, slug := range slices.Sorted(maps.Keys(out.Networks)) {
		n, file := out.Networks[slug], out.Files[DocKey(KindNetwork, slug)]
		r.problems = append(r.problems, CheckPrivate(n, References{own: own, shared: r.opts.shared}).in(file)...)
	}
}

func (r *folderReader) triggersAndMonitors(out *Folder, own *networkSet, required bool) {
	refs := References{own: own, shared: r.opts.shared}
	ids, complete := r.triggers(out, required)
	refs.setTriggers(ids)
	refs.brokenTriggers = !complete
	byName := names{}
	r.files(dirMonitors, true, func(file string, data []byte, ok bool) {
		m := r.monitor(file, data, ok, refs)
		if m == nil {
			return
		}
		if by, taken := byName.taken(m.Name, file); taken {
			r.add(file, "name", SeverityError, "found %s, which is the name of the monitor in %s", quote(m.Name), by)
			return
		}
		out.Monitors[m.Name] = m
		out.Files[DocKey(KindMonitor, m.Name)] = file
		r.scripts(out, m.TriggerConditions...)
	})
}

func (r *folderReader) monitor(file string, data []byte, ok bool, refs References) *Monitor {
	if !ok {
		return nil
	}
	w, root := newWalk(data, r.parseOptions(file))
	read := readMonitor(root)
	m, problems := accepted(w, read)
	r.problems = append(r.problems, problems...)
	if read == nil {
		return nil
	}
	// References are checked even in a document with errors, so that one run
	// shows everything.
	problems = CheckReferences(read, refs, WithFile(file))
	r.problems = append(r.problems, problems...)
	if m == nil || len(problems.Errors()) > 0 {
		return nil
	}
	r.problems = append(r.problems, m.Notices().in(file)...)
	return m
}

// triggers returns the ids of all triggers, those with errors included;
// complete is false when a file could not be read as an object.
func (r *folderReader) triggers(out *Folder, required bool) (ids []string, complete bool) {
	complete = true
	byName, byID := names{}, make(map[string]string)
	r.files(dirTriggers, required, func(file string, data []byte, ok bool) {
		if !ok {
			complete = false
			return
		}
		w, root := newWalk(data, r.parseOptions(file))
		o := root.object()
		if o == nil {
			complete = false
		}
		o.unknown(func(item node) {
			id := item.key
			ids = append(ids, id)
			if by, taken := byID[id]; taken {
				item.fail("is an id that %s uses too: ids are unique over all files", by)
				return
			}
			byID[id] = file
			before := w.errors()
			t := readTrigger(item)
			if t == nil {
				return
			}
			if by, taken := byName.taken(t.Name, file); taken && t.Name != "" {
				item.at("name").fail("found %s, which is the name of another trigger in %s", quote(t.Name), by)
			}
			if w.errors() > before {
				return
			}
			out.Triggers[id] = t
			out.Files[DocKey(KindTrigger, id)] = file
			if t.Script != nil {
				r.scripts(out, *t.Script)
			}
			for _, p := range t.Notices() {
				item.at(p.Path).report(p.Severity, "%s", p.Message)
			}
		})
		r.problems = append(r.problems, w.finish()...)
	})
	return ids, complete
}

func (r *folderReader) scripts(out *Folder, list ...Script) {
	for _, s := range list {
		if name, _, err := findScript(r.opts.scripts, s.ScriptPath); err == nil {
			out.Scripts[s.ScriptPath] = name
		}
	}
}
