package node

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestOwnCertificatesAreCheckedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	_, err := New(Options{
		DataDir: filepath.Join(dir, "data"), Name: "d",
		TLSCert: filepath.Join(dir, "d.pem"), TLSKey: filepath.Join(dir, "d.key"), TLSCA: filepath.Join(dir, "ca.pem"),
	})
	if err == nil {
		t.Fatal("files that are not there are taken")
	}
	for _, part := range []string{"--tls-cert", "d.pem", "d.key", "ca.pem"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %s", err, part)
		}
	}
}

func TestAnotherCluster(t *testing.T) {
	for _, tc := range []struct {
		asked string
		ok    bool
	}{{"", true}, {"one", true}, {"two", false}, {defaultCluster, false}} {
		o := Options{DataDir: t.TempDir(), Cluster: tc.asked}
		if err := (&membership{Cluster: "one", dir: o.DataDir}).write(); err != nil {
			t.Fatal(err)
		}
		o.fill()
		err := (&Node{opts: o}).become(t.Context())
		if (err == nil) != tc.ok {
			t.Errorf("--cluster %q: %v", tc.asked, err)
		}
		if err != nil && (!strings.Contains(err.Error(), `is of cluster "one"`) || !strings.Contains(err.Error(), "--cluster "+tc.asked)) {
			t.Errorf("--cluster %q: %v", tc.asked, err)
		}
	}
}

// A name that `ozmo cluster init` takes is one that `ozmo serve` takes.
func TestClusterNames(t *testing.T) {
	for name, ok := range map[string]bool{strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, "-a": false} {
		if err := (Options{Cluster: name}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
