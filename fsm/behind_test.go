package fsm

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// lateState has two tenants on a network: one judged apart, which has judged position
// 1 of 4, and one that has judged all.
func lateState(t *testing.T) *applier {
	s := newApplier(t)
	s.must(&RegisterNode{Name: "n1", Server: "n1@1", Roles: AllRoles})
	wants := Manifest{Docs: []Doc{}, Wanted: []string{"net"}}
	s.must(&SetTenantVersion{Tenant: "acme", Manifest: wants})
	s.must(&SetTenantVersion{Tenant: "slow", Manifest: wants})
	s.must(&Move{Moves: []Moved{{Tenant: "acme", To: "n1", Reason: ReasonInitial}, {Tenant: "slow", To: "n1", Reason: ReasonLaggard}}})
	s.must(&GrantLease{Network: "net", Holder: "n1", Window: 8})
	s.announce(4)
	s.judge("acme", 4)
	s.judge("slow", 1)
	return s
}

type applier struct {
	*State
	t     *testing.T
	index uint64
	top   uint64
}

func newApplier(t *testing.T) *applier { return &applier{State: New(), t: t, top: 99} }

func (s *applier) apply(c Command) (any, error) {
	s.index++
	return s.Apply(s.index, mustEncode(s.t, c))
}

func (s *applier) must(c Command) any {
	s.t.Helper()
	out, err := s.apply(c)
	if err != nil {
		s.t.Fatalf("%#v: %v", c, err)
	}
	return out
}

func (s *applier) tenant(id string) *Tenant {
	tenant, ok := s.View().Tenant(id)
	if !ok {
		s.t.Fatal("no tenant", id)
	}
	return tenant
}

func (s *applier) announce(blocks int) {
	n, _ := s.View().Network("net")
	c := &Announce{Network: "net", Epoch: n.Lease.Epoch}
	for range blocks {
		s.top++
		c.Entries = append(c.Entries, Entry{Kind: Extend, Ref: ref(s.top, "a"), Parent: ref(s.top-1, "a").Hash})
	}
	s.must(c)
}

func (s *applier) judge(tenant string, to uint64) {
	c, _ := s.View().Cohort(s.tenant(tenant).Cohort)
	s.must(&Progress{Cohort: c.ID, Epoch: c.Epoch, Network: "net", To: to})
}

func (s *applier) slow(tenant string) bool {
	only, ok := s.View().SlowTenant(s.tenant(tenant).Cohort)
	return ok && only.ID == tenant
}

func TestPassOver(t *testing.T) {
	s := lateState(t)
	pass := &PassOver{Tenant: "slow", Born: s.tenant("slow").Born, Network: "net", Least: 3, At: 7}
	if got := s.must(pass); got != uint64(3) {
		t.Errorf("%v announcements left out, want 3", got)
	}
	s.announce(2)
	want := []CoverageRow{
		{FromPosition: 1, ToPosition: 1, FromHeight: 100, ToHeight: 100, Status: Judged, Version: 1},
		{FromPosition: 2, ToPosition: 4, FromHeight: 101, ToHeight: 103, Status: Behind, Version: 1},
		{FromPosition: 5, ToPosition: 6, FromHeight: 104, ToHeight: 105, Status: Pending, Version: 1},
	}
	if got := s.View().Coverage(s.tenant("slow"), "net", 0, 0); !slices.Equal(got, want) {
		t.Errorf("coverage %+v, want %+v", got, want)
	}
	if c, _ := s.View().Cursor("net", s.tenant("slow").Cohort); c.Position != 1 {
		t.Errorf("the cursor is at %d: roll-backs that it has not come to are not met", c.Position)
	}
	for a := range s.View().AuditOf("slow") {
		if a.Actor != PassedOver || a.At != 7 || a.Object != "net" || !strings.Contains(a.After, "blocks 101 to 103, positions 2 to 4") {
			t.Errorf("audit log: %+v", a)
		}
	}
	if n := len(slices.Collect(s.View().AuditOf("slow"))); n != 1 {
		t.Errorf("%d entries in the audit log", n)
	}
	// The others have nothing left out, and when the tenant has passed over it, it may
	// join them again.
	if got := s.View().Coverage(s.tenant("acme"), "net", 0, 103); len(got) != 1 || got[0].Status != Judged {
		t.Errorf("another tenant's coverage: %+v", got)
	}
	s.judge("slow", 6)
	s.judge("acme", 6)
	if !s.View().CanMerge(s.tenant("slow").Cohort, s.tenant("acme").Cohort) {
		t.Error("it cannot join the others")
	}
	if got := s.View().Coverage(s.tenant("slow"), "net", 101, 104); len(got) != 2 || got[0].Status != Behind || got[1].Status != Judged {
		t.Errorf("coverage after that: %+v", got)
	}
}

// It is refused once there is no reason for it.
func TestPassOverRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(s *applier, c *PassOver)
		want   error
	}{
		"it has caught up a little": {func(s *applier, _ *PassOver) { s.judge("slow", 2) }, ErrConflict},
		"it is passing over that": {func(s *applier, c *PassOver) {
			s.must(c)
			s.announce(2)
		}, ErrConflict},
		"nobody else wants the network": {func(s *applier, _ *PassOver) {
			s.must(&SetTenantVersion{Tenant: "acme", Expect: 1, Manifest: Manifest{Docs: []Doc{}}})
		}, ErrConflict},
		"it is judged with others": {func(s *applier, c *PassOver) {
			c.Tenant, c.Born, c.Least = "acme", s.tenant("acme").Born, 1
			s.announce(1)
		}, ErrConflict},
		"it is another tenant": {func(_ *applier, c *PassOver) { c.Born++ }, ErrNotFound},
		"it was deleted": {func(s *applier, _ *PassOver) {
			s.must(&DeleteTenant{Tenant: "slow", Expect: 1})
		}, ErrNotFound},
		"it never wanted the network": {func(_ *applier, c *PassOver) { c.Network = "other" }, ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			s := lateState(t)
			c := &PassOver{Tenant: "slow", Born: s.tenant("slow").Born, Network: "net", Least: 3}
			tt.before(s, c)
			if _, err := s.apply(c); !errors.Is(err, tt.want) {
				t.Errorf("answered %v, want %v", err, tt.want)
			}
		})
	}
}

// One that wants the network no more still delays those who do.
func TestPassOverWhileDraining(t *testing.T) {
	s := lateState(t)
	s.must(&SetTenantVersion{Tenant: "slow", Expect: 1, Manifest: Manifest{Docs: []Doc{}}})
	s.announce(2)
	if owed, delays := s.View().Delays(s.tenant("slow"), "net"); owed != 3 || !delays {
		t.Errorf("owes %d, delays others: %v; want 3, true", owed, delays)
	}
	s.must(&PassOver{Tenant: "slow", Born: s.tenant("slow").Born, Network: "net", Least: 3})
	s.judge("slow", 4)
	if c, _ := s.View().Cursor("net", s.tenant("slow").Cohort); !c.Parked() {
		t.Errorf("cursor %+v is not parked", c)
	}
}

// A slow tenant is none the faster on another node: nobody waits for it there, either.
func TestLaggardStaysOneThroughMoves(t *testing.T) {
	for _, force := range []bool{false, true} {
		s := lateState(t)
		s.must(&RegisterNode{Name: "n2", Server: "n2@1", Roles: AllRoles})
		s.must(&Move{Force: force, Moves: []Moved{
			{Tenant: "slow", Cohort: s.tenant("slow").Cohort, To: "n2", Reason: ReasonManual},
			{Tenant: "acme", Cohort: s.tenant("acme").Cohort, To: "n2", Reason: ReasonManual},
		}})
		if !s.slow("slow") || s.tenant("slow").Assigned.Reason != ReasonManual {
			t.Errorf("forced %v: not a laggard's cohort any more, moved for %v", force, s.tenant("slow").Assigned.Reason)
		}
		if s.slow("acme") {
			t.Errorf("forced %v: so is one that was not slow", force)
		}
		if c, _ := s.View().Cohort(s.tenant("slow").Cohort); !force {
			s.must(&Release{Cohort: c.ID, Epoch: c.Epoch})
			if !s.slow("slow") {
				t.Error("not slow any more once it was released")
			}
		}
	}
}
