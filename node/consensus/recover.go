package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Recover gives a node's log a new configuration when so many servers are lost
// for good that no leader can be elected. The node must not run. It asks keep
// which of the servers of the group remain (addresses may change, ids may not);
// all of these vote from then on.
//
// Entries that this node holds count as committed afterwards, also those that
// were not: without the others nobody can tell. Recover the node that is
// furthest with its log (what keep is told of is logged with it), give the
// other survivors the same answer or an empty data directory, and never start a
// server again that was left out.
//
// A crash leaves the group as it was or recovered: the new configuration comes
// with a snapshot of everything in the log, which takes effect in one rename;
// entries that are not deleted yet lie below it and are never looked at.
func Recover(dir string, keep func([]Peer) ([]Server, error), logger *slog.Logger) (err error) {
	has, err := HasState(dir)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if !has {
		return fmt.Errorf("recover: %s holds no log of a group", dir)
	}
	hclogger := raftLogger(logger, func() bool { return false })
	stores, done, err := openFiles(dir, hclogger)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	defer func() { err = errors.Join(err, done()) }()

	peers, last, err := inspect(stores, hclogger)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	logger.Info("the group's configuration", "log", filepath.Join(dir, logFile), "last_index", last.Index, "last_term", last.Term, "servers", len(peers))
	remain, err := keep(slices.Clone(peers))
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := checkRemaining(peers, remain); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	voted, err := interrupted(dir)
	if err == nil && voted > 1 && len(remain) > 1 {
		err = fmt.Errorf("%w: if this node is to be recovered, it must remain alone; the others join it with empty data directories", ErrDiverged)
	}
	if err == nil {
		// From here on this log is the truth.
		err = removeRestoring(dir)
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	var broken error
	throwAway := &machine{
		state: fsm.New(), answers: newAnswers(1), persisted: func(time.Duration, int64) {},
		fatal: func(err error) { broken = err },
	}
	cfg := config(Options{Server: remain[0].ID, Multiplier: 1}, hclogger)
	_, trans := raft.NewInmemTransport(raft.ServerAddress(remain[0].Address))
	err = raft.RecoverCluster(cfg, throwAway, stores.Log, stores.Stable, stores.Snapshots, trans, voters(remain))
	if err != nil {
		return errors.Join(fmt.Errorf("recover: %w", err), broken)
	}
	logger.Info("the group has a new configuration", "servers", len(remain), "index", throwAway.state.View().Index())
	return nil
}

// inspect reads the configuration and the end of the log.
func inspect(s Stores, logger hclogLogger) ([]Peer, raft.Log, error) {
	cfg := config(Options{Server: "inspect", Multiplier: 1}, logger)
	cfg.NoSnapshotRestoreOnStart = true // the configuration is in its header
	_, trans := raft.NewInmemTransport("inspect")
	idle := &machine{state: fsm.New(), answers: newAnswers(1)}
	conf, err := raft.GetConfiguration(cfg, idle, s.Log, s.Stable, s.Snapshots, trans)
	if err != nil {
		return nil, raft.Log{}, fmt.Errorf("read the configuration: %w", err)
	}
	index, err := s.Log.LastIndex()
	if err != nil {
		return nil, raft.Log{}, fmt.Errorf("read the log: %w", err)
	}
	var last raft.Log
	if index > 0 {
		if err := s.Log.GetLog(index, &last); err != nil {
			return nil, raft.Log{}, fmt.Errorf("read the log: %w", err)
		}
	}
	snapshots, err := s.Snapshots.List()
	if err != nil {
		return nil, raft.Log{}, fmt.Errorf("read the snapshots: %w", err)
	}
	if len(snapshots) > 0 && snapshots[0].Index > last.Index {
		last.Index, last.Term = snapshots[0].Index, snapshots[0].Term
	}
	return peersOf(conf), last, nil
}

func checkRemaining(peers []Peer, remain []Server) error {
	if len(remain) == 0 {
		return errors.New("no server remains")
	}
	for _, s := range remain {
		if !slices.ContainsFunc(peers, func(p Peer) bool { return p.ID == s.ID }) {
			return fmt.Errorf("server %q is not in the group; its servers are %v", s.ID, ids(peers))
		}
		if s.Address == "" {
			return fmt.Errorf("server %q has no address", s.ID)
		}
	}
	return nil
}

func ids(peers []Peer) []string {
	out := make([]string, len(peers))
	for i, p := range peers {
		out[i] = p.ID
	}
	return out
}
