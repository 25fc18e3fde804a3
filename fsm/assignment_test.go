package fsm

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// moving is a cluster of nodes a, b and c with a network "base" that begins.
func moving(t *testing.T) *pausing {
	p := &pausing{T: t, State: New(), gone: map[changeRecord]bool{}}
	for _, name := range []string{"a", "b", "c"} {
		p.do(&RegisterNode{Name: name, Server: name + "@1", Roles: AllRoles})
	}
	return p
}

// fresh creates tenants that want "base".
func (p *pausing) fresh(ids ...string) {
	for _, id := range ids {
		p.do(&SetTenantVersion{Tenant: id, Manifest: Manifest{Wanted: []string{"base"}}})
	}
}

// items names tenants where they are now.
func (p *pausing) items(to string, reason Reason, ids ...string) []Moved {
	var out []Moved
	for _, id := range ids {
		out = append(out, Moved{Tenant: id, Cohort: p.tenant(id).Cohort, To: to, Reason: reason})
	}
	return out
}

func (p *pausing) move(to string, reason Reason, ids ...string) int {
	p.Helper()
	return p.do(&Move{Moves: p.items(to, reason, ids...), At: int64(p.index)}).(int)
}

func (p *pausing) refused(c Command, want error) {
	p.Helper()
	p.index++
	before := p.View()
	if _, err := p.Apply(p.index, mustEncode(p, c)); !errors.Is(err, want) {
		p.Fatalf("%#v: %v, want %v", c, err, want)
	}
	if bodyOf(p, before) == nil || !slices.Equal(bodyOf(p, before), bodyOf(p, p.View())) {
		p.Fatalf("%#v was refused and changed the state", c)
	}
}

// in checks where tenants are, and who judges them.
func (p *pausing) in(cohort, owner string, ids ...string) {
	p.Helper()
	for _, id := range ids {
		t := p.tenant(id)
		if got := p.View().Owner(t); t.Cohort != cohort || got != owner {
			p.Fatalf("tenant %q is in %q, judged by %q; want %q, %q", id, t.Cohort, got, cohort, owner)
		}
	}
}

func (p *pausing) cursorAt(cohort string, position uint64, tenants, members int) {
	p.Helper()
	c, ok := p.View().Cursor("base", cohort)
	if !ok || c.Position != position || c.Tenants != tenants || c.Members != members {
		p.Fatalf("cursor of %q: %+v, want position %d, %d of %d tenants", cohort, c, position, tenants, members)
	}
}

func (p *pausing) epochOf(cohort string) uint64 {
	c, ok := p.View().Cohort(cohort)
	if !ok {
		p.Fatalf("there is no cohort %q", cohort)
	}
	return c.Epoch
}

func (p *pausing) judge(cohort string, to uint64) {
	p.Helper()
	p.do(&Progress{Cohort: cohort, Epoch: p.epochOf(cohort), Network: "base", To: to})
}

// A new tenant is owed everything from its creation on, though nobody judges it
// before it is assigned.
func TestUnassigned(t *testing.T) {
	p := moving(t)
	p.fresh("acme")
	p.in("", "", "acme")
	p.announce("base", 3)
	p.cursorAt("", 0, 1, 1)
	p.refused(&Progress{Network: "base", To: 1}, ErrStaleEpoch)
	if n := p.move("a", ReasonInitial, "acme"); n != 1 {
		t.Fatalf("%d moved", n)
	}
	id := fmt.Sprintf("@%d.0", p.index)
	p.in(id, "a", "acme")
	if got, want := p.tenant("acme").Assigned, (Assignment{p.index, 1, ReasonInitial, int64(p.index) - 1}); got != want {
		t.Errorf("assignment %+v, want %+v", got, want)
	}
	if c, _ := p.View().Cohort(id); *c != (Cohort{ID: id, Node: "a", Epoch: p.index, Reason: ReasonInitial}) {
		t.Errorf("cohort %+v", c)
	}
	if _, ok := p.View().Cursor("base", ""); ok {
		t.Error("the cursor of those never assigned stays, without a tenant")
	}
	p.cursorAt(id, 0, 1, 1)
	if rows := p.View().Coverage(p.tenant("acme"), "base", 0, 0); len(rows) != 1 || rows[0].Status != Pending || rows[0].ToPosition != 3 {
		t.Errorf("coverage %+v", rows)
	}
	p.judge(id, 3)
	p.do(&DeleteTenant{Tenant: "acme", Expect: 1})
	p.fresh("bolt")
	p.remove("bolt") // while it is unassigned
	p.retired("base", true)
}

// What moves between two nodes is handed over: nobody judges it until its node
// lets go.
func TestHandOver(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt", "corp")
	p.move("a", ReasonInitial, "acme", "bolt", "corp")
	main := p.tenant("acme").Cohort
	p.announce("base", 10)
	p.do(&Progress{Cohort: main, Epoch: p.epochOf(main), Network: "base", To: 4, Superseded: []Span{{2, 3}}})
	before := p.View()
	if n := p.move("b", ReasonLoadRebalance, "bolt", "corp"); n != 2 {
		t.Fatalf("%d moved", n)
	}
	handed := p.tenant("bolt").Cohort
	p.in(handed, "", "bolt", "corp")
	p.in(main, "a", "acme")
	want := Cohort{ID: handed, Node: "a", To: "b", From: main, Epoch: p.index, Reason: ReasonLoadRebalance}
	if c, _ := p.View().Cohort(handed); *c != want {
		t.Errorf("cohort %+v, want %+v", c, want)
	}
	p.cursorAt(main, 4, 1, 1)
	p.cursorAt(handed, 4, 2, 2)
	if c, _ := p.View().Cursor("base", handed); !slices.Equal(c.Superseded, []Span{{2, 3}}) || c.Born != p.index {
		t.Errorf("cursor %+v", c)
	}
	if got := slices.Sorted(p.View().TenantsSince(before.Index())); !slices.Equal(got, []string{"bolt", "corp"}) {
		t.Errorf("changed %v", got)
	}

	// What was seen before is left out, and who is handed over already.
	again := []Moved{{"bolt", main, "c", ReasonManual}, {"corp", handed, "c", ReasonManual}, {"acme", main, "a", ReasonManual}, {"none", "", "a", ReasonManual}}
	if n := p.do(&Move{Moves: again}); n != 0 {
		t.Errorf("%v moved", n)
	}
	p.judge(main, 10) // the others go on
	p.cursorAt(handed, 4, 2, 2)
	if n := len(p.network("base").Entries); n != 6 {
		t.Errorf("%d entries kept", n)
	}

	epoch := p.epochOf(handed)
	p.refused(&Release{Cohort: handed, Epoch: epoch - 1}, ErrStaleEpoch)
	p.refused(&Release{Cohort: main, Epoch: p.epochOf(main)}, ErrStaleEpoch)
	before = p.View()
	p.do(&Release{Cohort: handed, Epoch: epoch})
	p.in(handed, "b", "bolt", "corp")
	if got := slices.Sorted(p.View().TenantsSince(before.Index())); !slices.Equal(got, []string{"bolt", "corp"}) {
		t.Errorf("changed %v", got)
	}
	p.refused(&Release{Cohort: handed, Epoch: epoch}, ErrStaleEpoch)
	p.refused(&Progress{Cohort: handed, Epoch: epoch, Network: "base", To: 5}, ErrStaleEpoch)
	p.judge(handed, 10)
	for _, id := range []string{"acme", "bolt"} {
		rows := p.View().Coverage(p.tenant(id), "base", 0, 0)
		if len(rows) != 3 || rows[1].Status != Superseded || rows[2].Status != Judged || rows[2].ToPosition != 10 {
			t.Errorf("tenant %q: %+v", id, rows)
		}
	}
}

// Groups are numbered as they come; a laggard stands alone, on its own node too.
func TestMoveGroups(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt", "corp", "dune", "echo")
	p.move("a", ReasonInitial, "acme", "bolt", "corp", "dune", "echo")
	main := p.tenant("acme").Cohort
	items := slices.Concat(
		p.items("c", ReasonScaling, "acme"), p.items("a", ReasonLaggard, "bolt", "corp"),
		p.items("c", ReasonPriorityChange, "dune"), p.items("b", ReasonScaling, "acme"), p.items("a", ReasonScaling, "echo"),
	)
	if n := p.do(&Move{Moves: items}); n != 4 {
		t.Fatalf("%v moved", n)
	}
	at := func(k int) string { return fmt.Sprintf("@%d.%d", p.index, k) }
	p.in(at(0), "", "acme", "dune")
	p.in(at(1), "", "bolt")
	p.in(at(2), "", "corp")
	p.in(main, "a", "echo")
	if c, _ := p.View().Cohort(at(1)); c.Node != "a" || c.To != "a" || c.From != main || c.Reason != ReasonLaggard {
		t.Errorf("cohort of a laggard: %+v", c)
	}
	if a := p.tenant("dune").Assigned; a.Reason != ReasonPriorityChange || a.Version != 2 {
		t.Errorf("assignment %+v", a)
	}
	p.do(&Release{Cohort: at(1), Epoch: p.index})
	p.in(p.tenant("bolt").Cohort, "a", "bolt")
}

// A dead node is not waited for, whether it had the tenants or was to have them.
func TestForcedMoves(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt")
	p.move("a", ReasonInitial, "acme", "bolt")
	p.move("b", ReasonScaling, "bolt")
	handed := p.tenant("bolt").Cohort
	if n := p.do(&Move{Moves: p.items("c", ReasonNodeFailure, "acme", "bolt"), Force: true}); n != 2 {
		t.Fatalf("%v moved", n)
	}
	p.in(fmt.Sprintf("@%d.0", p.index), "c", "acme")
	p.in(fmt.Sprintf("@%d.1", p.index), "c", "bolt")
	if _, ok := p.View().Cohort(handed); ok {
		t.Error("a cohort that was handed over, and is empty, stays")
	}
	if _, ok := p.View().Cohort("a"); !ok {
		t.Error("the main cohort is gone")
	}
}

// Of tenants that want the network no more, what moves is owed what it was owed,
// and what stays not more than until now.
func TestMoveOfThePaused(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt")
	p.move("a", ReasonInitial, "acme", "bolt")
	main := p.tenant("acme").Cohort
	p.announce("base", 3)
	p.do(&SetTenantVersion{Tenant: "bolt", Expect: 1}) // at 4
	p.announce("base", 3)
	p.judge(main, 1)
	p.move("b", ReasonScaling, "bolt")
	paused := p.tenant("bolt").Cohort
	p.cursorAt(paused, 1, 0, 1)
	if c, _ := p.View().Cursor("base", paused); c.Until != 4 || c.Parked() {
		t.Errorf("cursor %+v", c)
	}
	p.do(&Release{Cohort: paused, Epoch: p.index})
	p.judge(paused, 3)
	if c, _ := p.View().Cursor("base", paused); !c.Parked() {
		t.Errorf("cursor %+v", c)
	}
	// The one who wants it leaves one behind who does not.
	p.do(&Move{Moves: p.items("a", ReasonLaggard, "acme"), Force: true})
	if _, ok := p.View().Cursor("base", main); ok {
		t.Error("a cursor without a tenant stays")
	}
	p.fresh("corp")
	p.do(&Move{Moves: p.items("c", ReasonInitial, "corp")})
	alone := p.tenant("corp").Cohort
	p.announce("base", 1)
	p.do(&SetTenantVersion{Tenant: "corp", Expect: 1})
	p.cursorAt(alone, 6, 0, 1)
	p.do(&SetTenantVersion{Tenant: "corp", Expect: 2, Manifest: Manifest{Wanted: []string{"base"}}})
	p.cursorAt(alone, 6, 1, 1)
}

// Those left behind are counted as owed more than they are; when they move as
// well, nobody is, and the network ends.
func TestMoveEndsANetwork(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt")
	p.move("a", ReasonInitial, "acme", "bolt")
	main := p.tenant("acme").Cohort
	p.announce("base", 3)
	p.judge(main, 3)
	p.do(&SetTenantVersion{Tenant: "bolt", Expect: 1}) // at 4
	p.announce("base", 3)
	p.do(&Move{Moves: p.items("b", ReasonNodeFailure, "acme"), Force: true})
	p.judge(p.tenant("acme").Cohort, 6)
	p.do(&SetTenantVersion{Tenant: "acme", Expect: 1})
	p.cursorAt(main, 3, 0, 1)
	p.retired("base", false)
	p.do(&Move{Moves: p.items("b", ReasonNodeFailure, "bolt"), Force: true})
	p.cursorAt(p.tenant("bolt").Cohort, 3, 0, 1)
	p.retired("base", true)
}

// Whoever comes under the name of a deleted tenant is another one.
func TestSameNameAgain(t *testing.T) {
	p := moving(t)
	p.fresh("acme")
	p.move("a", ReasonInitial, "acme")
	p.do(&SetPlacement{Tenant: "acme", Pin: "a", Weight: 3, Priority: 1})
	first := *p.tenant("acme")
	p.announce("base", 2)
	at := p.index
	p.remove("acme")
	p.fresh("acme")
	second := p.tenant("acme")
	if second.Born <= first.Born || second.Cohort != "" || second.Pin != "" || second.Assigned != (Assignment{}) || second.Current.Number != 1 {
		t.Errorf("tenant %+v inherits from %+v", second, first)
	}
	if got := slices.Collect(p.View().TenantsSince(at)); !slices.Contains(got, "acme") {
		t.Errorf("changed %v", got)
	}
	if got := slices.Collect(p.View().TenantsSince(second.Born - 1)); !slices.Equal(got, []string{"acme"}) {
		t.Errorf("changed %v", got)
	}
	p.cursorAt("", 2, 1, 1)
	if n := p.View().TenantCount(first.Cohort); n != 0 {
		t.Errorf("%d tenants in the cohort it was in", n)
	}
	p.refused(&SetPlacement{Tenant: "acme", Expect: first.Placed, Weight: 1}, ErrConflict)
	p.refused(&SetPlacement{Tenant: "none"}, ErrNotFound)
	p.refused(&SetPlacement{Tenant: Shared}, ErrNotFound)
}
