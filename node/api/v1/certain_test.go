package v1

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// A key is good on a node that has not heard of it yet, and one that has gone meanwhile is
// refused all the same.
func TestKeyIsLookedForBeforeItIsRefused(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	text := newKeyText()
	r.behind = []fsm.Command{&fsm.PutKey{Key: fsm.Key{ID: text.id, Hash: text.hash(), Tenant: "acme", Role: fsm.RoleViewer, By: "test", At: 1}}}
	r.do(text.reveal(), "GET", "/v1/tenants/acme", "").want(200)
	r.do(newKeyText().reveal(), "GET", "/v1/tenants/acme", "").want(401)
}

// A node that has just begun, or finds no leader, knows too little to refuse a key: its
// bearer is to try again, and is not slowed down for it.
func TestKeyIsNotRefusedByWhoCannotTell(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	known, text := r.key("acme", fsm.RoleViewer), newKeyText()
	r.down = fmt.Errorf("%w: the leader is at 10.0.0.7", api.ErrUnavailable)
	for range 2 * maxFailures {
		got := r.do(text.reveal(), "GET", "/v1/tenants/acme", "").want(503, "cannot tell yet")
		if got.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
		if got.header.Get("WWW-Authenticate") != "" {
			t.Error("it says that another key is needed")
		}
	}
	if got := r.do(text.reveal(), "GET", "/v1/tenants/acme", "").plainly(); got != r.do(keyText{id: text.id, secret: newKeyText().secret}.reveal(), "GET", "/v1/tenants/acme", "").plainly() {
		t.Error(got)
	}
	r.do("ozmo_nonsense", "GET", "/v1/tenants/acme", "").want(401) // whatever is committed
	r.do(known, "GET", "/v1/tenants/acme", "").want(200)
	r.down = nil
	r.behind = []fsm.Command{&fsm.PutKey{Key: fsm.Key{ID: text.id, Hash: text.hash(), Tenant: "acme", Role: fsm.RoleViewer, By: "test", At: 1}}}
	r.do(text.reveal(), "GET", "/v1/tenants/acme", "").want(200)
}

// Whoever tries keys has the leader asked by a few at a time.
func TestFewAskForKeysAtATime(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	var all sync.WaitGroup
	for range cap(r.api.asking) {
		r.api.asking <- struct{}{}
	}
	for range 3 * certainAtOnce {
		all.Go(func() {
			r.do(newKeyText().reveal(), "GET", "/v1/tenants/acme", "").want(503)
		})
	}
	all.Wait()
	if len(r.api.asking) != certainAtOnce {
		t.Errorf("%d ask", len(r.api.asking))
	}
	for range certainAtOnce {
		<-r.api.asking
	}
	r.do(newKeyText().reveal(), "GET", "/v1/tenants/acme", "").want(401)
	if len(r.api.asking) != 0 {
		t.Error("a place is kept")
	}
}
