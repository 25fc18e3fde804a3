package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "devchain")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) { testProcess(t, binary, signal) })
	}
}

func testProcess(t *testing.T, binary string, signal syscall.Signal) {
	file := filepath.Join(t.TempDir(), "ready.json")
	if err := os.WriteFile(file, []byte("left over"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary,
		"--listen", "127.0.0.1:0", "--block-time", "50ms", "--rate", "20", "--ready-file", file, "--json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ready readiness
	eventually(t, "the ready file", func() error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &ready)
	})
	if ready.ChainID != 1337 {
		t.Errorf("ready file %+v", ready)
	}
	if code := call[string](t, ready.RPC, "eth_getCode", ready.Token, "latest"); len(code) < 100 {
		t.Errorf("no token at %s", ready.Token)
	}
	ws := dialWS(t, ready.WS)
	ws.call(t, "eth_subscribe", "newHeads")
	first, second := ws.nextHead(t), ws.nextHead(t)
	if hexNumber(t, second.Number) != hexNumber(t, first.Number)+1 {
		t.Errorf("head %s after head %s", second.Number, first.Number)
	}
	eventually(t, "generated transfers", func() error {
		if list := call[transferList](t, ready.RPC, "dev_expectedTransfers", 2); len(list.Transfers) == 0 {
			return fmt.Errorf("none up to block %v", list.Head)
		}
		return nil
	})
	// A subscriber and a kept-alive connection are open: neither may hold it up.
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, stderr.String())
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the ready file is still there: %v", err)
	}
	var printed readiness
	if err := json.Unmarshal(stdout.Bytes(), &printed); err != nil || printed != ready {
		t.Errorf("printed %q (%v), the file said %+v", stdout.String(), err, ready)
	}
}

func TestAddressInUse(t *testing.T) {
	s := startChain(t, nil)
	o := s.opts
	o.listen = s.chain.httpURL()[len("http://"):]
	if _, err := newServer(o, s.traffic.log); err == nil {
		t.Error("two chains serve on one address")
	}
}
