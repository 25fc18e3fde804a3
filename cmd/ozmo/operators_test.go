package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
)

func (o *operator) IssueOperator(_ context.Context, r api.OperatorRequest) (api.OperatorCertificate, error) {
	return api.OperatorCertificate{}, o.note("issue %s for %v", r.Name, r.Valid)
}

// realNode is a node with TLS on loopback.
type realNode struct {
	*node.Node
	data string
	log  *logs.Buffer
}

func startNode(t *testing.T, change func(*node.Options)) *realNode {
	t.Helper()
	data, err := os.MkdirTemp("", "ozmo") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	r := &realNode{data: data, log: &logs.Buffer{}}
	o := node.Options{
		DataDir: data, Name: "a", Cluster: "prod", Bootstrap: true, ClusterListen: "127.0.0.1:0", Console: io.Discard,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	if r.Node, err = node.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = r.Start(ctx)
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
	eventually.Nil(t, func() error { // until it has told the leader, which it is itself, how it is
		s, err := client.New(data).Status(t.Context())
		if err == nil && (len(s.Nodes) != 1 || s.Nodes[0].State != api.NodeReady) {
			err = fmt.Errorf("nodes %+v", s.Nodes)
		}
		return err
	})
	return r
}

// issueTo makes the file of an operator.
func (r *realNode) issueTo(t *testing.T, name string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".operator")
	ozmo(t, append([]string{"operator", "issue", name, "--out", file, "--data", r.data}, flags...)...).want(t, exitOK, "", "")
	return file
}

// own is the node's own certificate and key.
func (r *realNode) own(t *testing.T) pki.Material {
	t.Helper()
	files := pki.FilesIn(r.data)
	var m pki.Material
	for path, data := range map[string]*[]byte{files.CA: &m.CA, files.Cert: &m.Cert, files.Key: &m.Key} {
		var err error
		if *data, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// edited is a copy of an operator's file with something changed.
func edited(t *testing.T, file string, change func(fields map[string]any)) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	change(fields)
	if data, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "edited.operator")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestOperatorIssue(t *testing.T) {
	r := startNode(t, nil)
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("OZMO_DATA", r.data)
	made := ozmo(t, "operator", "issue", "alice")
	made.want(t, exitOK, "alice.operator: operator alice of cluster prod, until ", "other machines cannot reach 127.0.0.1")
	if info, err := os.Stat("alice.operator"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	o, problems, err := pki.ReadOperator("alice.operator")
	if err != nil || len(problems) > 0 || o.Cluster != "prod" || o.Name != "alice" || o.Peers["a"] != r.Address() {
		t.Fatalf("%v, %v, %v", o, problems, err)
	}
	if left := time.Until(o.Expires()); left > pki.OperatorValidity || left < pki.OperatorValidity-time.Hour {
		t.Errorf("valid for %v, want 30 days", left)
	}
	ozmo(t, "operator", "issue", "alice").want(t, exitFailure, "", "alice.operator is there already and is not replaced")
	ozmo(t, "operator", "issue", "bob", "--valid", "0s").want(t, exitUsage, "", "want more than nothing")
	ozmo(t, "operator", "issue", "b o b").want(t, exitUsage, "", "use letters, digits")
	ozmo(t, "operator", "issue").want(t, exitUsage, "", "needs NAME")

	var told issued
	out := ozmo(t, "operator", "issue", "bob", "--valid", "2h", "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &told); err != nil || told.File != "bob.operator" || told.Cluster != "prod" || time.Until(told.Expires) > 2*time.Hour {
		t.Errorf("%v: %s", err, out.stdout)
	}
	out = ozmo(t, "operator", "issue", "carol", "--out", "-")
	if o, err := pki.DecodeOperator([]byte(out.stdout)); err != nil || o.Name != "carol" {
		t.Errorf("%v, %v", o, err)
	}
	if strings.Contains(r.log.String(), "PRIVATE") {
		t.Error("a key is in the node's log")
	}
}

// Commands over the cluster port do what they do over the socket.
func TestCommandsFromAfar(t *testing.T) {
	r := startNode(t, nil)
	file := r.issueTo(t, "alice")
	t.Setenv("OZMO_DATA", filepath.Join(t.TempDir(), "no node here"))
	t.Setenv("OZMO_CREDENTIALS", file)
	for line, says := range map[string]string{
		"status":                     "leader      a (term",
		"node list -o json":          `"name": "a"`,
		"lease list -o json":         "[]",
		"tenant list -o json":        "[]",
		"rebalance --dry-run":        "nothing",
		"keyring list":               "1 of 1",
		"status --node a":            "leader      a (term",
		"status --node HERE":         "leader      a (term",
		"node token create":          "",
		"keyring install -o json":    `"primary": true`,
		"coverage show acme base":    "",
		"node drain a":               "",
		"secret list acme":           "",
		"tenant weight acme 5":       "",
		"lease move base a":          "",
		"operator issue dave":        "",
		"coverage verify x y":        "",
		"node remove a":              "",
		"secret delete acme x --yes": "",
		"status --credentials " + filepath.Join(t.TempDir(), "none"): "",
	} {
		got := ozmo(t, strings.Fields(strings.ReplaceAll(line, "HERE", r.Address()))...)
		if says != "" {
			if got.code != exitOK || !strings.Contains(got.stdout, says) {
				t.Errorf("%s: exit %d, want %q\n%s%s", line, got.code, says, got.stdout, got.stderr)
			}
			continue
		}
		// What a node refuses is told in the node's words.
		want := map[string]string{
			"coverage show acme base": `"acme": not found`, "node drain a": "the only one that takes tenants", "secret list acme": `tenant "acme": not found`,
			"tenant weight acme 5": `tenant "acme": not found`, "lease move base a": `network "base": not found`, "operator issue dave": "no ozmo node is running",
			"coverage verify x y": "not found", "node token create": "never over the network", "node remove a": "the only one", "secret delete acme x --yes": `tenant "acme": not found`,
		}[line]
		if want == "" {
			want = "no such file"
		}
		if got.code != exitFailure || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d, want %q\n%s%s", line, got.code, want, got.stdout, got.stderr)
		}
	}
	archive := filepath.Join(t.TempDir(), "x.tar")
	ozmo(t, "backup", archive).want(t, exitOK, "of cluster prod", "")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if a, err := client.CheckArchive(f); err != nil || a.Cluster != "prod" {
		t.Errorf("%+v, %v", a, err)
	}
	ozmo(t, "restore", archive, "--yes").want(t, exitOK, "restored 0 tenants", "")
	ozmo(t, "status").want(t, exitOK, "leader      a (term", "")
	if !strings.Contains(r.log.String(), "operator=alice") {
		t.Errorf("the node's log does not say who it was:\n%s", r.log)
	}
}

// Without a node named, each of the file is tried.
func TestNodesAreTriedInTurn(t *testing.T) {
	r := startNode(t, nil)
	file := r.issueTo(t, "alice")
	gone := closedPort(t)
	both := edited(t, file, func(f map[string]any) { f["peers"] = map[string]string{"0-gone": gone, "z": r.Address()} })
	ozmo(t, "status", "--credentials", both).want(t, exitOK, "leader      a (term", "")
	ozmo(t, "status", "--credentials", both, "--node", "0-gone").want(t, exitFailure, "", "the node at "+gone+" cannot be reached")
	neither := edited(t, file, func(f map[string]any) { f["peers"] = map[string]string{"0-gone": gone, "1-gone": closedPort(t)} })
	ozmo(t, "status", "--credentials", neither).want(t, exitFailure, "", `no node can be reached of cluster "prod":`)
	ozmo(t, "status", "--credentials", both, "--node", "b").want(t, exitFailure, "", `node "b" is neither HOST:PORT nor one of the nodes in `+both+": 0-gone, z")
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The name of a node in its own environment is no wish to ask it.
func TestNodeOfTheEnvironment(t *testing.T) {
	t.Setenv("OZMO_DATA", listenAs(t, &operator{status: someStatus()}))
	t.Setenv("OZMO_NODE", "ozmo-0")
	ozmo(t, "status").want(t, exitOK, "leader", "")
	ozmo(t, "status", "--node", "ozmo-1").want(t, exitUsage, "", "give the file of `ozmo operator issue` with --credentials")
	ozmo(t, "status", "--node", "ozmo-1:7000").want(t, exitUsage, "", "with --credentials")
	t.Setenv("OZMO_NODE", "ozmo-0:7000")
	ozmo(t, "status").want(t, exitUsage, "", "with --credentials")
}

func TestRefusedFromAfar(t *testing.T) {
	r := startNode(t, nil)
	file := r.issueTo(t, "alice")
	// Of other clusters, one of the same name.
	two := startNode(t, func(o *node.Options) { o.Cluster = "two" })
	rival := startNode(t, nil)
	own := r.own(t)
	asNode := edited(t, file, func(f map[string]any) { f["cert"], f["key"], f["name"] = string(own.Cert), string(own.Key), "a" })
	for what, tc := range map[string]struct{ file, node, says string }{
		"another cluster":         {file, two.Address(), fmt.Sprintf(`the node at %s belongs to cluster "two", this one to "prod"; the credentials in %s are for cluster "prod"`, two.Address(), file)},
		"another of the name":     {file, rival.Address(), "are for another cluster of the name"},
		"a node's certificate":    {asNode, "", `it is that of node "a", and commands want an operator's`},
		"no file":                 {"none.operator", "", "no such file"},
		"not reachable":           {file, closedPort(t), "cannot be reached: "},
		"the public port of none": {file, "nowhere.invalid:7000", "cannot be reached: "},
	} {
		got := ozmo(t, "status", "--credentials", tc.file, "--node", tc.node)
		if got.code != exitFailure || !strings.Contains(got.stderr, tc.says) || got.stdout != "" {
			t.Errorf("%s: exit %d, want %q\n%s%s", what, got.code, tc.says, got.stdout, got.stderr)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "status", "--credentials", file).want(t, exitOK, "", "chmod 600")

	short := r.issueTo(t, "brief", "--valid", "1s")
	eventually.Nil(t, func() error {
		if got := ozmo(t, "status", "--credentials", short); got.code != exitFailure || !strings.Contains(got.stderr, "certificate has expired") {
			return fmt.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
		}
		return nil
	})
	// Also who does not look at the clock is refused.
	if err := askAs(t, r, operatorPair(t, short), http.MethodGet, "/v1/status"); err == nil {
		t.Error("an expired certificate is accepted")
	}
	eventually.Nil(t, func() error {
		if !strings.Contains(r.log.String(), "expired on") {
			return errors.New("the node's log does not say why")
		}
		return nil
	})
}

func operatorPair(t *testing.T, file string) tls.Certificate {
	t.Helper()
	var fields struct{ Cert, Key string }
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &fields)
	}
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(fields.Cert), []byte(fields.Key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// refusedAnswer is an answer that is none.
type refusedAnswer struct {
	status int
	body   string
}

func (r *refusedAnswer) Error() string { return fmt.Sprintf("%d: %s", r.status, r.body) }

// askAs puts a question to the cluster port with any certificate.
func askAs(t *testing.T, r *realNode, pair tls.Certificate, method, path string) error {
	t.Helper()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return mux.Dialer{TLS: config, Cluster: "prod"}.DialTag(ctx, mux.RPC, address)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.Address()+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &refusedAnswer{resp.StatusCode, string(body)}
	}
	return err
}

// Nodes' questions are not for operators, operators' commands not for nodes, and
// nobody makes operators from afar.
func TestCertificatesAndTheirPaths(t *testing.T) {
	r := startNode(t, nil)
	alice := operatorPair(t, r.issueTo(t, "alice"))
	own := r.own(t)
	member, err := tls.X509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"POST /rpc/propose", "GET /rpc/index", "POST /rpc/heartbeat", "GET /rpc/block", "GET /rpc/alerts", "GET /rpc/activity",
		"POST /rpc/register", "GET /rpc/founding", "GET /rpc/", "GET /rpc/../rpc/index", "POST //rpc/propose",
	} {
		method, path, _ := strings.Cut(path, " ")
		err := askAs(t, r, alice, method, path)
		refused, ok := errors.AsType[*refusedAnswer](err)
		if !ok || refused.status != http.StatusForbidden && refused.status/100 != 3 {
			t.Errorf("an operator is answered on %s: %v", path, err)
		}
	}
	if err := askAs(t, r, alice, http.MethodGet, "/v1/status"); err != nil {
		t.Error(err)
	}
	if err := askAs(t, r, alice, http.MethodPost, api.PathOperators); err == nil || !strings.Contains(err.Error(), "never over the network") {
		t.Errorf("an operator made another one: %v", err)
	}
	if err := askAs(t, r, member, http.MethodGet, "/v1/status"); err == nil || !strings.Contains(err.Error(), "commands want an operator's") {
		t.Errorf("a node's certificate commands: %v", err)
	}
	if err := askAs(t, r, member, http.MethodGet, "/rpc/index"); err != nil {
		t.Errorf("a node is not answered: %v", err)
	}
}

// A cluster without certificates has no operators.
func TestNoOperatorsWithoutCertificates(t *testing.T) {
	r := startNode(t, func(o *node.Options) { o.Insecure = true })
	ozmo(t, "operator", "issue", "alice", "--out", filepath.Join(t.TempDir(), "x"), "--data", r.data).want(t, exitFailure, "", "runs without certificates")
	other := startNode(t, nil)
	got := ozmo(t, "status", "--credentials", other.issueTo(t, "alice"), "--node", r.Address())
	got.want(t, exitFailure, "", "it may run in plaintext")
	if bytes.Contains([]byte(got.stderr), []byte("PRIVATE")) {
		t.Error("a key was printed")
	}
}
