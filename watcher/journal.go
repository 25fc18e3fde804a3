package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

var (
	// ErrFenced: the epoch is stale, another node holds the lease. Run ends.
	ErrFenced = errors.New("watcher: lease epoch is stale")

	// ErrConflict: the announcements do not follow the journal's tip, for
	// example because an earlier Announce took effect although it reported an
	// error. The watcher reads the head again and goes on from there.
	ErrConflict = errors.New("watcher: announcements do not follow the tip")
)

// Head is what the journal holds of a network.
type Head struct {
	Next uint64       // position the next announcement gets
	Tip  fsm.BlockRef // newest block of the current branch

	// Window is the current branch, oldest first and without gaps, ending with
	// Tip. It reaches back to First or as far as the finality depth.
	Window []fsm.BlockRef

	// First is the height of the oldest block of the unbroken run that Window
	// belongs to: the first block ever announced, or the first after the last
	// skip. It tells a young network, where everything may still be rolled
	// back, from a window that was cut at the finality depth.
	First uint64
}

// Kind says what an announcement does to the sequence.
type Kind uint8

// The kinds of announcements.
const (
	Extend   Kind = iota + 1 // Ref follows the tip
	Rollback                 // Ref becomes the tip again
	Skip                     // heights From to To are left out by configuration
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Extend:
		return "extend"
	case Rollback:
		return "rollback"
	case Skip:
		return "skip"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Announcement is one entry of a network's sequence.
type Announcement struct {
	Kind Kind

	// Ref is the block of an Extend, or the common ancestor of a Rollback: the
	// newest block that both branches have. When a reorganisation reaches below
	// the first block ever announced, it is the parent of the new branch's
	// block at that height, and nothing of the old branch remains.
	Ref    fsm.BlockRef
	Parent fsm.Hash  // Extend only
	Time   time.Time // Extend only: the block's time
	Seen   time.Time // when the head that led here became known

	From, To uint64 // Skip only: first and last height left out, inclusive
}

// Journal is the replicated sequence of announcements, as the watcher sees it.
type Journal interface {
	// Head is the state of a network; false when nothing was announced yet.
	Head(network string) (Head, bool)

	// Announce appends entries in order, all or none. It returns nil only when
	// they are part of the sequence and visible through Head; ErrFenced when
	// epoch is not that of the current lease; ErrConflict when an Extend's
	// parent is not the tip it follows (the first one ever, and one right after
	// a Skip, follow nothing), or a Rollback's target is not on the branch.
	// After any other error the outcome is unknown.
	Announce(ctx context.Context, network string, epoch uint64, entries []Announcement) error
}
