package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ozmo-dev/ozmo/node/durable"
)

// Files are where the certificates of a node or an operator lie, all PEM.
type Files struct {
	CA   string // one CA certificate, or several while one takes over from another
	Cert string // the own certificate, and those between it and the CA
	Key  string
}

// Names in a data directory.
const (
	folder = "pki"
	caName = "ca.pem"
	crName = "node.pem"
	kyName = "node.key"
)

// FilesIn are the files of a data directory.
func FilesIn(dataDir string) Files {
	dir := filepath.Join(dataDir, folder)
	return Files{CA: filepath.Join(dir, caName), Cert: filepath.Join(dir, crName), Key: filepath.Join(dir, kyName)}
}

// Material is what Files hold, in PEM.
type Material struct{ CA, Cert, Key []byte }

// Format hides the key.
func (m Material) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[certificate and key]")) }

// Save puts certificates and key into a data directory, replacing what is there.
// All three change or none does, also through a crash.
func (m Material) Save(dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	if err := settle(dataDir); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	unfinished, _ := filepath.Glob(filepath.Join(dataDir, folder+".tmp-*")) // fails on bad patterns only
	for _, dir := range unfinished {
		_ = os.RemoveAll(dir) // of a Save that did not live to remove it
	}
	tmp, err := os.MkdirTemp(dataDir, folder+".tmp-*") // mode 0700
	if err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	defer os.RemoveAll(tmp)
	for name, data := range map[string][]byte{caName: m.CA, crName: m.Cert, kyName: m.Key} {
		if err := durable.WriteFile(filepath.Join(tmp, name), data, 0o600); err != nil {
			return fmt.Errorf("save certificates: %w", err)
		}
	}
	// The name pki.new is given to complete folders only: from here on, who
	// finds it finishes the change.
	err = os.Rename(tmp, filepath.Join(dataDir, folder+".new"))
	if err == nil {
		err = durable.SyncDir(dataDir)
	}
	if err == nil {
		err = settle(dataDir)
	}
	if err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	return nil
}

// Saved says whether a data directory holds certificates. It first finishes
// what a Save left undone when the process ended in the middle.
func Saved(dataDir string) (bool, error) {
	if err := settle(dataDir); err != nil {
		return false, fmt.Errorf("certificates: %w", err)
	}
	return exists(filepath.Join(dataDir, folder))
}

// settle puts a complete new folder in the place of the present one.
func settle(dataDir string) error {
	present := filepath.Join(dataDir, folder)
	fresh, old := present+".new", present+".old"
	pending, err := exists(fresh)
	if err != nil {
		return err
	}
	there, err := exists(present)
	if err != nil {
		return err
	}
	if there {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	if !pending {
		return nil
	}
	if there {
		if err := os.Rename(present, old); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, present); err != nil {
		return err
	}
	if err := durable.SyncDir(dataDir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// state is what tells whether files have changed; comparable.
type state [3]struct {
	size     int64
	modified time.Time
	missing  bool
}

func (f Files) state() state {
	var s state
	for i, name := range []string{f.CA, f.Cert, f.Key} {
		info, err := os.Stat(name)
		if err != nil {
			s[i].missing = true
			continue
		}
		s[i].size, s[i].modified = info.Size(), info.ModTime().UTC()
	}
	return s
}

// exposed says which others than the owner may read a secret file; empty:
// none.
func exposed(info fs.FileInfo) string {
	switch mode := info.Mode().Perm(); {
	case mode&0o007 != 0:
		return fmt.Sprintf("every user of this machine (mode %#o)", mode)
	case mode&0o070 != 0:
		return fmt.Sprintf("its group (mode %#o)", mode)
	default:
		return ""
	}
}
