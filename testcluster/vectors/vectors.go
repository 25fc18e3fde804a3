package vectors

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Folder is the folder of an area: below $OZMO_VECTORS, or below the folder
// shared/vectors beside the repository. A test without it is skipped. A relative
// $OZMO_VECTORS counts from the root of the repository.
func Folder(t testing.TB, area string) string {
	t.Helper()
	root := repository(t)
	dir := os.Getenv("OZMO_VECTORS")
	switch {
	case dir == "":
		dir = filepath.Join(root, "..", "shared", "vectors")
	case !filepath.IsAbs(dir):
		dir = filepath.Join(root, dir)
	}
	dir = filepath.Join(dir, area)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no conformance vectors in %s: set OZMO_VECTORS to the folder that holds %s", dir, area)
	}
	return dir
}

// Files are the cases of an area by name, in the order of their names.
func Files(t testing.TB, area string) []Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Folder(t, area), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	cases := make([]Case, len(files))
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cases[i] = Case{Name: strings.TrimSuffix(filepath.Base(f), ".json"), Data: data}
	}
	return cases
}

// Case is one vector.
type Case struct {
	Name string
	Data []byte
}

// Summary prints the line that tells how an area fared, to standard output, so
// that a script can gather the lines of all areas.
func Summary(area string, passed, deviations, failed int, remark string) {
	line := fmt.Sprintf("%s: %d passed, %d deviations, %d failed", area, passed, deviations, failed)
	if remark != "" {
		line += " (" + remark + ")"
	}
	fmt.Fprintln(os.Stdout, line)
}

func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
