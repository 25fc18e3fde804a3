package main

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// nodeOf makes the data directory of a node whose group has the servers.
func nodeOf(t *testing.T, name, instance string, servers ...consensus.Server) (dir string) {
	t.Helper()
	dir = write(t, map[string]any{"node.json": map[string]string{"name": name, "instance": instance}})
	g := openGroup(t, dir, name+"@"+instance)
	if err := g.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openGroup(t *testing.T, dir, server string) *consensus.Group {
	t.Helper()
	g, err := consensus.Open(consensus.Options{
		Dir: filepath.Join(dir, "raft"), Server: server, Address: "127.0.0.1:7000", State: fsm.New(), Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(), Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var threeServers = []consensus.Server{{ID: "a@00000000", Address: "a:7000"}, {ID: "b@00000000", Address: "b:7000"}, {ID: "c@00000000", Address: "c:7000"}}

func TestRecover(t *testing.T) {
	dir := nodeOf(t, "a", "00000000", threeServers...)
	args := []string{"recover", "--data", dir, "--yes"}
	for peers, says := range map[string]string{
		"b":       `this data directory is of node "a", which is not among the peers`,
		"a,z":     `peer "z" is not in the group; its servers are a@00000000, b@00000000, c@00000000`,
		"a,a":     `peer "a" is named twice`,
		"a,b=b":   `peer b "b": want HOST:PORT`,
		"a@00001": "is not in the group",
	} {
		r := ozmo(t, append(args, "--peers", peers)...)
		r.want(t, exitFailure, "", says)
		if !strings.Contains(r.stderr, "b@00000000  b:7000   yes\n") {
			t.Errorf("the last configuration is not shown:\n%s", r.stderr)
		}
	}
	r := ozmo(t, append(args, "--peers", "a,b=10.0.0.9:7000")...)
	r.want(t, exitOK, "node a is recovered: 2 servers of 3 vote from now on: a@00000000, b@00000000\n"+
		"before you start it: recover b@00000000 with the same --peers, or empty its data directory\n"+
		"then start ozmo, and forget the lost:\n  ozmo node remove c\n", "What only c@00000000 had is gone for good")
	for _, want := range []string{"last_index=", "b@00000000  10.0.0.9:7000  yes\n", "c@00000000  c:7000         LEFT OUT\n"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is missing in:\n%s", want, r.stderr)
		}
	}
	// Again, down to one: it decides alone.
	r = ozmo(t, append(args, "--peers", "a", "-o", "json")...)
	var done node.RecoverReport
	if err := json.Unmarshal([]byte(r.stdout), &done); err != nil || len(done.Before) != 2 || len(done.Lost) != 1 || done.Server != "a@00000000" {
		t.Fatalf("exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	g := openGroup(t, dir, "a@00000000")
	if leader, err := g.AwaitLeader(t.Context()); err != nil || leader.ID != "a@00000000" {
		t.Errorf("leader %v, %v", leader, err)
	}
	if _, err := g.Propose(t.Context(), &fsm.DrainNode{Name: "none"}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("it does not decide: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node that runs is not touched.
func TestRecoverOfARunningNode(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Options{DataDir: dir, Name: "a", Bootstrap: true, NoSocket: true, ClusterListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err, n.Kill())
	}
	ozmo(t, "recover", "--data", dir, "--peers", "a", "--yes").want(t, exitFailure, "", "stop the node first: "+dir+" is in use")
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "recover", "--data", dir, "--peers", "a", "--yes").want(t, exitOK, "node a is recovered: 1 server of 1 vote", "")
	ozmo(t, "recover", "--data", t.TempDir(), "--peers", "a", "--yes").want(t, exitFailure, "", "is not the data directory of a node")
}

func TestRecoverOfANodeThatChangedItsDisk(t *testing.T) {
	servers := append([]consensus.Server{{ID: "a@11111111", Address: "a2:7000"}}, threeServers...)
	dir := nodeOf(t, "a", "11111111", servers...)
	ozmo(t, "recover", "--data", dir, "--peers", "a", "--yes").want(t, exitOK, "vote from now on: a@11111111\n", "")
	servers = append([]consensus.Server{{ID: "b@11111111", Address: "b2:7000"}}, threeServers...)
	dir = nodeOf(t, "a", "00000000", servers...)
	ozmo(t, "recover", "--data", dir, "--peers", "a,b", "--yes").want(t, exitFailure, "", `peer "b": several servers have this name: give one of b@00000000, b@11111111`)
	r := ozmo(t, "recover", "--data", dir, "--peers", "a,b@11111111", "--yes")
	r.want(t, exitOK, "a@00000000, b@11111111\n", "")
	if strings.Contains(r.stdout, "node remove b") || !strings.Contains(r.stdout, "node remove c") {
		t.Errorf("advice:\n%s", r.stdout)
	}
}
