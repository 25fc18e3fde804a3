package spec

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// StoredScript is a script that a tenant keeps in the cluster, under the path that
// its documents write, cleaned; see ScriptID. An extension.
type StoredScript struct {
	Language string `json:"language"` // JavaScript, Python or Bash
	Content  string `json:"content"`  // MaxScript bytes at most
}

// MaxScript bounds a stored script, in bytes.
const MaxScript = 64 << 10

// ParseStoredScript reads a stored script.
func ParseStoredScript(data []byte, opts ...Option) (*StoredScript, Problems) {
	w, root := newWalk(data, newOptions(opts))
	return accepted(w, readStoredScript(root))
}

func readStoredScript(root node) *StoredScript {
	o := root.object()
	if o == nil {
		return nil
	}
	s := new(StoredScript)
	s.Language, _ = o.required("language", "a string").oneOf(JavaScript, Python, Bash)
	content := o.required("content", "a string")
	if text, ok := content.text(); ok {
		s.Content = text
		switch {
		case text == "":
			content.fail("is empty")
		case len(text) > MaxScript:
			content.fail("has %d bytes, expected at most %d", len(text), MaxScript)
		}
	}
	o.done()
	return s
}

// Secrets are none: what a script needs to know is no part of it.
func (*StoredScript) Secrets() []*Secret { return nil }

// Notices says that scripts are kept but have no effect.
func (*StoredScript) Notices() Problems {
	return Problems{note("", "scripts are not supported yet: the script is kept but not run")}
}

// ScriptID is the id under which a script is stored that a document refers to by a
// path; ok is false where it cannot be.
func ScriptID(written string) (id string, ok bool) {
	id = path.Clean(written)
	return id, written != "" && id != "." && fs.ValidPath(id)
}

// CheckScriptID says what is wrong with a script's id.
func CheckScriptID(id string, s *StoredScript) Problems {
	fail := func(format string, args ...any) Problems {
		return Problems{{Severity: SeverityError, Message: fmt.Sprintf(format, args...)}}
	}
	clean, ok := ScriptID(id)
	switch want := scriptExtensions[s.Language]; {
	case !ok:
		return fail("is stored under %s, expected a relative path like scripts/filter%s", quote(id), want)
	case clean != id:
		return fail("is stored under %s, expected %s", quote(id), quote(clean))
	case path.Ext(id) != want:
		return fail("is stored under %s, expected a path that ends in %s, since the language is %s", quote(id), want, s.Language)
	}
	return nil
}

// WithStored has what documents refer to by script_path be looked for among stored
// scripts, given by id.
func (r References) WithStored(scripts []string) References {
	r.scripts = make(map[string]bool, len(scripts))
	for _, id := range scripts {
		r.scripts[id] = true
	}
	return r
}

// Uses is the id of the stored script that a script path means. As in a folder, a
// leading config/ is dropped where there is none with it.
func (r References) Uses(written string) (id string, ok bool) {
	id, ok = ScriptID(written)
	if !ok {
		return "", false
	}
	if r.scripts[id] {
		return id, true
	}
	inner, cut := strings.CutPrefix(id, "config/")
	return inner, cut && r.scripts[inner]
}

// checkStored looks a script up among the stored ones. Its language fits: a path
// tells the language, of documents and of what is stored.
func (r References) checkStored(n node, s Script) {
	if _, ok := r.Uses(s.ScriptPath); !ok && r.scripts != nil {
		n.at("script_path").fail("refers to the script %s, which is not stored%s", quote(s.ScriptPath), didYouMean(path.Clean(s.ScriptPath), r.scriptIDs()))
	}
}

// CheckTrigger checks what a trigger refers to.
func CheckTrigger(t *Trigger, r References) Problems {
	if t.Script == nil {
		return nil
	}
	w := &walk{}
	r.checkStored(node{w: w}.at("config"), *t.Script)
	return w.finish()
}

// Scripts are the paths of the scripts that a monitor refers to, as written.
func (m *Monitor) Scripts() []string {
	out := make([]string, len(m.TriggerConditions))
	for i, s := range m.TriggerConditions {
		out[i] = s.ScriptPath
	}
	return out
}
