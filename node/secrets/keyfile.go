package secrets

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ozmo-dev/ozmo/node/durable"
)

// KeyFile is the name of the master key's file in a data directory: 64
// hexadecimal digits and a line end, readable by its owner alone.
const KeyFile = "sealing.key"

// Errors of key files.
var (
	// ErrNoKey means that the data directory has no key file.
	ErrNoKey = errors.New("no sealing key")
	// ErrKeyMode means that others than the owner may read or change the key.
	ErrKeyMode = errors.New("sealing key is open to others")
	// ErrBadKey means that the key file does not hold a key.
	ErrBadKey = errors.New("sealing key is damaged: restore it from a backup or from another node of the cluster")
	// ErrOtherKey means that the data directory has another key already.
	ErrOtherKey = errors.New("another sealing key is there already: what it sealed could not be opened any more")
)

// NewKey makes a random master key.
func NewKey() Key {
	var key Key
	_, _ = rand.Read(key[:]) // never fails
	return key
}

// LoadKey reads the key of a data directory. Errors wrap ErrNoKey, ErrKeyMode
// or ErrBadKey, or come from the file system.
func LoadKey(dir string) (Key, error) {
	name := filepath.Join(dir, KeyFile)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, fmt.Errorf("%s: %w", name, ErrNoKey)
	}
	if err != nil {
		return Key{}, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened, not of what the name means by now
	if err != nil {
		return Key{}, err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("%s: %w (mode %s): run chmod 600 on it, and consider its secrets known to whoever could read it", name, ErrKeyMode, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", name, err)
	}
	data, err := hex.DecodeString(strings.TrimRight(string(text), "\r\n"))
	if err != nil || len(data) != KeySize {
		return Key{}, fmt.Errorf("%s: %w", name, ErrBadKey) // err would quote the key
	}
	return Key(data), nil
}

// SaveKey puts a key into a data directory, where it survives a crash once
// SaveKey has returned. The same key may be there already; with another one
// the error wraps ErrOtherKey and nothing changes.
func SaveKey(dir string, key Key) error {
	// It does not replace what is there: of two processes making a key at once,
	// one wins and both find out.
	name := filepath.Join(dir, KeyFile)
	err := durable.Create(name, []byte(hex.EncodeToString(key[:])+"\n"), 0o600)
	if errors.Is(err, fs.ErrExist) {
		present, damaged := LoadKey(dir)
		if damaged != nil {
			return damaged
		}
		if present != key {
			return fmt.Errorf("%s: %w", name, ErrOtherKey)
		}
		err = durable.SyncDir(dir) // who made it may have crashed before doing so
	}
	if err != nil {
		return fmt.Errorf("sealing key: %w", err)
	}
	return nil
}

// LoadOrCreateKey reads the key of a data directory, making one if there is
// none. Only a node that founds a cluster may do that; others are handed the
// cluster's key.
func LoadOrCreateKey(dir string) (Key, error) {
	key, err := LoadKey(dir)
	if !errors.Is(err, ErrNoKey) {
		return key, err
	}
	if err := SaveKey(dir, NewKey()); err != nil && !errors.Is(err, ErrOtherKey) {
		return Key{}, err
	}
	return LoadKey(dir) // ours, or that of who was faster
}
