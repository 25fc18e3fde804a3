package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// contextEntry is one server that the person at the terminal works with.
type contextEntry struct {
	Server   string `json:"server"`
	Key      string `json:"key,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
	CAFile   string `json:"ca_file,omitempty"`
	Insecure bool   `json:"insecure_http,omitempty"`
}

// keyID is the part of the key that is no secret.
func (c contextEntry) keyID() string {
	parts := strings.Split(c.Key, "_")
	if len(parts) != 3 || parts[0] != "ozmo" {
		return ""
	}
	return parts[1]
}

// contexts are those of the context file.
type contexts struct {
	Current string                  `json:"current,omitempty"`
	Entries map[string]contextEntry `json:"contexts"`
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// defaultContextFile is where contexts are without --context-file. It is not in
// OZMO_CONFIG: that is the folder of `ozmo serve`.
func defaultContextFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "" // there is no home: contexts need --context-file
	}
	return filepath.Join(dir, "ozmo", "contexts.json")
}

// readContexts reads the context file; one that is not there has none. One that
// others may read is refused: its keys are known to them.
func readContexts(file string) (*contexts, error) {
	c := &contexts{Entries: map[string]contextEntry{}}
	if file == "" {
		return c, nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("context file: %w", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("context file %s may be read by others (mode %04o), and holds keys: chmod 600 it, and have other keys made if somebody has read it", file, info.Mode().Perm())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("context file: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("context file %s: it is not as `ozmo context set` writes it: %w", file, err)
	}
	if c.Entries == nil {
		c.Entries = map[string]contextEntry{}
	}
	return c, nil
}

// write puts the file in the place of the one before, whole or not at all.
func (c *contexts) write(file string) error {
	if file == "" {
		return errors.New("this user has no folder for settings: name a file with --context-file or OZMO_CONTEXT_FILE")
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("context file: %w", err)
	}
	f, err := os.CreateTemp(dir, ".contexts-*") // mode 0600
	if err != nil {
		return fmt.Errorf("context file: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("context file: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func (c *contexts) names() []string { return slices.Sorted(maps.Keys(c.Entries)) }

// find is the context of a name.
func (c *contexts) find(name string) (contextEntry, error) {
	e, ok := c.Entries[name]
	if !ok {
		if len(c.Entries) == 0 {
			return e, fmt.Errorf("there is no context %q, nor any other: make one with `ozmo context set`", name)
		}
		return e, fmt.Errorf("there is no context %q, only %s", name, strings.Join(c.names(), ", "))
	}
	return e, nil
}
