package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/node/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

var statusTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// someStatus is a cluster with something of everything.
func someStatus() api.Status {
	roles := []string{"watcher", "worker", "api"}
	return api.Status{
		Node: "b", Cluster: "prod", Leader: "a", Term: 7, Voters: 3, Index: 12345,
		Nodes: []api.NodeStatus{
			{
				Name: "a", Server: "a@00000000", Address: "a.example.net:7000", State: api.NodeReady, Raft: api.RaftLeader, Roles: roles,
				Version: "v1.2.0", Weight: 100, Contact: 40 * time.Millisecond, Applied: 12345, Tenants: 2, Leases: 1, Load: 0.25, Keys: []string{"3f2a90c1"},
			},
			{
				Name: "b", Server: "b@00000000", Address: "b.example.net:7000", State: api.NodeDraining, Raft: api.RaftVoter, Roles: roles,
				Version: "v1.2.0", Weight: 50, Contact: 180 * time.Millisecond, Applied: 12340, Behind: 5, Tenants: 1, Leases: 0, Load: 1.5,
			},
			{
				Name: "c", Server: "c@5f0d1c22", Address: "c.example.net:7000", State: api.NodeDown, Raft: api.RaftVoter, Roles: []string{"worker"},
				Version: "v1.1.9", Weight: 100, Contact: -1,
			},
		},
		Networks: []api.NetworkStatus{
			{
				Key: "ethereum_mainnet", Holder: "a", Epoch: 12001, Head: api.BlockRef{Height: 19000120}, Seen: statusTime.Add(-2300 * time.Millisecond).UnixMilli(),
				Position: 130, Judged: 128, Wanted: 3, Pinned: true, Calls: api.Calls{BlockFetch: 240, HeadPoll: 120, Connect: 2, Hedge: 1},
			},
			{Key: "acme/devnet", Position: 0, Wanted: 1, Epoch: 4},
			{Key: "polygon", Position: 9, Judged: 9, Head: api.BlockRef{Height: 77}},
		},
		Tenants: []api.TenantStatus{
			{ID: "acme", Version: 3, Monitors: 12, Cohort: "a", Assigned: "a", Reason: "initial", Moves: 1},
			{ID: "beta", Version: 1, Monitors: 1, Cohort: "@90.0", To: "a", Reason: "manual", Moves: 4, Pin: "a", Weight: 50, Priority: -5},
			{ID: "gamma", Version: 2, Monitors: 5},
		},
		Unassigned: 2, Imbalance: 0.666, Problems: []string{"network ethereum_mainnet: node a, which watches it, is lost"}, Outbox: 1, DeadLetter: 2, Dead: []api.TenantDead{{Tenant: "acme", Count: 2, Forgotten: 7}}, Pending: []string{"remove c@00000000: it has another disk"},
	}
}

func TestStatusText(t *testing.T) {
	s := someStatus()
	var b bytes.Buffer
	writeStatus(&b, &s, statusTime, true)
	golden(t, "status.txt", b.String())

	s = api.Status{Node: "d"}
	b.Reset()
	writeStatus(&b, &s, statusTime, false)
	golden(t, "status-waiting.txt", b.String())

	s = someStatus()
	s.Leader, s.Tenants, s.Networks, s.Pending = "", nil, nil, nil
	b.Reset()
	writeStatus(&b, &s, statusTime, true)
	golden(t, "status-no-leader.txt", b.String())
}

func TestStatusCommand(t *testing.T) {
	o := &operator{status: someStatus()}
	dir := listenAs(t, o)
	ozmo(t, "status", "--data", dir).want(t, exitOK, "leader      a (term 7)\n", "")
	if out := ozmo(t, "status", "--data", dir).stdout; strings.Contains(out, "gamma") {
		t.Errorf("tenants are listed that nobody asked for:\n%s", out)
	}
	ozmo(t, "status", "--data", dir, "--tenants").want(t, exitOK, "gamma", "")
	r := ozmo(t, "status", "--data", dir, "-o", "json")
	r.want(t, exitOK, "", "")
	golden(t, "status.json", r.stdout)
	r = ozmo(t, "node", "list", "--data", dir)
	r.want(t, exitOK, "", "")
	golden(t, "node-list.txt", r.stdout)
	r = ozmo(t, "node", "list", "--data", dir, "-o", "json")
	r.want(t, exitOK, "", "")
	golden(t, "node-list.json", r.stdout)
	r = ozmo(t, "tenant", "list", "--data", dir)
	r.want(t, exitOK, "", "")
	golden(t, "tenant-list.txt", r.stdout)
	ozmo(t, "lease", "list", "--data", dir).want(t, exitOK, "NETWORK", "")

	var list []api.NetworkStatus
	if err := json.Unmarshal([]byte(ozmo(t, "lease", "list", "--data", dir, "-o", "json").stdout), &list); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestStatusOfABrokenCluster(t *testing.T) {
	o := &operator{status: someStatus()}
	o.status.Leader = ""
	dir := listenAs(t, o)
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"node", "list"}, {"tenant", "list"}, {"lease", "list"}} {
		r := ozmo(t, append(args, "--data", dir)...)
		r.want(t, exitFailure, "", `cluster "prod" has NO LEADER: nothing is assigned or changed until a majority (2) of its 3 voters is in contact again`)
		if r.stdout == "" {
			t.Errorf("%v: what is known is not shown", args)
		}
	}
	o.mu.Lock()
	o.status = api.Status{Node: "d", Cluster: "prod", Waiting: []string{"b (connection refused)"}}
	o.mu.Unlock()
	ozmo(t, "status", "--data", dir).want(t, exitFailure, "            b (connection refused)\n", `cluster "prod" has not begun: node "d" waits for b (connection refused)`)
	o.mu.Lock()
	o.status = api.Status{Node: "d", Cluster: "prod", Removed: true}
	o.mu.Unlock()
	ozmo(t, "status", "--data", dir).want(t, exitFailure, "node d was REMOVED from the cluster", `node "d" was removed from cluster "prod"`)
	o.mu.Lock()
	o.status = api.Status{Node: "d"}
	o.mu.Unlock()
	ozmo(t, "status", "--data", dir).want(t, exitFailure, "ozmo node join --token TOKEN HOST:7000", `node "d" belongs to no cluster yet`)
	r := ozmo(t, "status", "--data", dir, "-o", "json")
	r.want(t, exitFailure, `"networks": [],`, `node "d" belongs to no cluster yet`)
	ozmo(t, "status", "--data", t.TempDir()).want(t, exitFailure, "", "no ozmo node is running on this data directory")
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 40 * time.Millisecond: "40ms", 9 * time.Second: "9.0s", 70 * time.Second: "70s",
		10 * time.Minute: "10m", 5 * time.Hour: "5h", 50 * time.Hour: "2d",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
