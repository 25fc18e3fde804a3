package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/fsm"
)

// mark is an entry that changes nothing but the state's index: a command type
// that no version ever has and every version may skip. It exists because a
// state that was restored from a backup carries the backup's index, while
// whoever waits for an index of this log must see it reached.
var mark = []byte{0xff}

// Restore makes a snapshot the state of every node: index and term are those of
// its origin, size its length in bytes. Leader only. The group keeps its
// configuration; the log goes on above both its own and the snapshot's last
// index, so that every epoch granted later is greater than any of before.
// Proposals under way end with ErrUncertain. A snapshot that cannot be read is
// refused before anything changes.
func (g *Group) Restore(ctx context.Context, index, term uint64, size int64, r io.Reader) error {
	if !g.isLeader() {
		return fmt.Errorf("restore: %w", ErrNotLeader)
	}
	checked := newCheckedReader(r)
	defer checked.Close()
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Term: term, Size: size}
	_, err := await(ctx, g.pending, func() raft.Future {
		return finished{g.raft.Restore(meta, checked, 0)}
	})
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return fmt.Errorf("restore: %w", ErrNotLeader)
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	}
	if _, _, err := g.appendUngated(ctx, mark); err != nil {
		return fmt.Errorf("restore: the snapshot is installed, but what follows is not committed: %w", err)
	}
	return nil
}

type finished struct{ err error }

// Error is the outcome.
func (f finished) Error() error { return f.err }

// checkedReader passes a snapshot on and reads it at the same time: what is no
// snapshot ends in an error instead of io.EOF. Raft would find out only after
// it has thrown its state away, and panic.
type checkedReader struct {
	from    io.Reader
	copy    *io.PipeWriter
	verdict chan error
	end     error
}

func newCheckedReader(r io.Reader) *checkedReader {
	pr, pw := io.Pipe()
	c := &checkedReader{from: r, copy: pw, verdict: make(chan error, 1)}
	go func() {
		_, err := fsm.ReadSnapshot(pr)
		if err == nil {
			_, err = io.Copy(io.Discard, pr)
		}
		pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		c.verdict <- err
	}()
	return c
}

// Read reads on.
func (c *checkedReader) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	n, err := c.from.Read(p)
	if n > 0 {
		if _, bad := c.copy.Write(p[:n]); bad != nil {
			c.end = fmt.Errorf("this is no readable snapshot: %w", bad)
			return 0, c.end
		}
	}
	if errors.Is(err, io.EOF) {
		_ = c.copy.Close()
		if bad := <-c.verdict; bad != nil {
			err = fmt.Errorf("this is no readable snapshot: %w", bad)
		}
	}
	c.end = err
	return n, err
}

// Close ends the reading along.
func (c *checkedReader) Close() error { return c.copy.CloseWithError(io.ErrUnexpectedEOF) }
