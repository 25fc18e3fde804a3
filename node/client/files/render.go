package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Rendered is documents as the files of a folder.
type Rendered struct {
	Files map[string][]byte // by slash-separated path
	// Variables are those that stand for secrets, where they were asked for.
	Variables []string
	// Warnings say what a folder cannot tell.
	Warnings []string
}

// Render writes documents as the folder of one tenant: networks/, monitors/,
// triggers/, and scripts under their own paths. Secrets are in none of them: in
// their place is what the API shows, which keeps them when it is applied where they
// are; or, with a prefix for their names, environment variables.
func Render(d *Documents, variables string) (*Rendered, error) {
	r := &Rendered{Files: map[string][]byte{}}
	if variables != "" {
		r.name(d, variables)
	}
	stems := fileNames(d.Networks)
	for _, id := range sortedKeys(d.Networks) {
		if err := r.add("networks/"+stems[id]+".json", d.Networks[id]); err != nil {
			return nil, err
		}
	}
	stems = fileNames(d.Triggers)
	for _, id := range sortedKeys(d.Triggers) {
		if err := r.add("triggers/"+stems[id]+".json", map[string]*spec.Trigger{id: d.Triggers[id]}); err != nil {
			return nil, err
		}
	}
	stems = fileNames(d.Monitors)
	names := map[string]string{}
	for _, id := range sortedKeys(d.Monitors) {
		folded := strings.ToLower(strings.TrimSpace(d.Monitors[id].Name))
		if other, twice := names[folded]; twice {
			r.Warnings = append(r.Warnings, fmt.Sprintf("monitors %q and %q have the same name, which a folder does not take: rename one", other, id))
		}
		names[folded] = id
		if err := r.add("monitors/"+stems[id]+".json", d.Monitors[id]); err != nil {
			return nil, err
		}
	}
	for _, id := range sortedKeys(d.Scripts) {
		if !fs.ValidPath(id) || id == "." {
			return nil, fmt.Errorf("script %q cannot be a file: it is no path inside a folder", id)
		}
		if _, taken := r.Files[id]; taken {
			return nil, fmt.Errorf("script %q cannot be a file: a document is in its place", id)
		}
		r.Files[id] = []byte(d.Scripts[id].Content)
	}
	return r, nil
}

func (r *Rendered) add(file string, doc any) error {
	data, err := spec.Encode(doc)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	b.WriteByte('\n')
	r.Files[file] = b.Bytes()
	return nil
}

// name has every sealed secret be an environment variable.
func (r *Rendered) name(d *Documents, prefix string) {
	taken := map[string]bool{}
	give := func(kind, id string, secrets []*spec.Secret) {
		for i, s := range secrets {
			if s.Type != spec.SecretSealed {
				continue
			}
			name := variable(prefix, kind, id)
			if len(secrets) > 1 {
				name += "_" + strconv.Itoa(i+1)
			}
			for base, n := name, 2; taken[name]; n++ {
				name = base + "_" + strconv.Itoa(n)
			}
			taken[name] = true
			*s = spec.Secret{Type: spec.SecretEnvironment, Value: name}
			r.Variables = append(r.Variables, name)
		}
	}
	for _, id := range sortedKeys(d.Networks) {
		give(KindNetwork, id, d.Networks[id].Secrets())
	}
	for _, id := range sortedKeys(d.Triggers) {
		give(KindTrigger, id, d.Triggers[id].Secrets())
	}
	for _, id := range sortedKeys(d.Monitors) {
		give(KindMonitor, id, d.Monitors[id].Secrets())
	}
}

// variable is a name for a secret, of capital letters, digits and underscores.
func variable(parts ...string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, strings.Join(parts, "_"))
}

const longestStem = 100 // bytes of a file's name

// fileNames are names for the files of documents, different ones also where a file
// system does not tell capitals from small letters. A document's depends on its own
// id alone, unless another one is in its way.
func fileNames[V any](docs map[string]V) map[string]string {
	out, taken := make(map[string]string, len(docs)), map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		stem := strings.Map(func(c rune) rune {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
				return c
			}
			return '-'
		}, id)
		if len(stem) > longestStem {
			stem = stem[:longestStem]
		}
		if stem = strings.Trim(stem, ".-"); stem == "" {
			stem = "document"
		}
		for base, n := stem, 2; taken[strings.ToLower(stem)]; n++ {
			stem = base + "-" + strconv.Itoa(n)
		}
		taken[strings.ToLower(stem)] = true
		out[id] = stem
	}
	return out
}

// In puts the files into a folder of another one.
func (r *Rendered) In(folder string) *Rendered {
	out := *r
	out.Files = make(map[string][]byte, len(r.Files))
	for name, data := range r.Files {
		out.Files[path.Join(folder, name)] = data
	}
	return &out
}
