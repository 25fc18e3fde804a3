package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"
)

// The documents that the demo runs with, in OpenZeppelin Monitor's format. What
// is only known when the chain runs is filled in.
//
//go:embed demo
var demoDocuments embed.FS

// demoValues are filled into the documents.
type demoValues struct {
	RPC, WS     string
	ChainID     uint64
	Token       string
	BlockTimeMS int64
	Receiver    string
	Secret      string
}

// demoFolder is where a demo keeps everything.
type demoFolder struct {
	root string
	keep bool
}

// newDemoFolder makes the folder: a temporary one unless the user named one,
// which must not hold anything yet.
func newDemoFolder(keep string) (demoFolder, error) {
	if keep == "" {
		root, err := os.MkdirTemp("", "ozmo-demo-")
		return demoFolder{root: root}, err
	}
	root, err := filepath.Abs(keep)
	if err != nil {
		return demoFolder{}, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return demoFolder{}, fmt.Errorf("--keep: %w", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return demoFolder{}, fmt.Errorf("--keep: %w", err)
	}
	if len(entries) > 0 {
		return demoFolder{}, fmt.Errorf("--keep: %s is not empty; the demo's chain begins anew each time, so give it a new folder", root)
	}
	return demoFolder{root: root, keep: true}, nil
}

func (f demoFolder) path(name string) string { return filepath.Join(f.root, name) }
func (f demoFolder) config() string          { return f.path("config") }
func (f demoFolder) data() string            { return f.path("data") }

func (f demoFolder) remove() error {
	if f.keep {
		return nil
	}
	return os.RemoveAll(f.root)
}

// writeDocuments fills in the documents and writes them to a folder.
func writeDocuments(dir string, values demoValues) error {
	return fs.WalkDir(demoDocuments, "demo", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		base, isTemplate := strings.CutSuffix(strings.TrimPrefix(name, "demo/"), ".tmpl")
		if !isTemplate {
			return errors.New(name + " is no template")
		}
		text, err := fs.ReadFile(demoDocuments, name)
		if err != nil {
			return err
		}
		t, err := template.New(path.Base(name)).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, values); err != nil {
			return err
		}
		file := filepath.Join(dir, filepath.FromSlash(base))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		return os.WriteFile(file, out.Bytes(), 0o600) // it holds a secret
	})
}
