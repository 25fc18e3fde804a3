package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/node/durable"
)

// restoringFile says that a restore is under way, and how many voters the group
// has. It is there from just before Raft installs the snapshot on the leader
// until a majority has it. In between the leader's log has a hole that nobody
// else's has, and Raft never finds that out: if the others elect a new leader,
// this node keeps the restored state and applies their entries to it.
const restoringFile = "restoring"

// beginRestore writes the file so that it outlasts a crash. Stores of a test
// have none.
func (s *store) beginRestore(voters int) error {
	if s.dir == "" {
		return nil
	}
	path := filepath.Join(s.dir, restoringFile)
	if err := durable.WriteFile(path, []byte(strconv.Itoa(voters)+"\n"), 0o600); err != nil {
		return fmt.Errorf("note that a restore is under way: %w", err)
	}
	return nil
}

// endRestore removes the file, if it is there.
func (s *store) endRestore() error {
	if s.dir == "" {
		return nil
	}
	return removeRestoring(s.dir)
}

func removeRestoring(dir string) error {
	err := os.Remove(filepath.Join(dir, restoringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("note that the restore is over: %w", err)
	}
	return nil
}

// interrupted is the number of voters of a restore that did not end, 0 if there
// was none.
func interrupted(dir string) (voters int, err error) {
	path := filepath.Join(dir, restoringFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("was a restore interrupted: %w", err)
	}
	voters, err = strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || voters < 1 {
		return 0, fmt.Errorf("was a restore interrupted: %s should hold a number of voters and holds %.20q", path, content)
	}
	return voters, nil
}

// checkRestored refuses a log that a restore may have set apart from the
// others'. The log of an only voter is the truth, however far the restore got.
func checkRestored(dir string, s Stores) error {
	voters, err := interrupted(dir)
	if err != nil || voters == 0 {
		return err
	}
	if voters > 1 {
		has, err := raft.HasExistingState(s.Log, s.Stable, s.Snapshots)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if has {
			return fmt.Errorf("%s: %w", dir, ErrDiverged)
		}
	}
	return removeRestoring(dir)
}
