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
// refused before anything changes. Once it is installed here, the others must
// get it too: if that fails, this node cannot go on (Options.Fatal). What has
// begun goes on after ctx ends.
func (g *Group) Restore(ctx context.Context, index, term uint64, size int64, r io.Reader) error {
	if !g.isLeader() {
		return fmt.Errorf("restore: %w", ErrNotLeader)
	}
	install := &installation{store: g.store, voters: g.voters}
	checked := newCheckedReader(r, size, install.begin)
	defer checked.Close()
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Term: term, Size: size}
	_, err := await(ctx, g.pending, func() raft.Future {
		return finished{g.restore(meta, checked, install)}
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// installation is the part of a restore that cannot be undone: Raft has read
// the whole snapshot and installs it here, before anybody else has it.
type installation struct {
	store  *store
	voters func() int
	among  int // voters when it began; 0: it has not begun
}

// begin is called when the snapshot was read and nothing has changed yet.
func (i *installation) begin() error {
	voters := i.voters()
	if err := i.store.beginRestore(voters); err != nil {
		return err
	}
	i.among = voters
	return nil
}

func (g *Group) voters() int {
	n := 0
	for _, p := range peersOf(g.raft.GetConfiguration().Configuration()) {
		if p.Voter {
			n++
		}
	}
	return n
}

func (g *Group) restore(meta *raft.SnapshotMeta, from io.Reader, install *installation) error {
	err := g.raft.Restore(meta, from, 0)
	if install.among == 0 {
		if errors.Is(err, raft.ErrNotLeader) {
			err = ErrNotLeader
		}
		return errors.Join(err, g.store.endRestore())
	}
	if err == nil {
		_, _, err = g.appendUngated(context.Background(), mark, func() {})
	}
	if err != nil && install.among > 1 {
		err = fmt.Errorf("the snapshot is installed here, and it is not known whether the others have it: %w (this node's log may be apart from theirs; it needs an empty data directory)", err)
		g.fatal(fmt.Errorf("restore: %w", err))
		return err
	}
	if err != nil {
		err = fmt.Errorf("the snapshot is installed, but what follows is not committed: %w", err)
	}
	if end := g.store.endRestore(); end != nil {
		// The next start would throw a good log away.
		g.fatal(fmt.Errorf("restore: %w", end))
		err = errors.Join(err, end)
	}
	return err
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
	size    int64        // of the whole
	whole   func() error // called when it was read, before the end is told
}

func newCheckedReader(r io.Reader, size int64, whole func() error) *checkedReader {
	pr, pw := io.Pipe()
	c := &checkedReader{from: r, copy: pw, verdict: make(chan error, 1), size: size, whole: whole}
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
		c.size -= int64(n)
		if _, bad := c.copy.Write(p[:n]); bad != nil {
			c.end = fmt.Errorf("this is no readable snapshot: %w", bad)
			return 0, c.end
		}
	}
	if errors.Is(err, io.EOF) {
		_ = c.copy.Close()
		switch bad := <-c.verdict; {
		case bad != nil:
			err = fmt.Errorf("this is no readable snapshot: %w", bad)
		case c.size != 0:
			err = errors.New("this is no readable snapshot: its size is not the one that was announced")
		default:
			if bad := c.whole(); bad != nil {
				err = bad
			}
		}
	}
	c.end = err
	return n, err
}

// Close ends the reading along.
func (c *checkedReader) Close() error { return c.copy.CloseWithError(io.ErrUnexpectedEOF) }
