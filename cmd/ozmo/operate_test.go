package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// emptied lets a node of the status lose a tenant with each answer.
func emptied(name string) func(*api.Status) {
	return func(s *api.Status) {
		for i := range s.Nodes {
			if n := &s.Nodes[i]; n.Name == name {
				n.Tenants, n.Leases = max(n.Tenants-1, 0), 0
			}
		}
	}
}

// someToken has the form of a token.
const someToken = "ozmo1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.plaintext"

func TestOrders(t *testing.T) {
	tests := []struct {
		args   string
		orders string // what the node was asked to do
		stdout string
	}{
		{"node drain a --no-wait", "drain a true", "node a gives its work away"},
		{"node undrain a", "drain a false", "node a takes work again"},
		{"node remove c", "drain c true; remove c", "node c is removed"},
		{"node token create", "token for 1h0m0s", "ozmo1.id.secret.print\n\nIt lets one node join"},
		{"node token create --ttl 5m", "token for 5m0s", "  ozmo node join --token ozmo1.id.secret.print a.example.net:7000\n"},
		{"node token create -o json", "token for 1h0m0s", `"token": "ozmo1.id.secret.print"`},
		{"node join --token " + someToken + " a:7000", "join a:7000 with " + someToken, "node d has joined cluster prod as a non-voter; it had caught up at log index 42"},
		{"node join --token " + someToken + " a:7000 -o json", "join a:7000 with " + someToken, `"raft": "non-voter"`},
		{"lease move base b", "lease base to b", "node b watches base from now on"},
		{"tenant assign acme b", `place acme pin "b"`, "tenant acme is pinned to node b"},
		{"tenant unpin acme", `place acme pin ""`, "not pinned any more"},
		{"tenant weight acme 50", "place acme weight 50", "tenant acme has weight 50"},
		{"tenant weight acme 0", "place acme weight 0", "the strategy decides"},
		{"tenant priority acme 10", "place acme priority 10", "tenant acme has priority 10"},
		{"tenant priority acme -- -5", "place acme priority -5", "tenant acme has priority -5"},
		{"tenant migrate --to postgres --tenant acme", `migrate "acme" to postgres`, "acme    postgres               2\n"},
		{"tenant migrate --to embedded --tenant acme -o json", `migrate "acme" to embedded`, `"versions": 2`},
		{"rebalance --dry-run", "rebalance true", "2 moves would bring the imbalance from 0.80 to 0.10; nothing was changed"},
		{"rebalance", "rebalance false", "acme    -     a   initial\nbeta    a     b   load-rebalance\n\ntenant big: alone heavier"},
		{"rebalance -o json", "rebalance false", `"unplaced": [],`},
		{"keyring list", "", "3f2a90c1  yes     3 of 3    -\n77d0b5e4  -       1 of 3    b, c\n"},
		{"keyring list -o json", "", `"missing": []`},
		{"keyring install", `keyring install ""`, "77d0b5e4"},
		{"keyring use 77d0b5e4", `keyring use "77d0b5e4"`, "77d0b5e4"},
		{"keyring remove 77d0b5e4", `keyring remove "77d0b5e4"`, "77d0b5e4"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			o := &operator{
				status: someStatus(),
				rebalance: api.Rebalance{Before: 0.8, After: 0.1, Oversized: []string{"big"}, Moves: []api.Move{
					{Tenant: "acme", To: "a", Reason: "initial"}, {Tenant: "beta", From: "a", To: "b", Reason: "load-rebalance"},
				}},
				keyring: api.Keyring{Nodes: 3, Keys: []api.KeyStatus{{ID: "3f2a90c1", Primary: true}, {ID: "77d0b5e4", Missing: []string{"b", "c"}}}},
			}
			t.Setenv("OZMO_DATA", listenAs(t, o))
			ozmo(t, strings.Fields(tt.args)...).want(t, exitOK, tt.stdout, "")
			if got := o.said(); got != tt.orders {
				t.Errorf("the node was asked to %q, want %q", got, tt.orders)
			}
		})
	}
}

// What a node refuses is told in its words, and is no mistake of usage.
func TestOrdersThatAreRefused(t *testing.T) {
	o := &operator{status: someStatus(), err: fmt.Errorf("node %q: %w", "z", fsm.ErrNotFound)}
	dir := listenAs(t, o)
	for _, line := range []string{
		"node drain z", "node undrain z", "node remove z", "node token create", "node join --token " + someToken + " a:7000", "lease move base z",
		"tenant assign acme z", "tenant unpin z", "tenant weight z 1", "tenant priority z 1", "rebalance", "keyring list", "keyring install",
	} {
		r := ozmo(t, append(strings.Fields(line), "--data", dir)...)
		if r.code != exitFailure || !strings.Contains(r.stderr, `node "z": not found`) || r.stdout != "" {
			t.Errorf("%s: exit %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
		r = ozmo(t, append(strings.Fields(line), "--data", filepath.Join(dir, "none"))...)
		r.want(t, exitFailure, "", "no ozmo node is running on this data directory")
	}
}

func TestOrdersThatAreNotUnderstood(t *testing.T) {
	for line, says := range map[string]string{
		"node":                                           "ozmo node needs a command: list, drain, undrain, remove, join, token",
		"node drian a":                                   "did you mean drain?",
		"node drain":                                     "needs NODE, got 0 arguments",
		"node token create --ttl 0s":                     "want more than nothing",
		"node join a:7000":                               "a token is needed: --token, --token-file or OZMO_TOKEN",
		"node join --token T":                            "needs HOST:PORT",
		"node join --token " + someToken + " a":          `"a": want HOST:PORT`,
		"node join --token T0p-s3cret a:7000":            "--token: this is not a join token: one looks like ozmo1.ID.SECRET.FINGERPRINT; `ozmo node token create` prints one",
		"node join --token ozmo1.0123 a:7000":            "--token: the join token is incomplete",
		"node join --token T --token-file f a:7000":      "give one of them",
		"tenant weight acme heavy":                       "want a whole number of 0 to 4294967295; 100 is normal",
		"tenant weight acme 5000000000":                  "want a whole number of 0 to 4294967295; 100 is normal",
		"tenant priority acme high":                      "want a whole number",
		"tenant priority acme -5":                        "a number below 0 follows --, like ozmo tenant priority TENANT -- -5",
		"tenant priority acme -x":                        "unknown shorthand flag: 'x'",
		"keyring use":                                    "needs KEY",
		"keyring install now":                            "unknown command \"now\"",
		"rebalance all":                                  "unknown command \"all\"",
		"backup a b":                                     "takes one FILE, got 2",
		"restore":                                        "needs FILE|-",
		"restore x.tar":                                  "there is no terminal to ask on: give --yes",
		"recover":                                        "--peers is needed",
		"recover --peers a":                              "there is no terminal to ask on: give --yes",
		"cluster init":                                   "several things are wrong:\n  --out is needed: the folder for the bundles\n  --nodes is needed",
		"cluster init --out x --nodes a,=b,c=":           `"a": want NAME=HOST:PORT`,
		"cluster init --out x --nodes a=h:1,a=h:2":       `node "a" is named twice`,
		"cluster init --out x --nodes a=h,b=h:0":         "several things are wrong",
		"cluster init --out x --nodes a=h:1 --cluster Ä": "use lower-case letters",
	} {
		r := ozmo(t, strings.Fields(line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: exit %d, want %q:\n%s", line, r.code, says, r.stderr)
		}
	}
}

// The nodes take a moment to say that they have a new key.
func TestKeyringInstallWaits(t *testing.T) {
	with := func(missing ...string) api.Keyring {
		return api.Keyring{Nodes: 3, Keys: []api.KeyStatus{{ID: "3f2a90c1", Primary: true}, {ID: "77d0b5e4", Missing: missing}}}
	}
	later := with()
	o := &operator{keyring: with("a", "b", "c"), later: &later}
	ozmo(t, "keyring", "install", "--data", listenAs(t, o)).want(t, exitOK, "77d0b5e4  -       3 of 3    -\n", "")
}

func TestNodeDrainWaits(t *testing.T) {
	o := &operator{status: someStatus(), each: emptied("a")}
	o.status.Nodes[0].Tenants = 4
	dir := listenAs(t, o)
	r := ozmo(t, "node", "drain", "a", "--data", dir)
	r.want(t, exitOK, "node a is drained: it has no tenant and no lease\n", "node a still has 3 tenants and 0 leases\nnode a still has 2 tenants and 0 leases\n")

	o.mu.Lock()
	o.each, o.status.Nodes[0].Tenants, o.status.Nodes[0].Leases = nil, 1, 1
	o.mu.Unlock()
	r = ozmo(t, "node", "drain", "a", "--data", dir, "--timeout", "10ms")
	r.want(t, exitFailure, "", "after 10ms node a still has 1 tenant and 1 lease: it goes on giving its work away")

	o.mu.Lock()
	o.status.Leader = ""
	o.mu.Unlock()
	r = ozmo(t, "node", "drain", "a", "--data", dir, "--timeout", "10ms")
	r.want(t, exitFailure, "", "the cluster has no leader")
}

// A leader passes its part on before it can be removed: the command goes on with
// the next one.
func TestNodeRemoveOfTheLeader(t *testing.T) {
	o := &operator{status: someStatus(), removals: []error{
		fmt.Errorf("%w: node %q led; the leadership has passed on: repeat the command", api.ErrUnavailable, "a"),
	}}
	answers := 0
	o.each = func(s *api.Status) {
		if answers++; answers > 3 {
			s.Leader = "b"
		}
	}
	dir := listenAs(t, o)
	r := ozmo(t, "node", "remove", "a", "--data", dir)
	r.want(t, exitOK, "node a is removed", "the leadership has passed on")
	if got := o.said(); got != "drain a true; remove a; remove a" {
		t.Errorf("the node was asked to %q", got)
	}
	o.mu.Lock()
	o.removals = []error{fmt.Errorf("%w: without a@1, only 0 of 1 voters would be in contact", fsm.ErrConflict)}
	o.mu.Unlock()
	ozmo(t, "node", "remove", "a", "--data", dir).want(t, exitFailure, "", "only 0 of 1 voters")

	o.mu.Lock()
	o.each, o.status.Leader = nil, "a"
	o.removals = []error{fmt.Errorf("%w: not empty yet", api.ErrUnavailable)}
	o.mu.Unlock()
	r = ozmo(t, "node", "remove", "a", "--data", dir, "--timeout", "400ms")
	r.want(t, exitFailure, "", "ozmo: after 400ms not possible now: not empty yet: it takes no work and is still a member; repeat the command, or take it back with `ozmo node undrain`")
}

func TestTokenSources(t *testing.T) {
	dir := write(t, map[string]any{"token": "  from-file\n\nand more", "empty": "\n"})
	file := filepath.Join(dir, "token")
	for _, tt := range []struct {
		flags tokenFlags
		stdin string
		want  string
	}{
		{tokenFlags{token: "plain "}, "", "plain"},
		{tokenFlags{token: "-"}, "from-stdin\n", "from-stdin"},
		{tokenFlags{token: "-"}, "no line end", "no line end"},
		{tokenFlags{file: file}, "", "from-file"},
		{tokenFlags{token: "-"}, "", "there is no token"},
		{tokenFlags{file: filepath.Join(dir, "empty")}, "", "there is no token"},
		{tokenFlags{file: filepath.Join(dir, "none")}, "", "no such file"},
	} {
		got, err := tt.flags.read(strings.NewReader(tt.stdin))
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.flags, got, tt.want)
		}
	}
	o := &operator{}
	data := listenAs(t, o)
	t.Setenv("OZMO_TOKEN", " "+someToken+"\n")
	ozmo(t, "node", "join", "a:7000", "--data", data).want(t, exitOK, "has joined", "enrolling at a:7000\n")
	if got := o.said(); got != "join a:7000 with "+someToken {
		t.Errorf("the node was asked to %q", got)
	}
	ozmo(t, "node", "join", "a:7000", "--data", data, "--token-file", file).want(t, exitUsage, "", "OZMO_TOKEN_FILE): give one of them")
}

func TestCompletion(t *testing.T) {
	o := &operator{status: someStatus(), keyring: api.Keyring{Keys: []api.KeyStatus{{ID: "3f2a90c1"}}}}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	for line, want := range map[string]string{
		"node drain":      "a\nb\nc\n:4\n",
		"node remove":     "a\nb\nc\n:4\n",
		"node remove a":   ":4\n",
		"lease move":      "ethereum_mainnet\nacme/devnet\npolygon\n:4\n",
		"lease move x":    "a\nb\nc\n:4\n",
		"tenant assign":   "acme\nbeta\ngamma\n:4\n",
		"tenant assign x": "a\nb\nc\n:4\n",
		"tenant unpin":    "acme\nbeta\ngamma\n:4\n",
		"keyring use":     "3f2a90c1\n:4\n",
		"node join":       ":4\n",
	} {
		r := ozmo(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...)
		if r.code != exitOK || r.stdout != want {
			t.Errorf("%s: exit %d, %q, want %q\n%s", line, r.code, r.stdout, want, r.stderr)
		}
	}
	t.Setenv("OZMO_DATA", t.TempDir())
	if r := ozmo(t, "__complete", "node", "drain", ""); r.code != exitOK || r.stdout != ":4\n" {
		t.Errorf("without a node: exit %d, %q", r.code, r.stdout)
	}
}

func TestServeTellsAllMistakesAtOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := ozmo(t, "serve", "--data", data, "--bootstrap", "a,,a=nowhere", "--insecure", "--tls-cert", "x", "--voters", "4", "--weight", "0",
		"--roles", "judge", "--placement", "nearby", "--redis-url", "redis://x", "--redis-url-file", "none", "--cache-bytes", "-1", "--profile", "wan")
	r.want(t, exitUsage, "", "ozmo: several things are wrong:\n")
	for _, want := range []string{
		"a name is empty", "--tls-cert, --tls-key and --tls-ca go together", "--insecure and --tls-cert", "--insecure is for one machine", "--voters 4", "--weight 0", "--roles",
		"--placement", "--redis-url and --redis-url-file", "--cache-bytes -1", "--profile \"wan\"", "a node is named twice", "need keys in common",
	} {
		if !strings.Contains(r.stderr, "\n  ") || !strings.Contains(r.stderr, want) {
			t.Errorf("%q is missing in:\n%s", want, r.stderr)
		}
	}
	ozmo(t, "serve", "--data", data, "--bundle", "a.bundle", "--bootstrap").want(t, exitUsage, "", "name the nodes that found the cluster")
	ozmo(t, "serve", "--data", data, "--node", "b", "--bootstrap", "a").want(t, exitUsage, "", "need keys in common")
	ozmo(t, "serve", "--data", data, "now").want(t, exitUsage, "", "takes no arguments")
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that was not understood made the data directory: %v", err)
	}
}

// A version that is too old has an exit code of its own, so that nothing starts
// it again and again.
func TestExitCodeOfAnOldVersion(t *testing.T) {
	var b bytes.Buffer
	a := &app{running: true}
	err := fmt.Errorf("the node stopped: %w", errors.Join(fmt.Errorf("log entry 7: %w", fsm.ErrUnknownCommand), nil))
	if code := a.report(&b, a.root(), err); code != exitOutdated || !strings.Contains(b.String(), "upgrade this node") {
		t.Errorf("exit %d: %s", code, b.String())
	}
}

func TestClusterInit(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bundles")
	args := []string{"cluster", "init", "--out", out, "--nodes", "b=b.example.net:7001,a=a.example.net:7000", "--cluster", "prod"}
	r := ozmo(t, args...)
	r.want(t, exitOK, "", "")
	golden(t, "cluster-init.txt", strings.ReplaceAll(r.stdout, out, "OUT"))
	for _, name := range []string{"a", "b"} {
		info, err := os.Stat(filepath.Join(out, name+".bundle"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	before, err := os.ReadFile(filepath.Join(out, "a.bundle"))
	if err != nil {
		t.Fatal(err)
	}
	ozmo(t, args...).want(t, exitFailure, "", "is there already and is not replaced")
	if after, err := os.ReadFile(filepath.Join(out, "a.bundle")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a bundle was replaced: %v", err)
	}
	var made []founder
	r = ozmo(t, "cluster", "init", "--out", filepath.Join(out, "2"), "--nodes", "a=h:7000", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil || len(made) != 1 || made[0].Bundle != filepath.Join(out, "2", "a.bundle") {
		t.Errorf("%v: %s", err, r.stdout)
	}
	// The commands that it prints are understood.
	for _, f := range made {
		cmd, rest, err := (&app{}).root().Find(strings.Fields(f.Command)[1:])
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || cmd.Name() != "serve" {
			t.Errorf("%s: %v", f.Command, err)
		}
	}
}

// One node alone is started with the command that is printed for it, and leads.
func TestClusterInitOfOneNode(t *testing.T) {
	out := t.TempDir()
	data, err := os.MkdirTemp("", "ozmo") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var made []founder
	r := ozmo(t, "cluster", "init", "--out", out, "--nodes", "a="+address, "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	t.Chdir(out)
	args := slices.Concat(strings.Fields(made[0].Command)[1:], []string{"--data", data, "--listen", ""})
	ctx, stop := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, nil, &stdout, &stderr) }()
	eventually.Nil(t, func() error {
		select {
		case code := <-ended:
			ended <- code
			t.Fatalf("%q ends with %d:\n%s", made[0].Command, code, stderr.String())
		default:
		}
		s, err := client.New(data).Status(t.Context())
		if err == nil && s.Leader != "a" {
			err = fmt.Errorf("%q leads", s.Leader)
		}
		return err
	})
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d:\n%s", code, stderr.String())
	}
}
