package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadKey(dir); !errors.Is(err, ErrNoKey) {
		t.Fatalf("LoadKey of an empty folder = %v, want ErrNoKey", err)
	}
	key, err := LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadOrCreateKey(dir); err != nil || again != key {
		t.Errorf("the key changed: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s, want 0600", info.Mode())
	}
	onlyKeyFile(t, dir)
}

func TestKeysMadeAtOnceAreOne(t *testing.T) {
	dir := t.TempDir()
	keys := make([]Key, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = LoadOrCreateKey(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatal("two keys were made")
		}
	}
	onlyKeyFile(t, dir)
}

func TestSaveKeyNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	if err := SaveKey(dir, testKey(1)); err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(dir, testKey(1)); err != nil {
		t.Errorf("the same key again: %v", err)
	}
	if err := SaveKey(dir, testKey(2)); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key: %v, want ErrOtherKey", err)
	}
	if got, err := LoadKey(dir); err != nil || got != testKey(1) {
		t.Errorf("the key was replaced: %v", err)
	}
	onlyKeyFile(t, dir)
}

func TestLoadKeyRefuses(t *testing.T) {
	good := strings.Repeat("ab", KeySize) + "\n"
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		want       error
	}{
		{"group may read", good, 0o640, ErrKeyMode},
		{"others may read", good, 0o604, ErrKeyMode},
		{"group may write", good, 0o620, ErrKeyMode},
		{"empty", "", 0o600, ErrBadKey},
		{"short", good[2:], 0o600, ErrBadKey},
		{"long", "ab" + good, 0o600, ErrBadKey},
		{"no digits", strings.Replace(good, "a", "x", 1), 0o600, ErrBadKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, KeyFile)
			if err := os.WriteFile(name, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(name, tc.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			_, err := LoadOrCreateKey(dir)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if strings.Contains(err.Error(), "abab") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// onlyKeyFile checks that no temporary file was left behind.
func onlyKeyFile(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != KeyFile {
		t.Errorf("folder holds %v, want %s alone", entries, KeyFile)
	}
}
