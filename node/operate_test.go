package node

import (
	"errors"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// What one operator says of a tenant does not undo what another has said since.
func TestPlacementsDoNotUndoEachOther(t *testing.T) {
	s := stateWith(t,
		&fsm.RegisterNode{Name: "b", Server: "b@1", Roles: fsm.AllRoles},
		&fsm.SetTenantVersion{Tenant: "acme"},
	)
	index := s.View().Index()
	apply := func(c fsm.Command) error {
		t.Helper()
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		_, err = s.Apply(index, entry)
		return err
	}
	place := func(p api.Placement) *fsm.SetPlacement {
		t.Helper()
		p.Tenant = "acme"
		c, err := placement(s.View(), p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pin, weight := "b", uint32(7)
	first, second := place(api.Placement{Pin: &pin}), place(api.Placement{Weight: &weight})
	if err := apply(first); err != nil {
		t.Fatal(err)
	}
	if err := apply(second); !errors.Is(err, fsm.ErrConflict) {
		t.Fatalf("made before the first was there: %v", err)
	}
	if err := apply(place(api.Placement{Weight: &weight})); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.View().Tenant("acme"); got.Pin != "b" || got.Weight != 7 {
		t.Errorf("pinned to %q with weight %d, want both changes", got.Pin, got.Weight)
	}
	unknown := "nowhere"
	for _, p := range []api.Placement{{Tenant: "none"}, {Tenant: fsm.Shared}, {Tenant: "acme", Pin: &unknown}} {
		if _, err := placement(s.View(), p); !errors.Is(err, fsm.ErrNotFound) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// A node whose answer was lost asks with the same request; with another token it
// makes another one.
func TestRequestIsMadeOnceForAToken(t *testing.T) {
	n := &Node{}
	n.opts.Name = "b"
	token := pki.NewToken([32]byte{1})
	first, err := n.requestFor(token)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.requestFor(token)
	if err != nil || again.key != first.key {
		t.Errorf("another key for the same token, %v", err)
	}
	if first.requestHash() != again.requestHash() || first.requestHash().IsZero() {
		t.Errorf("requests %v and %v", first.requestHash(), again.requestHash())
	}
	other, err := n.requestFor(pki.NewToken([32]byte{1}))
	if err != nil || other.key == first.key {
		t.Errorf("the same key for another token, %v", err)
	}
	// Also a node that asks for no certificate may ask again, and nobody else.
	for _, o := range []Options{{Name: "b", Insecure: true}, {Name: "b", TLSCert: "b.pem"}} {
		n, twin := &Node{opts: o}, &Node{opts: o}
		first, err := n.requestFor(token)
		if err != nil || first.key != nil || first.Request != nil {
			t.Fatalf("%+v asks for a certificate, %v", o, err)
		}
		again, err := n.requestFor(token)
		if err != nil || again.requestHash() != first.requestHash() || first.requestHash().IsZero() {
			t.Errorf("requests %v and %v, %v", first.requestHash(), again.requestHash(), err)
		}
		if other, err := twin.requestFor(token); err != nil || other.requestHash() == first.requestHash() {
			t.Errorf("the request of another process is the same, %v", err)
		}
	}
	if none := (enrolment{}).requestHash(); !none.IsZero() {
		t.Errorf("no request hashes to %v", none)
	}
}
