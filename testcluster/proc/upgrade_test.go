package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// upgradeVariable names the commit whose build is mixed with this one.
const upgradeVariable = "OZMO_UPGRADE_FROM"

// TestUpgrade rolls a cluster from the build of another commit to this one, node
// by node, and back, while the chain goes on: `make upgrade-test FROM=commit`.
func TestUpgrade(t *testing.T) {
	from := os.Getenv(upgradeVariable)
	if from == "" {
		t.Skip("rolls from another commit's build: make upgrade-test FROM=commit")
	}
	old := buildCommit(t, from)
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15")
	receiver := NewReceiver(t)
	subjects := clusterSubjects()
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3})
	setUp(t, c.Folder, chain, receiver, subjects)
	if _, err := chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	d := drive(t, chain, blockTime, 1)
	oldBuild := []string{"sh", "-c", "exec '" + old + `' "$@"`}
	for _, m := range c.Members {
		m.by = oldBuild
	}
	c.Start(t)
	c.AwaitHealthy(t)
	roll := func(what string, by []string) {
		for _, m := range c.Members {
			m.Terminate(t, Patience)
			m.by = by
			m.Start(t)
			c.AwaitHealthy(t)
			t.Logf("%s: node %s", what, m.Name)
		}
	}
	roll("forward", nil)
	roll("back", oldBuild)
	roll("forward again", nil)
	info := d.rest(t)
	c.AwaitCaughtUp(t, chain)
	got := checkIdentity(t, receiver.Deliveries(t))
	for i := range subjects {
		subjects[i].check(t, c.Members[i%3].Node, chain, info.Head.Number, got, d.dead)
	}
	t.Logf("%d deliveries, %d duplicates with the same key, nothing lost", len(receiver.Deliveries(t)), got.duplicates)
	c.Terminate(t)
}

// buildCommit builds ozmo as it was at a commit.
func buildCommit(t *testing.T, commit string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	tree, out := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "ozmo")
	command := func(dir, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text)
		}
	}
	command(root, "git", "worktree", "add", "--detach", tree, commit)
	t.Cleanup(func() { command(root, "git", "worktree", "remove", "--force", tree) })
	command(tree, "go", "build", "-buildvcs=false", "-o", out, "./cmd/ozmo")
	return out
}
