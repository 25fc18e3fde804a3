package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// judgedBlocks is what coverage tells of a network whose blocks are judged one
// block after they were announced.
type judgedBlocks struct {
	judged  uint64
	skipped uint64
	height  uint64 // up to here everything announced is judged, or says why not
}

// countBlocks reads coverage. Every stretch must begin where the one before it
// ends: what lies between was skipped, whatever the reason. The first block of
// a branch is only announced: it confirms a block from before the node began,
// or the one that the branches share, which is judged already.
func countBlocks(rows []api.CoverageRow) judgedBlocks {
	var out judgedBlocks
	var next uint64 // height expected; 0: any
	branch := true  // a branch begins
	pending := false
	for _, r := range rows {
		if next != 0 && r.FromHeight > next {
			out.skipped += r.FromHeight - next
			branch = true
		}
		next = r.ToHeight + 1
		switch r.Status {
		case api.RolledBack:
			branch = true
		case api.Skipped:
			out.skipped += r.ToHeight - r.FromHeight + 1
			branch = true
		case api.Judged:
			out.judged += r.ToHeight - r.FromHeight + 1
			if branch {
				out.judged--
			}
			branch = false
		case api.Pending:
			pending = true
		default:
			branch = false
		}
		if !pending {
			out.height = r.ToHeight
		}
	}
	return out
}

// demoResult is what a demo has shown.
type demoResult struct {
	count     receiverCount
	refusals  []error
	blocks    judgedBlocks
	behind    error           // what was available and is not judged
	latencies []time.Duration // block-to-alert
}

// String is the demo's last line.
func (r *demoResult) String() string {
	signatures := "signatures verified"
	if r.count.refused > 0 {
		signatures = strconv.Itoa(r.count.refused) + " REFUSED"
	}
	took := "block-to-alert not measured"
	if len(r.latencies) > 0 {
		sorted := slices.Sorted(slices.Values(r.latencies))
		took = fmt.Sprintf("block-to-alert p50 %s p99 %s", milliseconds(percentile(sorted, 50)), milliseconds(percentile(sorted, 99)))
	}
	return strings.Join([]string{
		count(r.count.alerts, "alert") + " received", signatures,
		count(r.blocks.judged, "block") + " judged", count(r.blocks.skipped, "block") + " skipped", took,
	}, ", ")
}

// problems are the reasons why a demo that ran for its time has failed.
func (r *demoResult) problems() mistakes {
	wrong := r.lies()
	if r.count.alerts == 0 {
		wrong.addf("no alert was received")
	}
	if r.blocks.judged == 0 {
		wrong.addf("no block was judged")
	}
	if r.behind != nil {
		wrong.addf("%v", r.behind)
	}
	return wrong
}

// lies are the reasons why any demo has failed, however soon it was ended.
func (r *demoResult) lies() mistakes {
	var wrong mistakes
	if r.count.refused > 0 {
		wrong.addf("%s refused by the receiver:", count(r.count.refused, "request"))
		for _, err := range r.refusals {
			wrong.addf("  %v", err)
		}
	}
	if r.blocks.skipped > 0 {
		wrong.addf("%s skipped: see `ozmo coverage show`", count(r.blocks.skipped, "block"))
	}
	return wrong
}

// percentile is the nearest-rank percentile of sorted durations.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (p*len(sorted) + 99) / 100 // rounded up
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// milliseconds has a decimal only where it tells something.
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	decimals := 0
	if ms < 9.95 {
		decimals = 1
	}
	return strconv.FormatFloat(ms, 'f', decimals, 64) + " ms"
}
