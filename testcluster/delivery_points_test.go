package testcluster

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

// script lets the chain live: blocks, transfers that come again and others that
// do not, and a branch that comes back. between is called after each step.
func (p *path) script(between func()) {
	p.t.Helper()
	nonce := uint64(0)
	transfer := func() []fakechain.Tx {
		nonce++
		var from fakechain.Address
		from[18], from[19] = byte(nonce>>8), byte(nonce)
		return []fakechain.Tx{fakechain.Transfer(from, fakechain.Address{1}, nonce)}
	}
	step := func() { p.follow(); between() }
	extend := func() { p.chain.ExtendWith(transfer()...); step() }
	step()
	extend()
	extend()
	old := p.chain.Head()
	p.chain.ReorgWith(2, transfer(), p.chain.At(old.Number-1).Txs) // one moved, one dropped
	step()
	extend()
	p.chain.Switch(old, transfer(), transfer()) // the first branch wins after all
	step()
	for range pathDepth + 1 {
		p.chain.ExtendWith()
		step()
	}
}

// playPath runs the script with a node that dies at a point, and one that goes on
// where it was, so many steps of the script later. It tells what the first node
// crossed, by kind.
func playPath(t *testing.T, fatal point, down int) (crossed map[string]int, died bool, errs []error, duplicates int) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		first := p.live(fatal)
		l := first
		revive := func() {
			<-time.After(300 * time.Millisecond)
			synctest.Wait()
			if l != first || !l.dead() {
				return
			}
			if down--; down < 0 {
				l.stop()
				l, died = p.live(point{}), true
			}
		}
		p.script(revive)
		for range 12 { // until the slowest schedule is over
			<-time.After(10 * time.Second)
			revive()
		}
		l.stop()
		errs, duplicates = p.check()
		crossed = first.crossings.times
	})
	return crossed, died, errs, duplicates
}

// TestDeliveryKilledBetweenSteps enumerates the points of the delivery path at
// which a process may die: before and after each command that it proposes, each
// request, and each hand-over to the outbox. It runs a script of blocks and
// reorganisations once to count them, and then once for each, killed there and
// started again at once, or after one or two further steps of the script. Nothing
// may be lost, and what comes twice has one key.
//
// OZMO_DELIVERY_STRIDE=N takes one point in N of each kind instead of one in eight;
// 1 takes them all.
func TestDeliveryKilledBetweenSteps(t *testing.T) {
	crossed, _, errs, duplicates := playPath(t, point{}, 0)
	for _, err := range errs {
		t.Error(err)
	}
	if duplicates > 0 {
		t.Errorf("%d duplicates though nobody died", duplicates)
	}
	if t.Failed() {
		return
	}
	stride := 8
	if text := os.Getenv("OZMO_DELIVERY_STRIDE"); text != "" {
		var err error
		if stride, err = strconv.Atoi(text); err != nil || stride < 1 {
			t.Fatalf("OZMO_DELIVERY_STRIDE=%q", text)
		}
	}
	all, kills, total := 0, 0, 0
	for _, kind := range slices.Sorted(maps.Keys(crossed)) {
		all += crossed[kind]
		killed, repeated := 0, 0
		for nth := 1; nth <= crossed[kind]; nth += stride {
			_, died, errs, duplicates := playPath(t, point{kind, nth}, nth%3)
			for _, err := range errs[:min(len(errs), 5)] {
				t.Errorf("killed %s, number %d: %v", kind, nth, err)
			}
			if died { // what is done side by side may take fewer steps the next time
				killed++
			}
			repeated += duplicates
		}
		t.Logf("%-40s crossed %3d times, killed there %3d times, %3d duplicates", kind, crossed[kind], killed, repeated)
		if killed == 0 {
			t.Errorf("nobody died %s", kind)
		}
		kills += killed
		total += repeated
	}
	lost := "0 lost"
	if t.Failed() {
		lost = "see the errors above"
	}
	fmt.Printf("delivery path: %d crossings of %d kinds of points, killed at %d of them: %s, %d duplicates, each with the same key\n",
		all, len(crossed), kills, lost, total)
}
