package pki_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func operatorOf(m pki.Material, cluster, name string) *pki.Operator {
	return &pki.Operator{Cluster: cluster, Name: name, CA: string(m.CA), Cert: string(m.Cert), Key: string(m.Key), Peers: threeNodes}
}

func sameOperator(a, b *pki.Operator) string {
	type plain pki.Operator
	return cmp.Diff((*plain)(a), (*plain)(b))
}

// The form of an operator's file is a promise: files of earlier versions have to
// be read.
func TestOperatorGolden(t *testing.T) {
	o := pki.Operator{
		Cluster: "one", Name: "alice", CA: "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n",
		Cert: "the operator's certificate, in PEM", Key: "the operator's key, in PEM", Peers: threeNodes,
	}
	got, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "operator.json")
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
}

func TestOperatorFile(t *testing.T) {
	ca := newCA(t, "one")
	o := operatorOf(equip(t, ca, "one", "alice", pki.RoleOperator), "one", "alice")
	path := filepath.Join(t.TempDir(), "alice.operator")
	if err := pki.WriteOperator(path, o); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := pki.WriteOperator(path, o); !errors.Is(err, fs.ErrExist) || !contains(err.Error(), path) {
		t.Errorf("over another: %v", err)
	}
	got, problems, err := pki.ReadOperator(path)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
	if diff := sameOperator(o, got); diff != "" {
		t.Error(diff)
	}
	if until := got.Expires(); until.Before(time.Now()) {
		t.Errorf("expires %v", until)
	}
	// A node takes it for an operator, and is taken for a node.
	client, err := got.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	seen, _, serverErr, clientErr := shake(t, load(t, equip(t, ca, "one", "a", pki.RoleNode), "one").ServerConfig(), client)
	wantKind(t, serverErr, nil, "")
	wantKind(t, clientErr, nil, "")
	if id, err := pki.IdentityOf(seen.PeerCertificates[0], "one"); err != nil || id.Role != pki.RoleOperator || id.Name != "alice" {
		t.Errorf("%+v, %v", id, err)
	}
	_, _, _, clientErr = shake(t, load(t, equip(t, newCA(t, "one"), "one", "a", pki.RoleNode), "one").ServerConfig(), client)
	wantKind(t, clientErr, pki.ErrOtherCA, "signed by another CA")

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, problems, err = pki.ReadOperator(path); err != nil || len(problems) != 1 || !contains(problems[0], "chmod 600") {
		t.Errorf("%q, %v", problems, err)
	}
}

func TestOperatorExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "one")
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keyPEM, err := pki.EncodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(pki.Grant{Cluster: "one", Name: "alice", Role: pki.RoleOperator, Key: key.Public(), Validity: pki.OperatorValidity})
		if err != nil {
			t.Fatal(err)
		}
		data, err := operatorOf(pki.Material{CA: ca.CertPEM, Cert: cert, Key: keyPEM}, "one", "alice").Encode()
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(pki.OperatorValidity - time.Minute)
		if _, err := pki.DecodeOperator(data); err != nil {
			t.Errorf("a minute before its end: %v", err)
		}
		<-time.After(2 * time.Minute)
		if _, err := pki.DecodeOperator(data); !errors.Is(err, pki.ErrExpired) || !contains(err.Error(), "ozmo operator issue") {
			t.Errorf("a minute after its end: %v", err)
		}
	})
}

func TestOperatorShowsNoSecrets(t *testing.T) {
	o := operatorOf(equip(t, newCA(t, "one"), "one", "alice", pki.RoleOperator), "one", "alice")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "operator", *o, "pointer", o)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "operator", *o, "pointer", o)
	for _, shown := range []string{o.String(), log.String(), fmt.Sprintf("%v %+v %#v %s %q %x %d", *o, *o, *o, *o, *o, *o, *o), fmt.Sprint(o)} {
		if contains(shown, "PRIVATE") || !contains(shown, "alice") {
			t.Errorf("shown as %s", shown)
		}
	}
}

func TestOperatorFaults(t *testing.T) {
	ca := newCA(t, "one")
	good, err := operatorOf(equip(t, ca, "one", "alice", pki.RoleOperator), "one", "alice").Encode()
	if err != nil {
		t.Fatal(err)
	}
	node := equip(t, ca, "one", "a", pki.RoleNode)
	two := equip(t, newCA(t, "two"), "two", "alice", pki.RoleOperator)
	for _, tc := range []struct {
		name   string
		change func(f map[string]any)
		kind   error
		want   []string
	}{
		{"another version", func(f map[string]any) { f["format"] = "ozmo-operator-9" }, nil, []string{"field format should be"}},
		{"a bundle", func(f map[string]any) { f["format"] = pki.BundleFormat }, nil, []string{"a node's bundle", "ozmo operator issue"}},
		{"all missing", func(f map[string]any) { clear(f); f["format"] = pki.OperatorFormat }, nil, []string{
			"6 faults", "field cluster is missing", "field name is missing", "field ca is missing", "field cert is missing", "field key is missing", "field peers is missing",
		}},
		{"unknown fields", func(f map[string]any) { f["node"] = "a" }, nil, []string{`"node" is unknown`}},
		{"no addresses", func(f map[string]any) { f["peers"] = map[string]string{} }, nil, []string{"the address of one node"}},
		{"bad addresses", func(f map[string]any) { f["peers"] = map[string]string{"a": "x"} }, nil, []string{`address "x"`}},
		{"a node's certificate", func(f map[string]any) { f["cert"], f["key"] = string(node.Cert), string(node.Key) }, pki.ErrRole, []string{`it is that of node "a"`, "an operator's"}},
		{"another's name", func(f map[string]any) { f["name"] = "bob" }, nil, []string{`for operator "alice", this is the file of "bob"`}},
		{"another key", func(f map[string]any) { f["key"] = string(node.Key) }, nil, []string{"fields cert and key"}},
		{"another cluster", func(f map[string]any) {
			f["cert"], f["key"], f["ca"] = string(two.Cert), string(two.Key), string(two.CA)
		}, pki.ErrOtherCluster, []string{`belongs to cluster "two", this one to "one"`}},
		{"another CA", func(f map[string]any) { f["ca"] = string(two.CA) }, pki.ErrOtherCA, []string{"signed by another CA"}},
		{"cluster", func(f map[string]any) { f["cluster"] = "A B" }, nil, []string{"field cluster: cluster name"}},
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
			path := filepath.Join(t.TempDir(), "x.operator")
			write(t, path, data)
			_, _, err = pki.ReadOperator(path)
			if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) {
				t.Fatalf("error %v, want one of kind %v", err, tc.kind)
			}
			for _, want := range append(tc.want, path) {
				if !contains(err.Error(), want) {
					t.Errorf("not said: %s in\n%v", want, err)
				}
			}
			if contains(err.Error(), "PRIVATE") {
				t.Errorf("the error holds a key: %v", err)
			}
		})
	}
	for name, data := range map[string]string{"empty": "", "list": "[]", "null": "null", "cut": string(good[:200]), "huge": strings.Repeat(" ", 2<<20)} {
		if _, err := pki.DecodeOperator([]byte(data)); err == nil || !contains(err.Error(), "this is no operator's file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := pki.ReadOperator(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// Whatever is accepted can be used, and is written as it was read.
func FuzzDecodeOperator(f *testing.F) {
	good, err := operatorOf(equip(f, newCA(f, "one"), "one", "alice", pki.RoleOperator), "one", "alice").Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"format":"ozmo-operator-1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := pki.DecodeOperator(data)
		if err != nil {
			return
		}
		if _, err := o.ClientConfig(); err != nil {
			t.Errorf("accepted, and of no use: %v", err)
		}
		again, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		same, err := pki.DecodeOperator(again)
		if err != nil || sameOperator(o, same) != "" {
			t.Errorf("%v: it is written as %s", err, again)
		}
	})
}
