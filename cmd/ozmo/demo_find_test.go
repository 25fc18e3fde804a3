package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func place(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindDevchain(t *testing.T) {
	dir := t.TempDir()
	alone := place(t, filepath.Join(dir, "alone", "ozmo"), "", 0o755)
	beside := place(t, filepath.Join(dir, "bin", "ozmo"), "", 0o755)
	neighbour := place(t, filepath.Join(dir, "bin", "devchain"), "", 0o755)
	noProgram := place(t, filepath.Join(dir, "odd", "ozmo"), "", 0o755)
	place(t, filepath.Join(dir, "odd", "devchain"), "", 0o644)
	place(t, filepath.Join(dir, "checkout", "go.mod"), "// sources\nmodule github.com/ozmo-dev/ozmo\n", 0o644)
	place(t, filepath.Join(dir, "checkout", "docs", "page.md"), "", 0o644)
	place(t, filepath.Join(dir, "other", "go.mod"), "module github.com/ozmo-dev/ozmo-like\n", 0o644)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(beside, link); err != nil {
		t.Fatal(err)
	}
	checkout, cached := filepath.Join(dir, "checkout"), filepath.Join(dir, "cache", "ozmo", "devchain")
	errBuild := errors.New("it does not compile")

	for _, tc := range []struct {
		name       string
		executable string
		path       map[string]string
		workDir    string
		buildErr   error
		want       string
		wantErr    error
		said       string // in the error, or in what was told while building
	}{
		{name: "beside the program, before all else", executable: beside, path: map[string]string{"devchain": "/usr/bin/devchain"}, want: neighbour},
		{name: "beside the file that a link leads to", executable: link, want: neighbour},
		{name: "in PATH, before a build", executable: alone, path: map[string]string{"devchain": "/usr/bin/devchain", "go": "/go"}, workDir: checkout, want: "/usr/bin/devchain"},
		{name: "what cannot be run is not it", executable: noProgram, path: map[string]string{"devchain": "/usr/bin/devchain"}, want: "/usr/bin/devchain"},
		{name: "built", executable: alone, path: map[string]string{"go": "/go"}, workDir: checkout, want: cached, said: "building the simulated chain from " + checkout},
		{name: "built from further down", executable: alone, path: map[string]string{"go": "/go"}, workDir: filepath.Join(checkout, "docs"), want: cached, said: checkout},
		{name: "not built", executable: alone, path: map[string]string{"go": "/go"}, workDir: checkout, buildErr: errBuild, wantErr: errBuild},
		{name: "no go", executable: alone, workDir: checkout, wantErr: errNoDevchain, said: "go.dev/dl"},
		{name: "another module", executable: alone, path: map[string]string{"go": "/go"}, workDir: filepath.Join(dir, "other"), wantErr: errNoDevchain, said: "go install github.com/ozmo-dev/ozmo/cmd/devchain@latest"},
		{name: "nowhere", executable: alone, path: map[string]string{"go": "/go"}, workDir: dir, wantErr: errNoDevchain, said: "make build"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var said strings.Builder
			built := ""
			f := devchainFinder{
				executable: func() (string, error) { return tc.executable, nil },
				lookPath: func(name string) (string, error) {
					if p, ok := tc.path[name]; ok {
						return p, nil
					}
					return "", exec.ErrNotFound
				},
				workDir:  func() (string, error) { return tc.workDir, nil },
				cacheDir: func() (string, error) { return filepath.Join(dir, "cache"), nil },
				build: func(_ context.Context, from, output string) error {
					built = from
					if _, err := os.Stat(filepath.Dir(output)); err != nil {
						return err
					}
					return tc.buildErr
				},
				say: func(format string, args ...any) { fmt.Fprintf(&said, format, args...) },
			}
			got, err := f.find(t.Context())
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("found %q, %v; want %q, %v", got, err, tc.want, tc.wantErr)
			}
			if err != nil {
				said.WriteString(err.Error())
			}
			if !strings.Contains(said.String(), tc.said) {
				t.Errorf("said %q, without %q", said.String(), tc.said)
			}
			if wants := tc.want == cached || tc.buildErr != nil; wants != (built == checkout) {
				t.Errorf("built from %q", built)
			}
		})
	}
}

func TestBuildDevchainFails(t *testing.T) {
	err := buildDevchain(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "devchain"))
	if err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("building from an empty folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := buildDevchain(ctx, t.TempDir(), filepath.Join(t.TempDir(), "devchain")); !errors.Is(err, context.Canceled) {
		t.Errorf("building when interrupted: %v", err)
	}
}
