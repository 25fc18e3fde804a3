package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/client"
)

// archiveOf makes an archive as a node does.
func archiveOf(t *testing.T, cluster, state string, change ...func(*client.Archive)) []byte {
	t.Helper()
	a := client.Archive{Format: 1, Cluster: cluster, Index: 99, Created: statusTime, Version: "v1.2.0"}
	for _, c := range change {
		c(&a)
	}
	meta, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sums := ""
	w := tar.NewWriter(&out)
	add := func(name, text string) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now()})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(text)), name)
	}
	add("meta.json", string(meta))
	add("state.bin", state)
	add("SHA256SUMS", sums)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestBackup(t *testing.T) {
	o := &operator{status: someStatus(), archive: archiveOf(t, "prod", strings.Repeat("state", 1000))}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	dir := t.TempDir()
	file := filepath.Join(dir, "x.tar")
	ozmo(t, "backup", file).want(t, exitOK, fmt.Sprintf("%s: %d bytes of cluster prod, log index 99\n", file, len(o.archive)), "")
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, o.archive) {
		t.Errorf("another archive is in the file: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	ozmo(t, "backup", file, "-o", "json").want(t, exitOK, `"index": 99`, "") // over the other
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("in the folder: %v", got)
	}

	into := t.TempDir()
	ozmo(t, "backup", into).want(t, exitOK, filepath.Join(into, "ozmo-prod-2"), "")
	t.Chdir(into)
	ozmo(t, "backup").want(t, exitOK, "ozmo-prod-2", "")
	for _, name := range entries(t, into) {
		if ok, err := filepath.Match("ozmo-prod-????????T??????Z.tar", name); err != nil || !ok {
			t.Errorf("%v: %q", err, name)
		}
	}
	if r := ozmo(t, "backup", "-"); r.code != exitOK || r.stdout != string(o.archive) {
		t.Errorf("exit %d, %d bytes on standard output: %s", r.code, len(r.stdout), r.stderr)
	}
}

// Under its name there is a whole archive, or what was there before.
func TestStaleBackup(t *testing.T) {
	o := &operator{status: someStatus(), archive: archiveOf(t, "prod", "state", func(a *client.Archive) { a.Stale = true })}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	file := filepath.Join(t.TempDir(), "x.tar")
	ozmo(t, "backup", "--stale", file).want(t, exitOK,
		fmt.Sprintf("%s: %d bytes of cluster prod, log index 99, STALE: what one node had, without a leader's word that it is all\n", file, len(o.archive)), "")
	if o.said() != "backup what there is" {
		t.Errorf("the node was asked to %q", o.said())
	}
	ozmo(t, "restore", "--yes", file).want(t, exitOK, "restored 2 tenants", "It is STALE")
}

func TestBackupThatFails(t *testing.T) {
	whole := archiveOf(t, "prod", strings.Repeat("state", 100_000))
	dir := t.TempDir()
	file := filepath.Join(dir, "x.tar")
	if err := os.WriteFile(file, []byte("yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	for name, o := range map[string]*operator{
		"the archive broke off":     {archive: whole, cut: true},
		"no leader":                 {err: errors.New("no leader")},
		"it ends before SHA256SUMS": {archive: archiveOf(t, "prod", "")[:0]},
		"checksum of \"state.bin\"": {archive: changed},
	} {
		o.status = someStatus()
		t.Setenv("OZMO_DATA", listenAs(t, o))
		ozmo(t, "backup", file).want(t, exitFailure, "", name)
		if got, err := os.ReadFile(file); err != nil || string(got) != "yesterday" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got := entries(t, dir); len(got) != 1 {
			t.Errorf("%s: in the folder: %v", name, got)
		}
	}
	t.Setenv("OZMO_DATA", listenAs(t, &operator{archive: whole, cut: true}))
	ozmo(t, "backup", "-").want(t, exitFailure, "", "what was written is no archive")
	ozmo(t, "backup", "/dev/null").want(t, exitFailure, "", "/dev/null is neither a file nor a folder")
	ozmo(t, "backup", filepath.Join(dir, "none", "x.tar")).want(t, exitFailure, "", "no such file")
	ozmo(t, "backup", dir).want(t, exitFailure, "", "there is nothing to back up") // the node waits
}

func TestRestore(t *testing.T) {
	archive := archiveOf(t, "test", strings.Repeat("state", 1000))
	o := &operator{status: someStatus()}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	dir := write(t, map[string]any{"x.tar": string(archive), "half.tar": string(archive[:len(archive)/2]), "text.tar": strings.Repeat("text", 1000), "empty.tar": ""})
	in := func(name string) string { return filepath.Join(dir, name) }
	r := ozmo(t, "restore", in("x.tar"), "--yes")
	r.want(t, exitOK, "restored 2 tenants and 1 network, as of log index 7\n", "It replaces all that cluster prod holds now: 3 tenants and 3 networks.\nThese are two CLUSTERS")
	if want := fmt.Sprintf("restore %d bytes", len(archive)); o.said() != want {
		t.Errorf("the node was asked to %q, want %q", o.said(), want)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"restore", "-", "--yes", "-o", "json"}, bytes.NewReader(archive), &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), `"tenants": 2`) {
		t.Errorf("exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
	r = ozmo(t, "restore", in("x.tar"), "--yes", "--incomplete")
	r.want(t, exitOK, `restored 2 tenants and 1 network, as of log index 7
tenant acme: 1 document in force and 0 of earlier versions are missing in PostgreSQL: it WAITS until they are there
tenant bolt: 0 documents in force and 2 of earlier versions are missing in PostgreSQL: it cannot return to versions that had them
`, "It replaces")
	if want := fmt.Sprintf("restore %d bytes, complete or not", len(archive)); !strings.HasSuffix(o.said(), want) {
		t.Errorf("the node was asked to %q, want %q", o.said(), want)
	}
	ozmo(t, "restore", in("x.tar")).want(t, exitUsage, "", "give --yes")
	ozmo(t, "restore", "-").want(t, exitUsage, "", "give --yes")
	o.mu.Lock()
	o.orders = nil
	o.mu.Unlock()
	for _, name := range []string{"half.tar", "text.tar", "empty.tar"} {
		ozmo(t, "restore", in(name), "--yes").want(t, exitFailure, "", "this is no whole archive of `ozmo backup`")
	}
	ozmo(t, "restore", in("none.tar"), "--yes").want(t, exitFailure, "", "no such file")
	if o.said() != "" {
		t.Errorf("the node was asked to %q", o.said())
	}
}
