package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

func TestDemoClusterFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--nodes 0":                  "--nodes 0 must be 1 to 9",
		"--nodes 10":                 "--nodes 10 must be 1 to 9",
		"--nodes 2 --kill-watcher":   "needs --nodes 3 or more",
		"--redis":                    "--redis is for several nodes",
		"--kill-watcher --nodes one": "--nodes",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"demo"}, strings.Fields(args)...), nil, &out, &errs); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", args, code, exitUsage)
		}
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%s: says %q, want %q", args, errs.String(), want)
		}
	}
}

func TestClusterResult(t *testing.T) {
	good := clusterResult{
		count: receiverCount{alerts: 5, repeated: 2}, blocks: judgedBlocks{judged: 9}, expected: 5, moved: 3, calls: 2, killed: true, gap: 1234 * time.Millisecond,
	}
	if err := good.problems().err(); err != nil {
		t.Errorf("a good run: %v", err)
	}
	for _, want := range []string{"5 alerts received", "0 of 5 alerts lost", "killed: 1234 ms", "tenants moved: 3", "announced block: 2.00", "duplicates (same key): 2"} {
		if !strings.Contains(good.String(), want) {
			t.Errorf("%q misses %q", good.String(), want)
		}
	}
	for name, spoil := range map[string]func(*clusterResult){
		"lost":        func(r *clusterResult) { r.lost = []api.Fired{{Monitor: "m", Tx: "0x1"}} },
		"skipped":     func(r *clusterResult) { r.blocks.skipped = 1 },
		"refused":     func(r *clusterResult) { r.count.refused = 1 },
		"behind":      func(r *clusterResult) { r.behind = errors.New("late") },
		"not proved":  func(r *clusterResult) { r.unproved = []string{"blocks 1 to 2"} },
		"no alert":    func(r *clusterResult) { r.count.alerts = 0 },
		"nothing was": func(r *clusterResult) { r.blocks.judged = 0 },
	} {
		bad := good
		spoil(&bad)
		if bad.problems().err() == nil {
			t.Errorf("%s: counts as a success", name)
		}
	}
}

func TestGapMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newHeadLog()
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for n := uint64(1); ctx.Err() == nil; n++ {
				log.add(head{number: n, at: time.Now()})
				select {
				case <-ctx.Done():
				case <-time.After(250 * time.Millisecond):
				}
			}
		}()
		g := gapMeter{killed: began.Add(-time.Millisecond)}
		// Nothing is announced for a second; then everything is, at once.
		err := g.measure(t.Context(), log, func(context.Context) (uint64, error) {
			if time.Since(began) < time.Second {
				return 0, nil
			}
			tip, _ := log.tip()
			return tip.number, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if g.longest < 990*time.Millisecond || g.longest > 1020*time.Millisecond {
			t.Errorf("the longest gap is %v, want about 1 s", g.longest)
		}
		g = gapMeter{killed: time.Now()}
		if err := g.measure(t.Context(), log, func(context.Context) (uint64, error) { return 0, nil }); err == nil {
			t.Error("nobody took over, and no error says so")
		}
	})
}
