package fsm

import "testing"

// A registration that commits late, when its process has ended and another one has
// registered, changes nothing.
func TestLateRegistration(t *testing.T) {
	p := moving(t)
	p.fresh("acme")
	p.move("a", ReasonInitial, "acme")
	node := func() *Node {
		n, _ := p.View().Node("a")
		return n
	}
	first := node().Boot
	late := &RegisterNode{Name: "a", Server: "a@1", Address: "a:6000", Roles: AllRoles, After: first + 1}
	second := p.do(&RegisterNode{Name: "a", Server: "a@1", Address: "a:7000", Roles: AllRoles, After: first + 1}).(uint64)
	p.do(&GrantLease{Network: "base", Holder: "a", Window: 8})
	lease, epoch, before := p.network("base").Lease, p.epochOf("a"), *node()
	if before.Boot != second || before.Address != "a:7000" {
		t.Fatalf("node %+v", before)
	}
	p.refused(late, ErrConflict)
	p.refused(&RegisterNode{Name: "a", Server: "a@1", After: 1}, ErrConflict) // as the first of its name
	if *node() != before || p.network("base").Lease != lease || p.epochOf("a") != epoch {
		t.Errorf("it has put the younger process out: %+v, lease %+v", node(), p.network("base").Lease)
	}
	// Whoever is told what there is follows it.
	if third := p.do(&RegisterNode{Name: "a", Server: "a@1", After: second + 1}).(uint64); node().Boot != third {
		t.Errorf("node %+v", node())
	}
	// Of two that are the first of a name, one is.
	p.do(&RegisterNode{Name: "new", Server: "new@1", After: 1})
	p.refused(&RegisterNode{Name: "new", Server: "new@2", After: 1}, ErrConflict)
}
