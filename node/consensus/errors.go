package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrNoLeader: no node leads the group now; the command was not proposed.
	ErrNoLeader = errors.New("no leader: try again")
	// ErrNotLeader: this node does not lead the group, or no more; nothing was
	// appended to the log.
	ErrNotLeader = errors.New("this node does not lead the group")
	// ErrUncertain: the command may or may not have been committed.
	ErrUncertain = errors.New("the outcome is unknown: leadership was lost on the way")
	// ErrGated: the leader holds this kind of command back; it was not proposed.
	ErrGated = errors.New("the cluster does not take this command now")
	// ErrBootstrapped: this node's log is not empty; a group begins only once.
	ErrBootstrapped = errors.New("this node already has a log: it belongs to a group")
	// ErrDiverged: Open found that a restore did not end on this node, whose
	// log may hold what the others' do not. Its data directory is of no more
	// use; the node comes back with an empty one, as a new server.
	ErrDiverged = errors.New("an interrupted restore left this node's log apart from the others'")
)

// notAppended reports whether an error says for certain that an entry did not
// reach the log, so that it may be proposed once more.
func notAppended(err error) bool {
	return errors.Is(err, ErrNotLeader) || errors.Is(err, ErrNoLeader)
}

// outcome translates what Raft says of an entry that was to be appended.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, errClosed):
		return ErrNoLeader
	default:
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
}
