package pki_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
)

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ca := newCA(t, "one")
	if there, err := pki.Saved(dir); there || err != nil {
		t.Errorf("before: %v, %v", there, err)
	}
	for _, name := range []string{"a", "b"} { // the second replaces the first
		if err := equip(t, ca, "one", name, pki.RoleNode).Save(dir); err != nil {
			t.Fatal(err)
		}
		if there, err := pki.Saved(dir); !there || err != nil {
			t.Errorf("after: %v, %v", there, err)
		}
		c, err := pki.LoadIn(dir, "one", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Identity(); got != (pki.Identity{Cluster: "one", Name: name, Role: pki.RoleNode}) {
			t.Errorf("identity %+v", got)
		}
		if pki.Fingerprint(c.CA()) != ca.Fingerprint() {
			t.Error("another CA")
		}
	}
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		rel, err := filepath.Rel(dir, path)
		found = append(found, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".", "pki", "pki/ca.pem", "pki/node.key", "pki/node.pem"}; !slices.Equal(found, want) {
		t.Errorf("found %q", found)
	}
}

// A crash in the middle of Save leaves the old or the new files, never a mix.
func TestSaveThroughCrashes(t *testing.T) {
	ca := newCA(t, "one")
	put := func(t *testing.T, dir, name string) {
		t.Helper()
		m := equip(t, ca, "one", name, pki.RoleNode)
		write(t, filepath.Join(dir, "ca.pem"), m.CA)
		write(t, filepath.Join(dir, "node.pem"), m.Cert)
		write(t, filepath.Join(dir, "node.key"), m.Key)
	}
	for _, tc := range []struct {
		name    string
		folders map[string]string // folder -> whose files
		want    string
	}{
		{"while writing", map[string]string{"pki": "old", "pki.tmp-1": "new"}, "old"},
		{"once written", map[string]string{"pki": "old", "pki.new": "new"}, "new"},
		{"once written, the first time", map[string]string{"pki.new": "new"}, "new"},
		{"in the middle of the exchange", map[string]string{"pki.old": "old", "pki.new": "new"}, "new"},
		{"before cleaning up", map[string]string{"pki.old": "old", "pki": "new"}, "new"},
		{"twice", map[string]string{"pki.old": "older", "pki": "old", "pki.new": "new"}, "new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for folder, name := range tc.folders {
				put(t, filepath.Join(dir, folder), name)
			}
			if there, err := pki.Saved(dir); !there || err != nil {
				t.Fatalf("%v, %v", there, err)
			}
			c, err := pki.LoadIn(dir, "one", nil)
			if err != nil || c.Identity().Name != tc.want {
				t.Fatalf("%v: found those of %q", err, c.Identity().Name)
			}
			if err := equip(t, ca, "one", "next", pki.RoleNode).Save(dir); err != nil {
				t.Fatal(err)
			}
			if c, err = pki.LoadIn(dir, "one", nil); err != nil || c.Identity().Name != "next" {
				t.Fatalf("%v", err)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	ca, other := newCA(t, "one"), newCA(t, "one")
	good := equip(t, ca, "one", "a", pki.RoleNode)
	second := equip(t, ca, "one", "a", pki.RoleNode)
	for _, tc := range []struct {
		name     string
		material pki.Material
		want     string
	}{
		{"no CA", pki.Material{CA: nil, Cert: good.Cert, Key: good.Key}, "CA: there is no certificate"},
		{"no certificate", pki.Material{CA: good.CA, Cert: []byte("x"), Key: good.Key}, "certificate: there is no certificate"},
		{"no key", pki.Material{CA: good.CA, Cert: good.Cert}, "certificate and key"},
		{"another's key", pki.Material{CA: good.CA, Cert: good.Cert, Key: second.Key}, "does not match"},
		{"CA that is none", pki.Material{CA: good.Cert, Cert: good.Cert, Key: good.Key}, "not the certificate of a CA"},
		{"another CA", pki.Material{CA: other.CertPEM, Cert: good.Cert, Key: good.Key}, "signed by another CA"},
		{"another cluster", equip(t, ca, "two", "a", pki.RoleNode), `belongs to cluster "two", this one to "one"`},
	} {
		dir := t.TempDir()
		if err := tc.material.Save(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.LoadIn(dir, "one", nil); err == nil || !contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := pki.LoadIn(t.TempDir(), "one", nil); err == nil {
		t.Error("loaded from an empty folder")
	}
	// While one CA takes over from another, both are in the file.
	both := pki.Material{CA: slices.Concat(other.CertPEM, ca.CertPEM), Cert: good.Cert, Key: good.Key}
	if c := load(t, both, "one"); pki.Fingerprint(c.CA()) != ca.Fingerprint() {
		t.Error("the wrong one of two CAs is taken for ours")
	}
}

func TestExposedKeyIsReported(t *testing.T) {
	dir := t.TempDir()
	if err := equip(t, newCA(t, "one"), "one", "a", pki.RoleNode).Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pki.FilesIn(dir).Key, 0o644); err != nil {
		t.Fatal(err)
	}
	var out logs.Buffer
	if _, err := pki.LoadIn(dir, "one", slog.New(slog.NewTextHandler(&out, nil))); err != nil {
		t.Fatal(err)
	}
	if !contains(out.String(), "chmod 600") {
		t.Errorf("no warning: %s", out.String())
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		files := pki.FilesIn(dir)
		ca, next := newCA(t, "one"), newCA(t, "one")
		first, second := equip(t, ca, "one", "a", pki.RoleNode), equip(t, ca, "one", "a", pki.RoleNode)
		if err := first.Save(dir); err != nil {
			t.Fatal(err)
		}
		var out logs.Buffer
		c, err := pki.LoadIn(dir, "one", slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		modified := time.Now()
		change := func(path string, data []byte) {
			t.Helper()
			write(t, path, data)
			modified = modified.Add(time.Minute) // whatever the file system's resolution is
			if err := os.Chtimes(path, modified, modified); err != nil {
				t.Fatal(err)
			}
		}
		shown := func(m pki.Material) bool {
			t.Helper()
			client, err := c.ClientConfig().GetClientCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			server, err := c.ServerConfig().GetCertificate(nil)
			if err != nil || !server.Leaf.Equal(client.Leaf) {
				t.Fatalf("%v: server and client show different certificates", err)
			}
			return server.Leaf.Equal(parse(t, m.Cert))
		}
		errorsLogged := func() int { return strings.Count(out.String(), "level=ERROR") }

		// Only half of it is there yet.
		change(files.Cert, second.Cert)
		if !shown(first) {
			t.Error("the files were looked at within a second")
		}
		for range 3 {
			<-time.After(time.Second)
			if !shown(first) {
				t.Error("a certificate without its key is used")
			}
		}
		if n := errorsLogged(); n != 1 || !contains(out.String(), "earlier certificate stays in use") || !contains(out.String(), "does not match") {
			t.Errorf("%d errors, want 1: %s", n, out.String())
		}
		change(files.Key, second.Key)
		<-time.After(time.Second)
		if !shown(second) {
			t.Errorf("the new certificate is not used: %s", out.String())
		}
		// Handshakes verify with the CAs of by now.
		stranger := load(t, equip(t, next, "one", "b", pki.RoleNode), "one")
		serverErr, _ := shakeVirtually(t, c.ServerConfig(), show(stranger.ClientConfig(), pair(t, equip(t, next, "one", "b", pki.RoleNode))))
		if serverErr == nil {
			t.Error("accepted a certificate of a CA that is not there")
		}
		change(files.CA, slices.Concat(ca.CertPEM, next.CertPEM))
		<-time.After(time.Second)
		_, clientErr := shakeVirtually(t, stranger.ServerConfig(), c.ClientConfig())
		wantKind(t, clientErr, nil, "")
		// Another node's files, and none.
		for i, damage := range []func(){
			func() {
				m := equip(t, ca, "one", "z", pki.RoleNode)
				change(files.Cert, m.Cert)
				change(files.Key, m.Key)
			},
			func() {
				if err := os.Remove(files.Cert); err != nil {
					t.Fatal(err)
				}
			},
			func() { change(files.Cert, []byte("garbage")) },
		} {
			damage()
			<-time.After(time.Second)
			if !shown(second) || c.Identity().Name != "a" {
				t.Error("damaged files are used")
			}
			if n := errorsLogged(); n != i+2 {
				t.Errorf("%d errors, want %d: %s", n, i+2, out.String())
			}
		}
		if contains(out.String(), "PRIVATE") {
			t.Error("a key is in the log")
		}
		if err := first.Save(dir); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if !shown(first) {
			t.Error("what Save replaced is not used")
		}
	})
}
