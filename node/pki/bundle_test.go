package pki_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/node/pki"
)

var update = flag.Bool("update", false, "rewrite golden files")

var threeNodes = map[string]string{"a": "10.0.0.1:7000", "b": "10.0.0.2:7000", "monitor-0": "monitor-0.ozmo.default.svc:7000"}

func newBundles(t testing.TB) []pki.Bundle {
	t.Helper()
	bundles, err := pki.NewBundles("one", threeNodes)
	if err != nil {
		t.Fatal(err)
	}
	return bundles
}

func same(a, b pki.Bundle) string {
	type plain pki.Bundle
	return cmp.Diff(plain(a), plain(b))
}

// The form of a bundle is a promise: files of earlier versions have to be read.
func TestBundleGolden(t *testing.T) {
	b := pki.Bundle{
		Cluster: "one", Node: "a",
		CA:    "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n",
		CAKey: "the CA's key, in PEM", Cert: "the node's certificate, in PEM", Key: "the node's key, in PEM",
		GossipKeys: [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)},
		SealingKey: bytes.Repeat([]byte{3}, 32),
		Peers:      threeNodes,
	}
	got, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "bundle.json")
	if *update {
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	b.CAKey = ""
	if got, err = b.Encode(); err != nil || contains(string(got), "ca_key") {
		t.Errorf("%v: a bundle without the CA's key says\n%s", err, got)
	}
}

func TestBundles(t *testing.T) {
	bundles := newBundles(t)
	dir := filepath.Join(t.TempDir(), "out")
	paths, err := pki.WriteBundles(dir, bundles)
	if err != nil {
		t.Fatal(err)
	}
	var previous *pki.Bundle
	for i, name := range []string{"a", "b", "monitor-0"} {
		if want := filepath.Join(dir, name+".bundle"); paths[i] != want {
			t.Errorf("written to %s, want %s", paths[i], want)
		}
		if info, err := os.Stat(paths[i]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		b, problems, err := pki.ReadBundle(paths[i])
		if err != nil || len(problems) > 0 {
			t.Fatalf("%v, %v", problems, err)
		}
		if diff := same(*b, bundles[i]); diff != "" {
			t.Error(diff)
		}
		if b.Node != name || b.Cluster != "one" || !maps.Equal(b.Peers, threeNodes) {
			t.Errorf("%v", b)
		}
		if _, err := pki.ParseCA([]byte(b.CA), []byte(b.CAKey)); err != nil {
			t.Error(err)
		}
		if len(b.GossipKeys) != 1 || len(b.GossipKeys[0]) != 32 || len(b.SealingKey) != 32 || bytes.Equal(b.GossipKeys[0], b.SealingKey) {
			t.Error("keys of other sizes, or the same twice")
		}
		if previous != nil {
			if !bytes.Equal(b.SealingKey, previous.SealingKey) || !bytes.Equal(b.GossipKeys[0], previous.GossipKeys[0]) || b.CA != previous.CA || b.Key == previous.Key {
				t.Error("nodes share what they should not, or do not share what they should")
			}
			_, _, serverErr, clientErr := shake(t, load(t, b.Material(), "one").ServerConfig(), load(t, previous.Material(), "one").ClientConfig())
			wantKind(t, serverErr, nil, "")
			wantKind(t, clientErr, nil, "")
		}
		previous = b
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
	// Nothing is replaced, and nothing is written beside what is there.
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.WriteBundles(dir, newBundles(t)); !errors.Is(err, fs.ErrExist) || !contains(err.Error(), paths[1]) {
		t.Errorf("over others: %v", err)
	}
	if _, err := os.Stat(paths[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bundle of another cluster is there: %v", err)
	}
}

func TestNewBundlesErrors(t *testing.T) {
	_, err := pki.NewBundles("No Cluster", map[string]string{
		"@1": "10.0.0.1:7000", "a": "nowhere", "b": "10.0.0.9:0", "c": "10.0.0.8:7000", "d": "10.0.0.8:7000", "e": "0.0.0.0:7000", "f": ":7000", "g": "h:70000",
	})
	for _, want := range []string{"cluster name", `"@1"`, `"nowhere"`, "port from 1", `"c" and "d" have the same address`, "that of no machine", `":7000"`, `"h:70000"`} {
		if err == nil || !contains(err.Error(), want) {
			t.Errorf("not said: %s in\n%v", want, err)
		}
	}
	if _, err := pki.NewBundles("one", nil); err == nil {
		t.Error("a cluster of no nodes")
	}
}

func TestBundleShowsNoSecrets(t *testing.T) {
	b := newBundles(t)[0]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "bundle", b, "pointer", &b)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "bundle", b, "pointer", &b)
	for _, shown := range []string{
		b.String(), log.String(), fmt.Sprintf("%v %+v %#v %s %q %x %d", b, b, b, b, b, b, b), fmt.Sprint(&b, b.Material()),
	} {
		if contains(shown, "PRIVATE") || contains(shown, base64.StdEncoding.EncodeToString(b.SealingKey)) || len(shown) > 1000 {
			t.Errorf("shown as %s", shown)
		}
	}
}

func TestReadBundleFaults(t *testing.T) {
	bundles := newBundles(t)
	other := newBundles(t)[0]
	two, err := pki.NewBundles("two", threeNodes)
	if err != nil {
		t.Fatal(err)
	}
	good, err := bundles[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(fields map[string]any)
		want   []string
	}{
		{"format", func(f map[string]any) { f["format"] = "ozmo-bundle-9" }, []string{"field format should be"}},
		{"format missing", func(f map[string]any) { delete(f, "format") }, []string{"field format should be"}},
		{"all missing", func(f map[string]any) { clear(f); f["format"] = pki.BundleFormat }, []string{
			"8 faults", "field cluster is missing", "field node is missing", "field ca is missing", "field cert is missing",
			"field key is missing", "field gossip_keys is missing", "field sealing_key is missing", "field peers is missing",
		}},
		{"null", func(f map[string]any) { f["node"] = nil }, []string{"field node is missing"}},
		{"kinds", func(f map[string]any) { f["cluster"], f["peers"], f["sealing_key"] = 7, []int{1}, "*" }, []string{"3 faults", "cluster is not of the right kind", "sealing_key is not of the right kind: a key in base64", "peers is not of the right kind"}},
		{"unknown fields", func(f map[string]any) { f["nodes"], f["Cluster"] = 1, 2 }, []string{"2 faults", `"nodes" is unknown`, `"Cluster" is unknown`}},
		{"names", func(f map[string]any) { f["cluster"], f["node"] = "A B", "@1" }, []string{"2 faults", "field cluster: cluster name", "field node: name"}},
		{"another's key", func(f map[string]any) { f["key"] = bundles[1].Key }, []string{"fields cert and key", "does not match"}},
		{"another node's", func(f map[string]any) { f["cert"], f["key"] = bundles[1].Cert, bundles[1].Key }, []string{`it is for node "b", this is the bundle of node "a"`}},
		{"another CA", func(f map[string]any) { f["ca"], f["ca_key"] = other.CA, other.CAKey }, []string{"signed by another CA"}},
		{"another CA's key", func(f map[string]any) { f["ca_key"] = other.CAKey }, []string{"fields ca and ca_key: CA key: it does not belong"}},
		{"another cluster", func(f map[string]any) { f["cert"], f["key"] = two[0].Cert, two[0].Key }, []string{`belongs to cluster "two", this one to "one"`}},
		{"keys", func(f map[string]any) {
			f["gossip_keys"], f["sealing_key"] = []string{"AAAA", base64.StdEncoding.EncodeToString(make([]byte, 16))}, "AAAA"
		}, []string{"2 faults", "key 1 has 3 bytes", "sealing_key: it has 3 bytes, not 32"}},
		{"no gossip keys", func(f map[string]any) { f["gossip_keys"] = []string{} }, []string{"at least one key"}},
		{"peers", func(f map[string]any) { f["peers"] = map[string]string{"b": "x"} }, []string{"2 faults", `node "b": address "x"`, `this node "a" is missing`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var fields map[string]any
			if err := json.Unmarshal(good, &fields); err != nil {
				t.Fatal(err)
			}
			tc.change(fields)
			data, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "a.json")
			write(t, path, data)
			_, _, err = pki.ReadBundle(path)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range append(tc.want, path) {
				if !contains(err.Error(), want) {
					t.Errorf("not said: %s in\n%v", want, err)
				}
			}
			if contains(err.Error(), "PRIVATE") || contains(err.Error(), base64.StdEncoding.EncodeToString(bundles[0].SealingKey)) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
	for name, data := range map[string]string{"empty": "", "text": "hello", "list": "[]", "null": "null", "cut": string(good[:200]), "huge": strings.Repeat(" ", 2<<20)} {
		path := filepath.Join(t.TempDir(), "b.json")
		write(t, path, []byte(data))
		if _, _, err := pki.ReadBundle(path); err == nil || !contains(err.Error(), "this is no bundle") || !contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := pki.ReadBundle(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestBundleProblems(t *testing.T) {
	b := newBundles(t)[0]
	ca, err := pki.ParseCA([]byte(b.CA), []byte(b.CAKey))
	if err != nil {
		t.Fatal(err)
	}
	m := limited(t, ca, "one", "a", 1) // a nanosecond
	b.Cert, b.Key = string(m.Cert), string(m.Key)
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.json")
	write(t, path, data)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, problems, err := pki.ReadBundle(path)
	if err != nil || len(problems) != 2 || !contains(problems[0], "chmod 600") || !contains(problems[1], "certificate expired on") {
		t.Errorf("%q, %v", problems, err)
	}
}

func FuzzDecodeBundle(f *testing.F) {
	good, err := newBundles(f)[0].Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":"ozmo-bundle-1"}`))
	f.Add([]byte(`{"format":"ozmo-bundle-1","peers":{"a":"b:1"},"gossip_keys":[null,""],"cluster":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := pki.DecodeBundle(data)
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, _, err := pki.DecodeBundle(again)
		if err != nil {
			t.Fatalf("what was read is not read again: %v", err)
		}
		if diff := same(*b, *back); diff != "" {
			t.Fatal(diff)
		}
	})
}
