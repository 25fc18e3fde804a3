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
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, change func(*Options)) (*Group, *fsm.State) {
	t.Helper()
	state := fsm.New()
	opts := Options{
		Dir: dir, Node: "a", State: state, Registerer: prometheus.NewRegistry(),
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
	return g, state
}

func TestProposeSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	g, state := open(t, dir, nil)
	epoch, err := g.Propose(t.Context(), &fsm.PutCohort{ID: "a", Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := state.View().Cohort("a"); !ok || c.Epoch != epoch {
		t.Fatalf("the proposer's state does not show the change: %v", c)
	}
	if err := g.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Propose(t.Context(), &fsm.PutCohort{ID: "b", Node: "a"}); err != nil {
		t.Fatal(err)
	}
	var before bytes.Buffer
	if _, err := state.View().WriteTo(&before); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}

	g, state = open(t, dir, nil)
	if err := g.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	var after bytes.Buffer
	if _, err := state.View().WriteTo(&after); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Fatal("the state after a restart differs from the one before")
	}
}

func TestRefusalComesBackAsItIs(t *testing.T) {
	g, _ := open(t, t.TempDir(), nil)
	_, err := g.Propose(t.Context(), &fsm.GrantLease{Network: "none", Holder: "a"})
	if !errors.Is(err, fsm.ErrNotFound) {
		t.Fatalf("got %v, want fsm.ErrNotFound", err)
	}
}

func TestSecondProcessOnTheSameDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, nil)
	_, err := Open(Options{
		Dir: dir, Node: "a", State: fsm.New(), Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Fatal: func(error) {},
	})
	if err == nil || !strings.Contains(err.Error(), "another ozmo runs") {
		t.Fatalf("got %v", err)
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
	var full atomic.Bool
	fatal := make(chan error, 1)
	g, _ := open(t, t.TempDir(), func(o *Options) {
		o.WrapLog = func(s raft.LogStore) raft.LogStore { return fullDisk{s, &full} }
		o.Fatal = func(err error) { fatal <- err }
	})
	if _, err := g.Propose(t.Context(), &fsm.PutCohort{ID: "a", Node: "a"}); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if _, err := g.Propose(t.Context(), &fsm.PutCohort{ID: "b", Node: "a"}); err == nil {
		t.Fatal("a command was accepted that could not be written")
	}
	if err := <-fatal; !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("fatal: %v", err)
	}
}

func TestUnknownCommandStopsTheNode(t *testing.T) {
	fatal := make(chan error, 1)
	g, state := open(t, t.TempDir(), func(o *Options) { o.Fatal = func(err error) { fatal <- err } })
	if err := g.AwaitLeader(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.raft.Apply([]byte{0x7f, 0x80}, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, fsm.ErrUnknownCommand) {
		t.Fatalf("fatal: %v", err)
	}
	if _, err := g.Propose(t.Context(), &fsm.PutCohort{ID: "b", Node: "a"}); !errors.Is(err, errBroken) {
		t.Fatalf("applied after an unknown entry: %v", err)
	}
	if _, ok := state.View().Cohort("b"); ok {
		t.Fatal("the state changed after an unknown entry")
	}
}
