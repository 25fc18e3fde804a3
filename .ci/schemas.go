//go:build ignore

// Usage: go run .ci/schemas.go OUT SWAGGER COMPOSE
//
// Writes JSON schemas for kubeconform into the folder OUT: one for each kind of
// Kubernetes' API, from SWAGGER (api/openapi-spec/swagger.json of k8s.io/kubernetes),
// and one for compose files, from COMPOSE (the specification's own schema).
//
// The schemas are stricter than the API server's first look: a field that is not
// in the specification is an error at every depth, and so is a null.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

type object = map[string]any

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: schemas.go OUT SWAGGER COMPOSE"))
	}
	out, swagger, compose := os.Args[1], os.Args[2], os.Args[3]
	fail(os.MkdirAll(out, 0o755))
	fail(kubernetes(out, swagger))
	fail(composeFile(out, compose))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

// kubernetes writes KIND-GROUP-VERSION.json for every kind, with the definitions
// that it reaches.
func kubernetes(out, file string) error {
	swagger, err := read(file)
	if err != nil {
		return err
	}
	definitions, _ := swagger["definitions"].(object)
	for _, d := range definitions {
		strict(d)
	}
	written := 0
	for name, d := range definitions {
		definition := d.(object)
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // no kind of its own, or one of all groups, like DeleteOptions
		}
		gvk := kinds[0].(object)
		group, version, kind := gvk["group"].(string), gvk["version"].(string), gvk["kind"].(string)
		schema := maps.Clone(definition)
		schema["$schema"] = "http://json-schema.org/draft-07/schema#"
		schema["definitions"] = reached(definitions, name)
		schema["required"] = append([]any{"apiVersion", "kind"}, list(definition["required"])...)
		if err := write(filepath.Join(out, fileName(kind, group, version)), schema); err != nil {
			return err
		}
		written++
	}
	if written < 50 {
		return fmt.Errorf("%s defines %d kinds: is it Kubernetes' swagger.json?", file, written)
	}
	return nil
}

// fileName is kubeconform's {{.ResourceKind}}{{.KindSuffix}}.json.
func fileName(kind, group, version string) string {
	parts := []string{kind, version}
	if first, _, _ := strings.Cut(group, "."); first != "" {
		parts = []string{kind, first, version}
	}
	return strings.ToLower(strings.Join(parts, "-")) + ".json"
}

// strict allows no fields but those that are described, in a definition and in
// all that is in it.
func strict(schema any) {
	switch s := schema.(type) {
	case object:
		if s["format"] == "int-or-string" {
			delete(s, "type")
			delete(s, "format")
			s["oneOf"] = []any{object{"type": "string"}, object{"type": "integer"}}
		}
		if _, ok := s["properties"].(object); ok && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
		for _, v := range s {
			strict(v)
		}
	case []any:
		for _, v := range s {
			strict(v)
		}
	}
}

// reached are the definitions that one refers to, directly or not.
func reached(definitions object, name string) object {
	found := object{}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				to := strings.TrimPrefix(ref, "#/definitions/")
				if found[to] == nil {
					found[to] = definitions[to]
					visit(definitions[to])
				}
			}
			for _, x := range v {
				visit(x)
			}
		case []any:
			for _, x := range v {
				visit(x)
			}
		}
	}
	visit(definitions[name])
	return found
}

// composeFile writes the schema of compose files. kubeconform only reads what
// says its kind, so the check puts two lines before the file, which are allowed
// here.
func composeFile(out, file string) error {
	schema, err := read(file)
	if err != nil {
		return err
	}
	properties, ok := schema["properties"].(object)
	if !ok || properties["services"] == nil {
		return fmt.Errorf("%s describes no services: is it compose-spec.json?", file)
	}
	properties["apiVersion"] = object{"const": "compose/v1"}
	properties["kind"] = object{"const": "Compose"}
	return write(filepath.Join(out, fileName("Compose", "compose", "v1")), schema)
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func read(file string) (object, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return o, nil
}

func write(file string, o object) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
