package node_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

func TestReloadIsAtomicPerTenant(t *testing.T) {
	r := newRig(t)
	r.start()
	r.expect("All transfers", r.transfer(5))

	r.monitor("monitors/large.json", "Large transfers", "value > 100")
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	large := r.transfer(500)
	r.expect("Large transfers", large)
	r.expect("All transfers", large)

	// One broken document and one changed one: nothing of it is taken over.
	r.monitor("monitors/large.json", "Large transfers", "valeu > 100")
	r.monitor("monitors/all.json", "All transfers", "value > 1000000")
	report, err := r.node.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Refused) != 1 || !strings.Contains(strings.Join(report.Problems, "\n"), "large.json") {
		t.Fatalf("reload: %+v", report)
	}
	small := r.transfer(7)
	r.expect("All transfers", small)

	r.monitor("monitors/large.json", "Large transfers", "value > 100")
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := r.transfer(2000)
	r.expect("Large transfers", next)
	if r.receiver.has("All transfers", next) {
		t.Error("the old version of a changed monitor still fires")
	}
	if err := os.Remove(filepath.Join(r.config, "monitors/large.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := r.transfer(2_000_000)
	r.expect("All transfers", seen)
	if r.receiver.has("Large transfers", seen) {
		t.Error("a removed monitor still fires")
	}
}

func TestTenantsFolder(t *testing.T) {
	r := newRig(t)
	for _, dir := range []string{"monitors", "triggers"} {
		for _, tenant := range []string{"acme", "globex"} {
			files, err := filepath.Glob(filepath.Join(r.config, dir, "*.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				renamed := strings.ReplaceAll(string(text), "All transfers", "Transfers of "+tenant)
				r.write("tenants/"+tenant+"/"+dir+"/"+filepath.Base(f), renamed)
			}
		}
		if err := os.RemoveAll(filepath.Join(r.config, dir)); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	tx := r.transfer(1)
	r.expect("Transfers of acme", tx)
	r.expect("Transfers of globex", tx)
	if err := os.RemoveAll(filepath.Join(r.config, "tenants", "globex")); err != nil {
		t.Fatal(err)
	}
	report, err := r.node.Reload(t.Context())
	if err != nil || len(report.Removed) != 1 {
		t.Fatalf("reload: %+v, %v", report, err)
	}
	tx = r.transfer(2)
	r.expect("Transfers of acme", tx)
	if r.receiver.has("Transfers of globex", tx) {
		t.Error("a deleted tenant is still told")
	}

	// A folder that cannot be read is not a deleted tenant, and a tree without
	// any tenant is not an order to delete them all.
	acme := filepath.Join(r.config, "tenants", "acme")
	if err := os.RemoveAll(acme); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(r.config, "not mounted"), acme); err != nil {
		t.Fatal(err)
	}
	if report, err = r.node.Reload(t.Context()); err == nil && len(report.Removed) > 0 {
		t.Fatalf("reload: %+v", report)
	}
	if err := os.Remove(acme); err != nil {
		t.Fatal(err)
	}
	if _, err := r.node.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no tenant at all") {
		t.Fatalf("reload: %v", err)
	}
	r.expect("Transfers of acme", r.transfer(3))
}

// When the depth is lowered, what lies between the two depths is due at once:
// also when the node was down meanwhile.
func TestDepthChange(t *testing.T) {
	for name, whileDown := range map[string]bool{"reload": false, "restart": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			file := filepath.Join(r.config, "networks", "fake.json")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			depth := func(d string) {
				r.write("networks/fake.json", strings.Replace(string(text), `"confirmation_blocks":1`, `"confirmation_blocks":`+d, 1))
			}
			depth("6")
			r.start()
			from := r.chain.Head().Number + 1
			var all []fsm.Hash
			add := func(n int) {
				for range n {
					all = append(all, r.chain.ExtendWith(fakechain.Transfer(alice, bob, uint64(len(all)+1))).Txs[0].Hash)
				}
			}
			add(10)
			r.expect("All transfers", all[3])
			change := func(d string) {
				depth(d)
				if whileDown {
					r.stop()
					r.start()
				} else if _, err := r.node.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			change("2")
			add(1)
			for _, tx := range all[:9] {
				r.expect("All transfers", tx)
			}
			change("4")
			add(6)
			for _, tx := range all[:13] {
				r.expect("All transfers", tx)
			}
			if n := r.receiver.count("All transfers"); n != 13 {
				t.Errorf("%d deliveries, want 13", n)
			}
			eventually.Nil(t, func() error {
				v, err := client.New(r.data).Verify(t.Context(), "default", "fake", from, from+12, nil)
				if err == nil && (!v.Proved() || v.Confirmed != 13) {
					err = fmt.Errorf("not proved: %+v", v)
				}
				return err
			})
		})
	}
}

func TestBrokenFolderAtRestart(t *testing.T) {
	r := newRig(t)
	r.start()
	r.expect("All transfers", r.transfer(5))
	r.stop()
	r.write("monitors/all.json", "{")
	r.start()
	r.expect("All transfers", r.transfer(6))
	if !strings.Contains(r.log.String(), "monitors/all.json") {
		t.Error("the log does not name the broken file")
	}
}

func TestBadConfigurationAtFirstStart(t *testing.T) {
	r := newRig(t)
	r.monitor("monitors/all.json", "All transfers", "valeu > 1")
	n, err := node.New(node.Options{DataDir: r.data, Name: "test", Bootstrap: true, ClusterListen: "127.0.0.1:0", Config: r.config, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = n.Start(t.Context())
	if stop := n.Stop(); stop != nil {
		t.Error(stop)
	}
	if err == nil || !strings.Contains(err.Error(), "monitors/all.json") || !strings.Contains(err.Error(), "value") {
		t.Fatalf("start: %v", err)
	}
}
