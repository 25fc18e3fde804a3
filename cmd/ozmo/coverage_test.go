package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// listenAs serves an operator on the socket of a data directory.
func listenAs(t *testing.T, o *operator) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ozmo") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "ozmo.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: api.Local(o, o, prometheus.NewRegistry()), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return dir
}

func TestCoverageShow(t *testing.T) {
	dir := listenAs(t, &operator{coverage: api.Coverage{Head: fsm.BlockRef{Height: 120}, Rows: []fsm.CoverageRow{
		{FromPosition: 1, ToPosition: 11, FromHeight: 100, ToHeight: 110, Status: fsm.Judged, Version: 1},
		{FromPosition: 12, ToPosition: 12, FromHeight: 108, ToHeight: 108, Status: fsm.RolledBack, Version: 1},
		{FromPosition: 13, ToPosition: 24, FromHeight: 109, ToHeight: 120, Status: fsm.Pending, Version: 2},
	}}})
	want := strings.Join([]string{
		"BLOCKS   POSITIONS  STATUS    CONFIG VERSION",
		"100-110  1-11       judged    1",
		"108      12         rollback  1",
		"109-120  13-24      pending   2",
		"tenant acme on base: 11 announcements judged; head 120", "",
	}, "\n")
	ozmo(t, "coverage", "show", "acme", "base", "--data", dir).want(t, exitOK, want, "")

	r := ozmo(t, "coverage", "show", "acme", "base", "--data", dir, "--output", "json")
	var c api.Coverage
	if err := json.Unmarshal([]byte(r.stdout), &c); err != nil || len(c.Rows) != 3 || c.Rows[0].ToHeight != 110 {
		t.Errorf("json: %v\n%s", err, r.stdout)
	}
}

func TestCoverageVerifyTellsWhatIsMissing(t *testing.T) {
	lost := api.Fired{ID: "a1", Monitor: "Large", Block: fsm.BlockRef{Height: 105}, Tx: "0xabc"}
	o := &operator{verified: api.Verification{Blocks: 11, Expected: 3, Confirmed: 2, Missing: []api.Fired{lost}}}
	dir := listenAs(t, o)
	r := ozmo(t, "coverage", "verify", "acme", "base", "--from", "100", "--to", "110", "--data", dir)
	if r.code != exitFailure || !strings.Contains(r.stdout, "missing    105  Large    0xabc") {
		t.Errorf("exit %d\n%s", r.code, r.stdout)
	}
	o.verified = api.Verification{Blocks: 11, Expected: 3, Confirmed: 3}
	r = ozmo(t, "coverage", "verify", "acme", "base", "--from", "100", "--to", "110", "--data", dir)
	if r.code != exitOK || !strings.Contains(r.stdout, "3 alerts expected, 3 confirmed, 0 missing") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	o.verified = api.Verification{NotJudged: []api.Heights{{From: 100, To: 103, Reason: "pending"}}}
	r = ozmo(t, "coverage", "verify", "acme", "base", "--from", "100", "--to", "110", "--data", dir)
	if r.code != exitFailure || !strings.Contains(r.stdout, "blocks 100-103: not judged: pending") {
		t.Errorf("exit %d\n%s", r.code, r.stdout)
	}
}

func TestCoverageBadInput(t *testing.T) {
	dir := listenAs(t, &operator{err: fmt.Errorf("tenant %q: %w", "acme", fsm.ErrNotFound)})
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"show", "acme", "base", "--data", dir}, exitFailure, `tenant "acme": not found`},
		{[]string{"verify", "acme", "base", "--data", dir}, exitFailure, `tenant "acme": not found`},
		{[]string{"show", "acme", "base", "--data", filepath.Join(dir, "none")}, exitFailure, "no ozmo node is running"},
		{[]string{"show", "acme"}, exitUsage, "NETWORK"},
		{[]string{"verify", "acme", "base", "--from", "9", "--to", "3"}, exitUsage, "lies above"},
		{[]string{"verify", "acme", "base", "--from", "nine"}, exitUsage, "nine"},
	} {
		r := ozmo(t, append([]string{"coverage"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: exit %d, want %d, saying %q:\n%s", c.args, r.code, c.code, c.says, r.stderr)
		}
	}
}
