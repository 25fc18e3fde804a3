package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func examplePlaces() *demoPlaces {
	return &demoPlaces{
		chain:     chainAddress{RPC: "http://127.0.0.1:1", WS: "ws://127.0.0.1:1", Token: "0x70ce", ChainID: 1337},
		blockTime: time.Second, rate: 2.5, node: "127.0.0.1:2", receiver: "http://127.0.0.1:3/alerts/default",
		folder: demoFolder{root: "/tmp/ozmo demo"}, program: "ozmo", pid: 4711,
	}
}

func TestBanner(t *testing.T) {
	var out strings.Builder
	s := newScreen(&out, func(string) (string, bool) { return "", false })
	s.banner(examplePlaces())
	const want = `ozmo demo: a simulated chain, one ozmo node and a receiver of webhooks

  chain     http://127.0.0.1:1  ws://127.0.0.1:1  chain id 1337
            a block every 1s, 2.5 token transfers a second
  token     0x70ce
  metrics   http://127.0.0.1:2/metrics
  readyz    http://127.0.0.1:2/readyz
  receiver  http://127.0.0.1:3/alerts/default  (checks the signature of every alert)
  data      /tmp/ozmo demo/data
  config    /tmp/ozmo demo/config  (OpenZeppelin Monitor's format)
  logs      /tmp/ozmo demo/*.log

Alerts appear when the receiver has them. Ctrl-C ends the demo.

`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("banner (-want +got):\n%s", diff)
	}
}

func TestHints(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out}
	p := examplePlaces()
	s.while(p)
	for _, want := range []string{
		"curl http://127.0.0.1:2/metrics\n",
		"ozmo coverage show default devnet --data '/tmp/ozmo demo/data'\n",
		"ozmo config check '/tmp/ozmo demo/config'\n",
		"kill -HUP 4711\n",
		"/tmp/ozmo demo/config/monitors/every_transfer.json\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("while it runs, no %q in:\n%s", want, out.String())
		}
	}
	out.Reset()
	s.after(p)
	if got := out.String(); strings.Contains(got, "/tmp/ozmo demo") || !strings.Contains(got, "--keep") || !strings.Contains(got, "/docs\n") {
		t.Errorf("after a demo whose folder is gone:\n%s", got)
	}
	out.Reset()
	p.folder.keep = true
	s.after(p)
	if got := out.String(); !strings.Contains(got, "ozmo config check '/tmp/ozmo demo/config'\n") {
		t.Errorf("after a demo whose folder is kept:\n%s", got)
	}
}

func TestAlertOnScreen(t *testing.T) {
	took := 4200 * time.Microsecond
	event := receipt{
		State: "fired", Tenant: "acme", Monitor: "Moves\x1b[31m", Network: "devnet", Height: 16, BlockHash: "0xbb", Transaction: "0xaa",
		Status: "Success", From: "0x02",
		Calls: []receivedCall{{Signature: "Moved(address,uint256)", Args: []receivedArg{{"who", "0x01"}, {"memo", "hi\nFIRED  Forged"}}}},
	}
	failure := receipt{State: "retracted", Tenant: "acme", Monitor: "Failures", Network: "devnet", Height: 17, BlockHash: "0xbc", Transaction: "0xab", Status: "Failure", From: "0x02", To: "0x03"}
	var out strings.Builder
	s := &screen{out: &out}
	s.alert(event, &took)
	s.alert(failure, nil)
	const want = `FIRED  Moves\x1b[31m  4.2 ms after its block was confirmed
  tenant      acme
  network     devnet
  block       16  0xbb
  transaction 0xaa
  matched     Moved(address,uint256)
    who       0x01
    memo      hi\nFIRED  Forged

RETRACTED  Failures
  tenant      acme
  network     devnet
  block       17  0xbc
  transaction 0xab
  status      Failure
  from        0x02
  to          0x03

`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
	out.Reset()
	s.colour = true
	s.alert(event, &took)
	if got := out.String(); !strings.HasPrefix(got, "\x1b[1;31mFIRED\x1b[0m  \x1b[1mMoves\\x1b[31m\x1b[0m") {
		t.Errorf("in colour: %q", got)
	}
}

func TestWantsColour(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"TERM": "xterm"}, true},
		{nil, true},
		{map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true},
		{map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{map[string]string{"TERM": "dumb"}, false},
	} {
		lookup := func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok }
		if got := wantsColour(lookup); got != tc.want {
			t.Errorf("%v: %v", tc.env, got)
		}
	}
	if newScreen(&strings.Builder{}, func(string) (string, bool) { return "", false }).colour {
		t.Error("colour where nobody looks")
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestScreenRemembersItsFailure(t *testing.T) {
	gone := errors.New("the terminal is gone")
	s := &screen{out: brokenWriter{gone}}
	s.show("hello")
	if !errors.Is(s.err, gone) {
		t.Errorf("%v", s.err)
	}
}

func TestQuoteArg(t *testing.T) {
	for in, want := range map[string]string{"/tmp/a-b_c.1": "/tmp/a-b_c.1", "/a b": "'/a b'", "it's": `'it'\''s'`, "": "''", "$HOME": "'$HOME'"} {
		if got := quoteArg(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestProgramName(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "ozmo")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	other := place(t, filepath.Join(t.TempDir(), "ozmo"), "", 0o755)
	for name, tc := range map[string]struct {
		found string
		err   error
		want  string
	}{
		"in PATH":           {link, nil, "ozmo"},
		"another in PATH":   {other, nil, quoteArg(self)},
		"not in PATH":       {"", os.ErrNotExist, quoteArg(self)},
		"gone in the while": {filepath.Join(t.TempDir(), "ozmo"), nil, quoteArg(self)},
	} {
		if got := programName(func(string) (string, error) { return tc.found, tc.err }); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
