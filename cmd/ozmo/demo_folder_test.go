package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
)

func TestDemoDocuments(t *testing.T) {
	dir := t.TempDir()
	err := writeDocuments(dir, demoValues{
		RPC: "http://127.0.0.1:8545", WS: "ws://127.0.0.1:8545", ChainID: 1337, BlockTimeMS: 1000,
		Token: "0x99fb295f7ac3ef439a311b49753a6513e143b079", Receiver: "http://127.0.0.1:9000/alerts/default", Secret: "s3cret",
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, problems := spec.ReadTree(os.DirFS(dir), spec.WithTime(time.Now()))
	problems = append(problems, match.CheckTree(tree)...)
	for _, p := range problems {
		// All of it stays on this machine.
		if p.Severity == spec.SeverityError || !strings.Contains(p.Message, "is not encrypted") {
			t.Errorf("%s", p)
		}
	}
	tenant := tree.Tenants[demoTenant]
	if tenant == nil {
		t.Fatalf("tenants %v", tree.Tenants)
	}
	network := tree.Networks[demoNetwork]
	if network == nil || *network.ChainID != 1337 || network.ConfirmationBlocks != 1 || len(network.RPCURLs) != 2 {
		t.Errorf("network %+v", network)
	}
	var events, functions, failures, expressions, paused int
	for _, m := range tenant.Monitors {
		if m.Paused {
			paused++
			continue
		}
		if !slices.Equal(m.Triggers, []string{"demo_receiver"}) {
			t.Errorf("monitor %s has the triggers %v", m.Name, m.Triggers)
		}
		events += len(m.Match.Events)
		functions += len(m.Match.Functions)
		for _, c := range m.Match.Transactions {
			if c.Status == spec.StatusFailure {
				failures++
			}
		}
		for _, c := range slices.Concat(m.Match.Events, m.Match.Functions) {
			if c.Expression != nil {
				expressions++
			}
		}
	}
	if events == 0 || functions == 0 || failures == 0 || expressions < 2 || paused != 1 {
		t.Errorf("%d events, %d functions, %d failures, %d expressions, %d paused", events, functions, failures, expressions, paused)
	}
}

func TestDemoFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f, err := newDemoFolder("")
	if err != nil {
		t.Fatal(err)
	}
	place(t, f.path("data/log"), "", 0o600)
	if err := f.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.root); !os.IsNotExist(err) {
		t.Errorf("a temporary folder is still there: %v", err)
	}

	kept := filepath.Join(t.TempDir(), "a", "b")
	if f, err = newDemoFolder(kept); err != nil {
		t.Fatal(err)
	}
	place(t, f.path("data/log"), "", 0o600)
	if err := f.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(kept, "data", "log")); err != nil {
		t.Errorf("what was to be kept: %v", err)
	}
	if _, err := newDemoFolder(kept); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a folder that is in use: %v", err)
	}
	if _, err := newDemoFolder(filepath.Join(kept, "data", "log")); err == nil {
		t.Error("a file is no folder, and no error")
	}
}
