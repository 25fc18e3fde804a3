package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// A tenant that is deleted and comes back at once, with a network of its own of
// the same name, is judged from that network's first announcement.
func TestNetworkBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		doc := simple()
		doc.networks = map[string]*spec.Network{"net": networkDoc("net", 1)}
		r.setTenant("acme", doc)
		p := r.start(-1)
		r.extend("acme/net", 6)
		r.drained("acme/net")
		r.wantHeights("acme", "m", span(100, 104)...)

		r.deleteTenant("acme")
		r.setTenant("acme", doc)
		again := r.chain("acme/net")
		again.branch, again.salt = nil, again.salt+1
		r.extend("acme/net", 3)
		r.drained("acme/net")
		if got := r.cursor("acme/net"); got != 3 {
			t.Errorf("the cursor is at %d, want 3", got)
		}
		r.wantHeights("acme", "m", 100, 100, 101, 101, 102, 103, 104)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if got := p.metric("ozmo_worker_restarts_total"); got != 0 {
			t.Errorf("judging failed %v times", got)
		}
	})
}

// So it is when a worker waits for a block of the earlier network all the while.
func TestNetworkBeginsAnewWhileJudging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		doc := simple()
		doc.networks = map[string]*spec.Network{"net": networkDoc("net", 1)}
		r.setTenant("acme", doc)
		p := r.start(-1)
		r.extend("acme/net", 2)
		held := r.nextBlock("acme/net")
		r.hide(r.chain("acme/net").branch[1].Hash)
		r.announce("acme/net", held)
		pass(time.Minute)

		r.deleteTenant("acme")
		r.setTenant("acme", doc)
		again := r.chain("acme/net")
		again.branch, again.salt = nil, again.salt+1
		r.extend("acme/net", 8)
		r.found()
		r.drained("acme/net")
		r.wantHeights("acme", "m", 100, 100, 101, 102, 103, 104, 105, 106)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
