package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program makes a program of a shell script. It is called with --ready-file FILE.
func program(t *testing.T, script string) string {
	t.Helper()
	return place(t, filepath.Join(t.TempDir(), "devchain"), "#!/bin/sh\n"+script+"\n", 0o755)
}

func startScript(ctx context.Context, t *testing.T, script string) (*chainProcess, error) {
	t.Helper()
	dir := t.TempDir()
	return startChain(ctx, program(t, script), nil, filepath.Join(dir, "ready"), filepath.Join(dir, "log"))
}

const (
	serves = `echo '{"rpc":"http://127.0.0.1:1","ws":"ws://127.0.0.1:1","token":"0x70ce","chain_id":1337}' > "$2.new"; mv "$2.new" "$2"`
	waits  = `; while :; do sleep 0.1; done`
)

func TestChainProcess(t *testing.T) {
	p, err := startScript(t.Context(), t, serves+waits)
	if err != nil {
		t.Fatal(err)
	}
	if want := (chainAddress{RPC: "http://127.0.0.1:1", WS: "ws://127.0.0.1:1", Token: "0x70ce", ChainID: 1337}); p.chainAddress != want {
		t.Errorf("address %+v", p.chainAddress)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-p.exited:
	default:
		t.Error("it still runs")
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped again: %v", err)
	}
}

func TestChainProcessFails(t *testing.T) {
	for name, tc := range map[string]struct{ script, want string }{
		"ends at once":    {"echo no more memory >&2; exit 3", "ended: exit status 3\n  no more memory"},
		"ends well":       {"exit 0", "ended: exit status 0"},
		"another program": {`echo "I am not a chain" > "$2.new"; mv "$2.new" "$2"` + waits, "is not the devchain of ozmo"},
	} {
		if _, err := startScript(t.Context(), t, tc.script); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := startScript(ctx, t, "exec sleep 60"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := startChain(t.Context(), filepath.Join(t.TempDir(), "none"), nil, "", filepath.Join(t.TempDir(), "log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
}

func TestLogTail(t *testing.T) {
	p := &child{logFile: place(t, filepath.Join(t.TempDir(), "log"), strings.Repeat("x", 2*logTailBytes)+"\nlast\x1b[31m\n", 0o600)}
	if got := p.logTail(); len(got) > logTailBytes+100 || !strings.HasSuffix(got, "\n  last\\x1b[31m") {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-40):])
	}
	p.logFile += "-none"
	if got := p.logTail(); got != "" {
		t.Errorf("of no file: %q", got)
	}
}
