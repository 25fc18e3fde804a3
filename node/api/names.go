package api

import "github.com/ozmo-dev/ozmo/fsm"

// What answers are made of, so that who reads them needs no other package.
type (
	// BlockRef names a block.
	BlockRef = fsm.BlockRef
	// CoverageRow is one line of Coverage.
	CoverageRow = fsm.CoverageRow
	// CoverageStatus is what became of a stretch of announcements.
	CoverageStatus = fsm.CoverageStatus
)

// The statuses of a CoverageRow.
const (
	Judged     = fsm.Judged
	Pending    = fsm.Pending
	Superseded = fsm.Superseded
	Skipped    = fsm.Skipped
	NotWanted  = fsm.NotWanted
	Behind     = fsm.Behind
	RolledBack = fsm.RolledBack
)

// ErrOutdated: the cluster uses something that only a newer version knows.
var ErrOutdated = fsm.ErrUnknownCommand
