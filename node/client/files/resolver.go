package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Missing is a secret that this machine does not have.
type Missing struct {
	Type   string   `json:"type"` // as in package spec
	Name   string   `json:"name"`
	Places []string `json:"places"` // "file: path" of each reference
}

// Help says how to give the secret.
func (m Missing) Help() string {
	switch m.Type {
	case spec.SecretEnvironment:
		return "set the variable, or write it into the file of --env-file"
	case spec.SecretFile:
		return "put the file into the folder"
	case spec.SecretVault:
		return `HCP Vault Secrets is not read: write {"type":"environment"} or {"type":"stored"} in its place`
	}
	return `write {"type":"environment"} or {"type":"stored"} in its place`
}

// recorder resolves secrets and remembers those that it could not.
type recorder struct {
	next spec.Resolver

	mu     sync.Mutex
	failed map[string]spec.Secret // by the text of the problem
}

// Resolve implements spec.Resolver.
func (r *recorder) Resolve(ctx context.Context, s spec.Secret) (string, error) {
	v, err := r.next.Resolve(ctx, s)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed[fmt.Sprintf("cannot be resolved: %v", err)] = s
	}
	return v, err
}

// missing finds the places of what could not be resolved among the problems.
func (r *recorder) missing(problems spec.Problems) []Missing {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[spec.Secret]*Missing{}
	for _, p := range problems {
		s, ok := r.failed[p.Message]
		if !ok {
			continue
		}
		m := found[s]
		if m == nil {
			m = &Missing{Type: s.Type, Name: s.Value}
			found[s] = m
		}
		m.Places = append(m.Places, strings.TrimPrefix(p.File+": "+p.Path, ": "))
	}
	out := make([]Missing, 0, len(found))
	for _, m := range slices.SortedFunc(maps.Values(found), func(a, b *Missing) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	}) {
		out = append(out, *m)
	}
	return out
}

// ParseEnv reads a file of variables, as OpenZeppelin Monitor's .env is: NAME=VALUE
// lines, with or without "export" and quotes; what begins with # is passed over.
func ParseEnv(text string) (map[string]string, error) {
	out := map[string]string{}
	var wrong []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			wrong = append(wrong, fmt.Errorf("line %d: want NAME=VALUE", n)) // it is not shown: it may be a secret
			continue
		}
		out[name] = unquoted(strings.TrimSpace(value))
	}
	return out, errors.Join(wrong...)
}

// unquoted takes the quotes off a value, and the remark behind it.
func unquoted(value string) string {
	for _, quote := range []string{`"`, "'"} {
		inner, ok := strings.CutPrefix(value, quote)
		if !ok {
			continue
		}
		if end := strings.Index(inner, quote); end >= 0 {
			if rest := strings.TrimSpace(inner[end+1:]); rest == "" || rest[0] == '#' {
				return inner[:end]
			}
		}
		return value
	}
	if i := strings.Index(value, " #"); i >= 0 {
		value = strings.TrimSpace(value[:i])
	}
	return value
}

// exists reports whether there is a folder of that name.
func exists(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.IsDir()
}
