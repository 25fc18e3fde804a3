package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Stores is where a server keeps its log, its votes and its snapshots.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// MemoryStores are stores for tests. They keep what they hold from one Open to
// the next, as a disk does.
func MemoryStores() Stores {
	s := raft.NewInmemStore()
	return Stores{Log: s, Stable: s, Snapshots: raft.NewInmemSnapshotStore()}
}

// store is what a running server writes to.
type store struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	close     func() error

	dir    string        // of the files; empty for a test's stores
	path   string        // of the log, for messages
	writes *writes       // under way
	hung   chan struct{} // closed once a write is taken for lost
	fatal  func(error)
}

const (
	logFile       = "raft.db"
	cachedEntries = 512 // of the log, in memory
	keptSnapshots = 3
)

// openStores opens the node's stores; the first write that fails is fatal, and
// so is one that hangs while somebody watches.
func openStores(opts Options, logger hclogLogger, fatal func(error)) (*store, error) {
	s := &store{
		close: func() error { return nil }, path: "the test's log",
		writes: newWrites(), hung: make(chan struct{}), fatal: fatal,
	}
	var raw Stores
	var err error
	if opts.Stores != nil {
		raw, err = opts.Stores()
	} else {
		s.dir, s.path = opts.Dir, filepath.Join(opts.Dir, logFile)
		raw, s.close, err = openFiles(opts.Dir, logger)
	}
	if err != nil {
		return nil, err
	}
	if s.dir != "" {
		if err := checkRestored(s.dir, raw); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if opts.WrapLog != nil {
		raw.Log = opts.WrapLog(raw.Log)
	}
	stop := failStop{LogStore: raw.Log, StableStore: raw.Stable, path: s.path, writes: s.writes, fatal: fatal}
	s.log, err = raft.NewLogCache(cachedEntries, stop)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.stable, s.snapshots = stop, raw.Snapshots
	return s, nil
}

// openFiles opens the files of a directory, and makes them if there are none.
func openFiles(dir string, logger hclogLogger) (Stores, func() error, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Stores{}, nil, fmt.Errorf("data directory: %w", err)
	}
	path := filepath.Join(dir, logFile)
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return Stores{}, nil, fmt.Errorf("%s is in use: another ozmo runs on this data directory", path)
	case err != nil:
		return Stores{}, nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, logger)
	if err != nil {
		return Stores{}, nil, errors.Join(fmt.Errorf("snapshot directory: %w", err), bolt.Close())
	}
	return Stores{Log: bolt, Stable: bolt, Snapshots: snapshots}, bolt.Close, nil
}

// HasState reports whether a directory holds a log: whether the node that ran
// on it belongs to a group. It fails while a node runs on the directory.
func HasState(dir string) (bool, error) {
	_, noLog := os.Stat(filepath.Join(dir, logFile))
	_, noSnapshots := os.Stat(filepath.Join(dir, "snapshots"))
	if errors.Is(noLog, fs.ErrNotExist) && errors.Is(noSnapshots, fs.ErrNotExist) {
		return false, nil
	}
	stores, done, err := openFiles(dir, hclog.NewNullLogger())
	if err != nil {
		return false, err
	}
	has, err := raft.HasExistingState(stores.Log, stores.Stable, stores.Snapshots)
	if err != nil {
		err = fmt.Errorf("read the log: %w", err)
	}
	return has, errors.Join(err, done())
}

// Close releases the files.
func (s *store) Close() error { return s.close() }

// failStop ends the node at the first write that fails. Raft itself would step
// down and try again: a node that is up, but cannot remember anything.
type failStop struct {
	raft.LogStore
	raft.StableStore
	path   string
	writes *writes
	fatal  func(error)
}

func (f failStop) write(what func() error) error {
	id := f.writes.begin()
	err := what()
	f.writes.end(id)
	if err != nil {
		err = fmt.Errorf("write %s: %w (is the disk full or failing? the node stops rather than lose what it promised)", f.path, err)
		f.fatal(err)
	}
	return err
}

// StoreLog writes one entry.
func (f failStop) StoreLog(l *raft.Log) error {
	return f.write(func() error { return f.LogStore.StoreLog(l) })
}

// StoreLogs writes entries.
func (f failStop) StoreLogs(l []*raft.Log) error {
	return f.write(func() error { return f.LogStore.StoreLogs(l) })
}

// DeleteRange removes entries.
func (f failStop) DeleteRange(lo, hi uint64) error {
	return f.write(func() error { return f.LogStore.DeleteRange(lo, hi) })
}

// Set writes a value.
func (f failStop) Set(k, v []byte) error {
	return f.write(func() error { return f.StableStore.Set(k, v) })
}

// SetUint64 writes a number.
func (f failStop) SetUint64(k []byte, v uint64) error {
	return f.write(func() error { return f.StableStore.SetUint64(k, v) })
}
