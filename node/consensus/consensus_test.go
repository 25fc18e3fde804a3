package consensus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alone = "a@00000001"

// open runs a group of one server.
func open(t *testing.T, dir string, change func(*Options)) (*Group, *fsm.State) {
	t.Helper()
	state := fsm.New()
	opts := Options{
		Dir: dir, Server: alone, State: state, Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler),
		Fatal:  func(err error) { t.Errorf("fatal: %v", err) },
	}
	if change != nil {
		change(&opts)
	}
	g, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	if err := g.Bootstrap([]Server{{ID: alone, Address: alone}}); err != nil && !errors.Is(err, ErrBootstrapped) {
		t.Fatal(err)
	}
	return g, state
}

func encoded(t testing.TB, s *fsm.State) string {
	t.Helper()
	var buf bytes.Buffer
	if _, err := s.View().WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestProposeSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, state := open(t, dir, nil)
	index, err := g.Propose(t.Context(), &fsm.SetCluster{Cluster: fsm.Cluster{Name: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	if c := state.View().Cluster(); c.Name != "one" || c.Index != index {
		t.Fatalf("the proposer's state does not show the change: %+v", c)
	}
	if err := g.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Propose(t.Context(), put("two")); err != nil {
		t.Fatal(err)
	}
	before := encoded(t, state)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}

	g, state = open(t, dir, nil)
	if err := g.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if encoded(t, state) != before {
		t.Fatal("the state after a restart differs from the one before")
	}
}

func TestRefusalComesBackAsItIs(t *testing.T) {
	t.Parallel()
	g, _ := open(t, t.TempDir(), nil)
	_, err := g.Propose(t.Context(), &fsm.SetCluster{Expect: 7})
	if !errors.Is(err, fsm.ErrConflict) {
		t.Fatalf("got %v, want fsm.ErrConflict", err)
	}
}

func TestAppliedReachesCommitted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	g, _ := open(t, t.TempDir(), func(o *Options) { o.Registerer = reg })
	if _, err := g.Propose(t.Context(), put("x")); err != nil {
		t.Fatal(err)
	}
	// What follows is no command: the state machine never sees it.
	if err := g.appendEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "all that is committed counts as applied", func() bool {
		c := g.Committed()
		return g.Applied() == c && c > g.answers.last()
	})
	want := strings.NewReader("# HELP ozmo_consensus_apply_lag_entries Entries known to be committed that are not applied here.\n" +
		"# TYPE ozmo_consensus_apply_lag_entries gauge\nozmo_consensus_apply_lag_entries 0\n")
	if err := testutil.GatherAndCompare(reg, want, "ozmo_consensus_apply_lag_entries"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestSecondProcessOnTheSameDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, nil)
	_, err := Open(Options{
		Dir: dir, Server: alone, State: fsm.New(), Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Fatal: func(error) {},
	})
	if err == nil || !strings.Contains(err.Error(), "another ozmo runs") {
		t.Fatalf("got %v", err)
	}
	if _, err := HasState(dir); err == nil || !strings.Contains(err.Error(), "another ozmo runs") {
		t.Fatalf("HasState: %v", err)
	}
}

func TestHasState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(want bool) {
		t.Helper()
		if has, err := HasState(dir); err != nil || has != want {
			t.Fatalf("got %v, %v, want %v", has, err, want)
		}
	}
	check(false)
	state := fsm.New()
	g, err := Open(Options{
		Dir: dir, Server: alone, State: state, Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := g.Peers(); err != nil || len(p) > 0 {
		t.Fatalf("a node without a group has peers %v, %v", p, err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	check(false) // it ran, and belongs to no group
	g, _ = open(t, dir, nil)
	if err := g.Bootstrap([]Server{{ID: alone, Address: alone}}); !errors.Is(err, ErrBootstrapped) {
		t.Fatalf("bootstrapped twice: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	check(true)
}

func TestServerIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a b", "a\nb", strings.Repeat("x", maxServerID+1)} {
		_, err := Open(Options{Dir: t.TempDir(), Server: id, State: fsm.New(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "server id") {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	if n := NameOf("monitor-0@0a1b2c3d"); n != "monitor-0" {
		t.Errorf("name %q", n)
	}
}

// fullDisk fails writes once it is told to.
type fullDisk struct {
	raft.LogStore
	full *atomic.Bool
}

func (f fullDisk) StoreLogs(l []*raft.Log) error {
	if f.full.Load() {
		return syscall.ENOSPC
	}
	return f.LogStore.StoreLogs(l)
}

func TestDiskFullStopsTheNode(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fatal := make(chan error, 1)
	g, _ := open(t, t.TempDir(), func(o *Options) {
		o.WrapLog = func(s raft.LogStore) raft.LogStore { return fullDisk{s, &full} }
		o.Fatal = func(err error) { fatal <- err }
	})
	if _, err := g.Propose(t.Context(), put("a")); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if _, err := g.Propose(t.Context(), put("b")); err == nil {
		t.Fatal("a command was accepted that could not be written")
	}
	if err := <-fatal; !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("fatal: %v", err)
	}
}

func TestUnknownCommandStopsTheNode(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	g, state := open(t, t.TempDir(), func(o *Options) { o.Fatal = func(err error) { fatal <- err } })
	for {
		change := g.leader.next()
		if g.isLeader() {
			break
		}
		<-change
	}
	if err := g.raft.Apply([]byte{0x7f, 0x80}, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, fsm.ErrUnknownCommand) {
		t.Fatalf("fatal: %v", err)
	}
	if _, err := g.Propose(t.Context(), put("b")); !errors.Is(err, errBroken) {
		t.Fatalf("applied after an unknown entry: %v", err)
	}
	if has(state, "b") {
		t.Fatal("the state changed after an unknown entry")
	}
}

func TestEntryThatCannotBeReadIsNotAppended(t *testing.T) {
	t.Parallel()
	g, _ := open(t, t.TempDir(), nil)
	if err := g.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := g.raft.LastIndex()
	for _, entry := range [][]byte{nil, {}, {0x7f}, {byte(fsm.TypePutBlobs), 0xc1}, {byte(fsm.TypeAudited), 0x81, 0xa1, 'c', 0xc4, 2, 0x7f, 0x80}} {
		if _, err := g.ProposeEntry(t.Context(), entry); !errors.Is(err, ErrGated) {
			t.Errorf("entry %x: %v", entry, err)
		}
	}
	if after := g.raft.LastIndex(); after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
}
