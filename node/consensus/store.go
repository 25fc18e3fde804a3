package consensus

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// store is the node's durable log and votes.
type store struct {
	log    raft.LogStore
	stable raft.StableStore
	bolt   *raftboltdb.BoltStore
}

// cachedEntries of the log are kept in memory.
const cachedEntries = 512

func openStore(path string, wrap func(raft.LogStore) raft.LogStore, fatal func(error)) (*store, error) {
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
		return nil, fmt.Errorf("%s is in use: another ozmo runs on this data directory", path)
	case err != nil:
		return nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	var log raft.LogStore = bolt
	if wrap != nil {
		log = wrap(log)
	}
	stop := failStop{LogStore: log, StableStore: bolt, path: path, fatal: fatal}
	cached, err := raft.NewLogCache(cachedEntries, stop)
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return &store{log: cached, stable: stop, bolt: bolt}, nil
}

// Close releases the file.
func (s *store) Close() error { return s.bolt.Close() }

// failStop ends the node at the first write that fails. Raft itself would step
// down and try again: a node that is up, but cannot remember anything.
type failStop struct {
	raft.LogStore
	raft.StableStore
	path  string
	fatal func(error)
}

func (f failStop) check(err error) error {
	if err != nil {
		err = fmt.Errorf("write %s: %w (is the disk full or failing? the node stops rather than lose what it promised)", f.path, err)
		f.fatal(err)
	}
	return err
}

// StoreLog writes one entry.
func (f failStop) StoreLog(l *raft.Log) error { return f.check(f.LogStore.StoreLog(l)) }

// StoreLogs writes entries.
func (f failStop) StoreLogs(l []*raft.Log) error { return f.check(f.LogStore.StoreLogs(l)) }

// DeleteRange removes entries.
func (f failStop) DeleteRange(lo, hi uint64) error { return f.check(f.LogStore.DeleteRange(lo, hi)) }

// Set writes a value.
func (f failStop) Set(k, v []byte) error { return f.check(f.StableStore.Set(k, v)) }

// SetUint64 writes a number.
func (f failStop) SetUint64(k []byte, v uint64) error { return f.check(f.StableStore.SetUint64(k, v)) }
