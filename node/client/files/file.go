package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// File is documents from one file.
type File struct {
	*Documents
	// Whole tells that the file has the form of a whole configuration, where what is
	// not in it is not there; else it holds single documents.
	Whole bool
	// Missing are the secrets that this machine does not have.
	Missing []Missing
}

// Read reads a file: a monitor, a network, a trigger as the API shows it, an object of
// triggers by id, or a whole configuration as the API shows it ({"networks": ...,
// "monitors": ...}); in JSON, or any number of them in YAML. Secret files are looked for
// in dir. What documents refer to is not checked: it may be in force already.
func Read(ctx context.Context, name string, data []byte, dir string, env func(string) (string, bool)) (*File, spec.Problems, error) {
	resolver, err := secrets.NewResolver(dir, env)
	if err != nil {
		return nil, nil, err
	}
	defer resolver.Close()
	r := &recorder{next: resolver, failed: map[string]spec.Secret{}}
	f := &File{Documents: newDocuments()}
	p := &fileReader{file: f, name: name, options: []spec.Option{
		spec.WithResolver(ctx, r), spec.WithTime(time.Now()), spec.WithSealed(), spec.WithFile(name),
	}}
	documents, err := jsonOf(data)
	if err != nil {
		p.fail("", "%v", err)
	}
	for _, document := range documents {
		p.document(document)
	}
	if len(documents) == 0 && err == nil {
		p.fail("", "is empty, expected a document")
	}
	f.Missing = r.missing(p.problems)
	if p.problems.Err() != nil {
		return f, p.problems, nil
	}
	return f, p.problems, resolveAll(ctx, r, f.secrets())
}

// jsonOf are the documents of a file, each as JSON. JSON stays as it is, so that
// what is wrong with it is told of the text that was written.
func jsonOf(data []byte) ([][]byte, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return [][]byte{data}, nil
	}
	var out [][]byte
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("is neither JSON nor YAML: %w", err)
		}
		if v == nil {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, errors.New("holds what JSON has not, such as a key that is no text")
		}
		out = append(out, text)
	}
}

type fileReader struct {
	file     *File
	name     string
	options  []spec.Option
	problems spec.Problems
}

func (r *fileReader) fail(path, format string, args ...any) {
	r.problems = append(r.problems, spec.Problem{File: r.name, Path: path, Severity: spec.SeverityError, Message: fmt.Sprintf(format, args...)})
}

// under are problems of a document as those of a place in the file.
func under(at string, problems spec.Problems) spec.Problems {
	for i := range problems {
		switch p := &problems[i]; {
		case at == "":
		case p.Path == "":
			p.Path = at
		case p.Path[0] == '[':
			p.Path = at + p.Path
		default:
			p.Path = at + "." + p.Path
		}
	}
	return problems
}

// members are those of a configuration.
var members = []string{"version", "networks", "monitors", "triggers", "scripts"}

func (r *fileReader) document(data []byte) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		_, problems := spec.ParseMonitor(data, r.options...) // tells what is wrong with it as JSON
		r.problems = append(r.problems, problems...)
		return
	}
	_, isMonitor := top["match_conditions"]
	_, isNetwork := top["network_type"]
	switch {
	case isMonitor:
		m, problems := spec.ParseMonitor(data, r.options...)
		r.problems = append(r.problems, problems...)
		if m != nil {
			r.addMonitor(m.Name, "", m)
		}
	case isNetwork:
		n, problems := spec.ParseNetwork(data, r.options...)
		r.problems = append(r.problems, problems...)
		if n != nil {
			r.addNetwork(n.Slug, "", n)
		}
	case isType(top["trigger_type"]):
		t, problems := spec.ParseTrigger(data, r.options...)
		r.problems = append(r.problems, problems...)
		if t != nil {
			r.addTrigger(t.Name, "", t)
			r.file.named[t.Name] = true
		}
	case len(top) > 0 && !slices.ContainsFunc(sortedKeys(top), func(key string) bool { return !slices.Contains(members, key) }):
		r.file.Whole = true
		r.configuration(top)
	case isTrigger(top):
		triggers, problems := spec.ParseTriggerFile(data, r.options...)
		r.problems = append(r.problems, problems...)
		for _, id := range sortedKeys(triggers) {
			r.addTrigger(id, id, triggers[id])
		}
	default:
		r.fail("", "is no monitor (with match_conditions), no network (with network_type), no trigger (with trigger_type), alone or in an object of triggers by id, and no configuration (networks, monitors, triggers, scripts)")
	}
}

// isTrigger reports whether a document is triggers by id.
func isTrigger(top map[string]json.RawMessage) bool {
	for _, raw := range top {
		var t struct {
			Type json.RawMessage `json:"trigger_type"`
		}
		if json.Unmarshal(raw, &t) == nil && isType(t.Type) {
			return true
		}
	}
	return false
}

// isType reports whether a value may be a trigger's type, rather than a trigger of
// the id "trigger_type".
func isType(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func (r *fileReader) addMonitor(id, at string, m *spec.Monitor) {
	if r.file.Monitors[id] != nil {
		r.fail(at, "is a second monitor %q: ids and names are unique", id)
	}
	r.file.Monitors[id] = m
}

func (r *fileReader) addNetwork(id, at string, n *spec.Network) {
	if r.file.Networks[id] != nil {
		r.fail(at, "is a second network %q: slugs are unique", id)
	}
	r.file.Networks[id] = n
}

func (r *fileReader) addTrigger(id, at string, t *spec.Trigger) {
	if r.file.Triggers[id] != nil {
		r.fail(at, "is a second trigger %q: ids are unique", id)
	}
	r.file.Triggers[id] = t
}

func (r *fileReader) configuration(top map[string]json.RawMessage) {
	for _, name := range sortedKeys(top) {
		if name == "version" {
			continue // of what was in force where it was made
		}
		var docs map[string]json.RawMessage
		if err := json.Unmarshal(top[name], &docs); err != nil {
			r.fail(name, "expected an object of documents by id")
			continue
		}
		for _, id := range sortedKeys(docs) {
			at := join(name, id)
			switch name {
			case "networks":
				if n, problems := spec.ParseNetwork(docs[id], r.options...); r.took(at, problems) {
					r.addNetwork(id, at, n)
				}
			case "monitors":
				if m, problems := spec.ParseMonitor(docs[id], r.options...); r.took(at, problems) {
					r.addMonitor(id, at, m)
				}
			case "triggers":
				if t, problems := spec.ParseTrigger(docs[id], r.options...); r.took(at, problems) {
					r.addTrigger(id, at, t)
				}
			case "scripts":
				var s client.Script
				dec := json.NewDecoder(bytes.NewReader(docs[id]))
				dec.DisallowUnknownFields()
				if err := dec.Decode(&s); err != nil {
					r.fail(at, `expected an object like {"language": "Python", "content": ...}`)
					continue
				}
				r.file.Scripts[id] = s
			}
		}
	}
}

func (r *fileReader) took(at string, problems spec.Problems) bool {
	r.problems = append(r.problems, under(at, problems)...)
	return problems.Err() == nil
}
