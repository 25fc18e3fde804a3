package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/node/api"
)

func TestCountBlocks(t *testing.T) {
	row := func(status api.CoverageStatus, from, to uint64) api.CoverageRow {
		return api.CoverageRow{Status: status, FromHeight: from, ToHeight: to}
	}
	for _, tc := range []struct {
		name string
		rows []api.CoverageRow
		want judgedBlocks
	}{
		{"nothing", nil, judgedBlocks{}},
		{"one announcement confirms nothing", []api.CoverageRow{row(api.Judged, 5, 5)}, judgedBlocks{judged: 0, height: 5}},
		{"in a row", []api.CoverageRow{row(api.Judged, 5, 14)}, judgedBlocks{judged: 9, height: 14}},
		{"two versions", []api.CoverageRow{row(api.Judged, 5, 9), row(api.Judged, 10, 14)}, judgedBlocks{judged: 9, height: 14}},
		{"a gap", []api.CoverageRow{row(api.Judged, 5, 9), row(api.Judged, 12, 14)}, judgedBlocks{judged: 6, skipped: 2, height: 14}},
		{"left out", []api.CoverageRow{row(api.Judged, 5, 9), row(api.Skipped, 10, 12), row(api.Judged, 13, 14)}, judgedBlocks{judged: 5, skipped: 3, height: 14}},
		{"behind", []api.CoverageRow{row(api.Judged, 5, 9), row(api.Pending, 10, 12)}, judgedBlocks{judged: 4, height: 9}},
		{
			"a reorganisation",
			[]api.CoverageRow{row(api.Judged, 5, 9), row(api.RolledBack, 7, 7), row(api.Judged, 8, 10)},
			judgedBlocks{judged: 6, height: 10}, // 5 to 8, then 8 and 9 of the new branch
		},
		{"rolled back, and no more", []api.CoverageRow{row(api.Judged, 5, 9), row(api.RolledBack, 7, 7)}, judgedBlocks{judged: 4, height: 7}},
		{
			"superseded",
			[]api.CoverageRow{row(api.Judged, 5, 7), row(api.Superseded, 8, 9), row(api.RolledBack, 6, 6), row(api.Judged, 7, 10)},
			judgedBlocks{judged: 5, height: 10}, // 5, 6, then 7 to 9 of the new branch
		},
		{
			"a gap behind a reorganisation",
			[]api.CoverageRow{row(api.Judged, 5, 9), row(api.RolledBack, 7, 7), row(api.Judged, 9, 10)},
			judgedBlocks{judged: 5, skipped: 1, height: 10},
		},
		{
			"a roll-back that is pending",
			[]api.CoverageRow{row(api.Judged, 5, 9), row(api.Pending, 7, 7), row(api.Pending, 8, 11)},
			judgedBlocks{judged: 4, height: 9},
		},
	} {
		if diff := cmp.Diff(tc.want, countBlocks(tc.rows), cmp.AllowUnexported(judgedBlocks{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestPercentile(t *testing.T) {
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for p, want := range map[int]time.Duration{0: 1, 1: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("p%d of 1 to 100: %d, want %d", p, got, want)
		}
	}
	for p, want := range map[int]time.Duration{50: 2, 99: 3} {
		if got := percentile([]time.Duration{1, 2, 3}, p); got != want {
			t.Errorf("p%d of 1, 2, 3: %d, want %d", p, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, p := rapid.IntRange(1, 300).Draw(t, "n"), rapid.IntRange(0, 100).Draw(t, "p")
		sorted := make([]time.Duration, n)
		for i := range sorted {
			sorted[i] = time.Duration(i + 1)
		}
		// At least p percent are as small, and with one rank less they would not be.
		got := int(percentile(sorted, p))
		if 100*got < p*n || got > 1 && 100*(got-1) >= p*n {
			t.Fatalf("p%d of %d is rank %d", p, n, got)
		}
	})
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 ms", 1234 * time.Microsecond: "1.2 ms", 9940 * time.Microsecond: "9.9 ms", 9960 * time.Microsecond: "10 ms",
		12345 * time.Microsecond: "12 ms", 3 * time.Second: "3000 ms",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestDemoResult(t *testing.T) {
	ms := time.Millisecond
	good := func() *demoResult {
		return &demoResult{
			count: receiverCount{alerts: 14, repeated: 1}, blocks: judgedBlocks{judged: 20, height: 21},
			latencies: []time.Duration{30 * ms, 2 * ms, 4 * ms},
		}
	}
	for _, tc := range []struct {
		name     string
		change   func(r *demoResult)
		line     string
		problems string // of a demo that ran for its time
		lies     string // of one that was interrupted
	}{
		{
			name: "all is well", change: func(*demoResult) {},
			line: "14 alerts received, signatures verified, 20 blocks judged, 0 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
		},
		{
			name: "one of each", change: func(r *demoResult) { r.count.alerts, r.blocks.judged = 1, 1 },
			line: "1 alert received, signatures verified, 1 block judged, 0 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
		},
		{
			name: "no alert", change: func(r *demoResult) { r.count.alerts, r.latencies = 0, nil },
			line:     "0 alerts received, signatures verified, 20 blocks judged, 0 blocks skipped, block-to-alert not measured",
			problems: "no alert was received",
		},
		{
			name: "nothing judged", change: func(r *demoResult) { r.blocks.judged = 0 },
			line:     "14 alerts received, signatures verified, 0 blocks judged, 0 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
			problems: "no block was judged",
		},
		{
			name: "behind", change: func(r *demoResult) { r.behind = errors.New("block 9 is not judged") },
			line:     "14 alerts received, signatures verified, 20 blocks judged, 0 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
			problems: "block 9 is not judged",
		},
		{
			name: "skipped", change: func(r *demoResult) { r.blocks.skipped = 2 },
			line:     "14 alerts received, signatures verified, 20 blocks judged, 2 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
			problems: "2 blocks skipped", lies: "2 blocks skipped",
		},
		{
			name: "forged", change: func(r *demoResult) { r.count.refused, r.refusals = 1, []error{errors.New("signature does not fit")} },
			line:     "14 alerts received, 1 REFUSED, 20 blocks judged, 0 blocks skipped, block-to-alert p50 4.0 ms p99 30 ms",
			problems: "1 request refused by the receiver", lies: "signature does not fit",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := good()
			tc.change(r)
			if got := r.String(); got != tc.line {
				t.Errorf("last line %q\nwant      %q", got, tc.line)
			}
			for kind, check := range map[string]struct {
				got  error
				want string
			}{"for its time": {r.problems().err(), tc.problems}, "interrupted": {r.lies().err(), tc.lies}} {
				switch {
				case check.want == "" && check.got != nil:
					t.Errorf("%s: failed with %v", kind, check.got)
				case check.want != "" && (check.got == nil || !strings.Contains(check.got.Error(), check.want)):
					t.Errorf("%s: %v, want %q", kind, check.got, check.want)
				}
			}
		})
	}
}
