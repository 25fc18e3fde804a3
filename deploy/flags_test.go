package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/manifests"
)

// TestFlags finds flags in the files that the program does not have. As variables
// they would be passed over in silence.
func TestFlags(t *testing.T) {
	known := programStrings(t, "../cmd/ozmo")
	check := func(who string, c *manifests.Command) {
		for _, flag := range c.Flags() {
			if !known[flag] {
				t.Errorf("%s: ozmo has no flag --%s", who, flag)
			}
		}
	}
	check("statefulset.yaml", &statefulSet(t).Pods[0].Command)
	check("ozmo.service", &unit(t).Command)
	services := composeServices(t)
	for _, name := range []string{"init", "a", "b", "c"} {
		s := services[name]
		check("compose.yaml: "+name, &s.Command)
	}
	// What the example of an environment file only mentions.
	text, err := os.ReadFile("systemd/ozmo.env")
	if err != nil {
		t.Fatal(err)
	}
	env := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), "="); ok && strings.HasPrefix(name, "OZMO_") {
			env[name] = "x"
		}
	}
	if len(env) < 8 {
		t.Errorf("only %d variables are found in ozmo.env", len(env))
	}
	check("ozmo.env", &manifests.Command{Env: env})
}

// programStrings are the string literals of a program: the names of its flags are
// among them.
func programStrings(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	out := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					out[s] = true
				}
			}
			return true
		})
	}
	return out
}
