package files

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// The kinds of documents, and what becomes of them.
const (
	KindNetwork = "network"
	KindMonitor = "monitor"
	KindTrigger = "trigger"
	KindScript  = "script"

	Created = "created"
	Updated = "updated"
	Deleted = "deleted"
)

// Difference is what a document here differs in from the one in force.
type Difference struct {
	Kind   string  `json:"kind"`
	ID     string  `json:"id"`
	Change string  `json:"change"`
	Fields []Field `json:"fields,omitempty"` // of an updated one
}

// Field is a place of a document that differs. Values are JSON, shortened; empty:
// there is none. Secrets are never among them.
type Field struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Compare tells how documents differ from those in force: networks, triggers,
// monitors and scripts, each in the order of ids. With prune, what is not among them
// is deleted. Secrets are not compared, but for their kind and the names of stored
// ones: what is in force is sealed.
func Compare(here, there *Documents, prune bool) ([]Difference, error) {
	var out []Difference
	for _, add := range []func() ([]Difference, error){
		func() ([]Difference, error) { return compare(KindNetwork, here.Networks, there.Networks, prune) },
		func() ([]Difference, error) { return compare(KindTrigger, here.Triggers, there.Triggers, prune) },
		func() ([]Difference, error) { return compare(KindMonitor, here.Monitors, there.Monitors, prune) },
	} {
		list, err := add()
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	for _, id := range unionKeys(here.Scripts, there.Scripts) {
		a, before := there.Scripts[id]
		b, after := here.Scripts[id]
		switch {
		case !before:
			out = append(out, Difference{Kind: KindScript, ID: id, Change: Created})
		case !after && prune:
			out = append(out, Difference{Kind: KindScript, ID: id, Change: Deleted})
		case after && a != b:
			out = append(out, Difference{Kind: KindScript, ID: id, Change: Updated, Fields: scriptFields(a.Content, b.Content)})
		}
	}
	return out, nil
}

// secretive is a document.
type secretive[T any] interface {
	*T
	Secrets() []*spec.Secret
}

func compare[T any, D secretive[T]](kind string, here, there map[string]D, prune bool) (out []Difference, err error) {
	for _, id := range unionKeys(here, there) {
		d := Difference{Kind: kind, ID: id}
		switch {
		case there[id] == nil:
			d.Change = Created
		case here[id] == nil && !prune:
			continue
		case here[id] == nil:
			d.Change = Deleted
		default:
			before, err := hidden[T, D](there[id])
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", kind, id, err)
			}
			after, err := hidden[T, D](here[id])
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", kind, id, err)
			}
			if fields("", before, after, &d.Fields); len(d.Fields) == 0 {
				continue
			}
			d.Change = Updated
		}
		out = append(out, d)
	}
	return out, nil
}

// SameSecrets reports whether documents that do not differ have the same secrets too,
// as far as that can be known here: a plain one may be another than the sealed one
// that is in force.
func SameSecrets(here, there *Documents) bool {
	return sameSecrets(here.Networks, there.Networks) && sameSecrets(here.Monitors, there.Monitors) && sameSecrets(here.Triggers, there.Triggers)
}

func sameSecrets[T any, D secretive[T]](here, there map[string]D) bool {
	for id, doc := range here {
		known := there[id]
		if known == nil {
			return false
		}
		before := known.Secrets()
		for i, s := range doc.Secrets() {
			if i >= len(before) || s.Type == spec.SecretPlain || *s != *before[i] {
				return false
			}
		}
	}
	return true
}

// hidden is a document as plain values, without what is secret in it.
func hidden[T any, D secretive[T]](doc D) (any, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	own := D(new(T))
	if err := json.Unmarshal(data, own); err != nil {
		return nil, err
	}
	for _, s := range own.Secrets() {
		if s.Type != spec.SecretStored {
			*s = spec.Secret{Type: spec.SecretSealed}
		}
	}
	if data, err = json.Marshal(own); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out any
	err = dec.Decode(&out)
	return out, err
}

// fields adds the places that differ.
func fields(at string, before, after any, out *[]Field) {
	switch a := before.(type) {
	case map[string]any:
		if b, ok := after.(map[string]any); ok {
			for _, key := range unionKeys(a, b) {
				x, had := a[key]
				y, has := b[key]
				member(join(at, key), x, y, had, has, out)
			}
			return
		}
	case []any:
		if b, ok := after.([]any); ok {
			for i := range max(len(a), len(b)) {
				var x, y any
				if i < len(a) {
					x = a[i]
				}
				if i < len(b) {
					y = b[i]
				}
				member(at+"["+strconv.Itoa(i)+"]", x, y, i < len(a), i < len(b), out)
			}
			return
		}
	}
	if before != after {
		*out = append(*out, Field{Path: at, Before: brief(before), After: brief(after)})
	}
}

func member(at string, before, after any, had, has bool, out *[]Field) {
	switch {
	case had && has:
		fields(at, before, after, out)
	case had:
		*out = append(*out, Field{Path: at, Before: brief(before)})
	default:
		*out = append(*out, Field{Path: at, After: brief(after)})
	}
}

func join(at, key string) string {
	switch {
	case strings.ContainsAny(key, `.[]" `) || key == "":
		return at + "[" + strconv.Quote(key) + "]"
	case at == "":
		return key
	}
	return at + "." + key
}

const briefLength = 100 // of a value that is shown, in characters

func brief(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return "?"
	}
	text := []rune(strings.TrimSuffix(b.String(), "\n"))
	if len(text) > briefLength {
		return string(text[:briefLength]) + "…"
	}
	return string(text)
}

// scriptFields tells where a script begins to differ.
func scriptFields(before, after string) []Field {
	if before == after {
		return []Field{{Path: "language"}}
	}
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	i := 0
	for i < min(len(a), len(b))-1 && a[i] == b[i] {
		i++
	}
	return []Field{{Path: "content, line " + strconv.Itoa(i+1), Before: brief(a[i]), After: brief(b[i])}}
}

func unionKeys[A, B any](a map[string]A, b map[string]B) []string {
	all := make(map[string]bool, len(a))
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return sortedKeys(all)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), cmp.Compare[string])
}
