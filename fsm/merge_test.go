package fsm

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A cohort of one node joins another when both have judged everything.
func TestMerge(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt", "corp")
	p.move("a", ReasonInitial, "acme")
	one := p.tenant("acme").Cohort
	p.move("a", ReasonInitial, "bolt")
	two := p.tenant("bolt").Cohort
	p.move("b", ReasonInitial, "corp")
	other := p.tenant("corp").Cohort
	p.announce("base", 6)
	merge := func(from, into string) *Merge {
		return &Merge{From: from, Into: into, FromEpoch: p.epochOf(from), IntoEpoch: p.epochOf(into)}
	}
	p.judge(one, 6)
	p.do(&Progress{Cohort: two, Epoch: p.epochOf(two), Network: "base", To: 5, Superseded: []Span{{4, 5}}})
	p.refused(merge(two, one), ErrConflict)
	p.refused(merge(one, two), ErrConflict)
	p.judge(two, 6)
	p.judge(other, 6)
	p.refused(merge(other, one), ErrConflict) // of another node
	p.refused(merge(one, one), ErrConflict)
	stale := merge(two, one)
	stale.FromEpoch--
	p.refused(stale, ErrConflict)
	stale = merge(two, one)
	stale.IntoEpoch++
	p.refused(stale, ErrConflict)
	p.refused(&Merge{From: "@9.9", Into: one}, ErrConflict)

	epoch, before := p.epochOf(one), p.View()
	if n := p.do(merge(two, one)); n != 1 {
		t.Fatalf("%v tenants came", n)
	}
	p.in(one, "a", "acme", "bolt")
	p.cursorAt(one, 6, 2, 2)
	if p.epochOf(one) != epoch {
		t.Error("the cohort that was joined has another epoch")
	}
	if _, ok := p.View().Cohort(two); ok {
		t.Error("the cohort that joined stays")
	}
	if c, _ := p.View().Cursor("base", one); !slices.Equal(c.Superseded, []Span{{4, 5}}) {
		t.Errorf("cursor %+v", c)
	}
	if got := slices.Collect(p.View().TenantsSince(before.Index())); !slices.Equal(got, []string{"bolt"}) {
		t.Errorf("changed %v", got)
	}
	if a := p.tenant("bolt").Assigned; a.Version != 1 || a.Reason != ReasonInitial {
		t.Errorf("assignment %+v", a)
	}

	// What is empty just goes.
	p.do(&Merge{From: "c", FromEpoch: p.epochOf("c")})
	if _, ok := p.View().Cohort("c"); ok {
		t.Error("an empty cohort stays")
	}
	p.move("b", ReasonManual, "acme")
	p.refused(merge(p.tenant("acme").Cohort, one), ErrConflict) // being handed over
}

// What is parked lies behind; merged with what goes on, it is where that is.
func TestMergeOfTheParked(t *testing.T) {
	for name, fromParked := range map[string]bool{"from": true, "into": false} {
		t.Run(name, func(t *testing.T) {
			p := moving(t)
			p.fresh("idle", "busy")
			p.move("a", ReasonInitial, "idle")
			p.move("a", ReasonManual, "busy")
			parked, active := p.tenant("idle").Cohort, p.tenant("busy").Cohort
			p.announce("base", 3)
			p.do(&Progress{Cohort: parked, Epoch: p.epochOf(parked), Network: "base", To: 3, Superseded: []Span{{1, 2}}})
			p.do(&SetTenantVersion{Tenant: "idle", Expect: 1})
			p.announce("base", 3)
			p.do(&Progress{Cohort: active, Epoch: p.epochOf(active), Network: "base", To: 6, Superseded: []Span{{2, 4}}})
			last, _ := p.View().Cursor("base", active)
			from, into := parked, active
			if !fromParked {
				from, into = active, parked
			}
			p.do(&Merge{From: from, Into: into, FromEpoch: p.epochOf(from), IntoEpoch: p.epochOf(into)})
			p.cursorAt(into, 6, 1, 2)
			c, _ := p.View().Cursor("base", into)
			if c.Until != 0 || c.Index != last.Index || !slices.Equal(c.Superseded, []Span{{1, 4}}) {
				t.Errorf("cursor %+v, want index %d", c, last.Index)
			}
			p.do(&SetTenantVersion{Tenant: "busy", Expect: 1})
			if c, _ := p.View().Cursor("base", into); !c.Parked() {
				t.Errorf("cursor %+v", c)
			}
			p.retired("base", true)
		})
	}
}

// Where two cursors stand at one position, a change that the slower one's tenants
// made before the next announcement is still ahead.
func TestMergeKeepsTheEarlierIndex(t *testing.T) {
	p := moving(t)
	p.fresh("acme")
	p.move("a", ReasonInitial, "acme")
	one := p.tenant("acme").Cohort
	p.announce("base", 2)
	p.judge(one, 2)
	early, _ := p.View().Cursor("base", one)
	p.fresh("acme2")
	p.move("a", ReasonInitial, "acme2")
	two := p.tenant("acme2").Cohort
	p.do(&Merge{From: one, Into: two, FromEpoch: p.epochOf(one), IntoEpoch: p.epochOf(two)})
	p.cursorAt(two, 2, 2, 2)
	if c, _ := p.View().Cursor("base", two); c.Index != early.Index {
		t.Errorf("cursor %+v, want index %d", c, early.Index)
	}
}

func TestUniteSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		positions := map[uint64]bool{}
		draw := func(name string) (spans []Span) {
			at := uint64(0)
			for range rapid.IntRange(0, 6).Draw(t, name) {
				from := at + rapid.Uint64Range(1, 4).Draw(t, "gap")
				at = from + rapid.Uint64Range(0, 4).Draw(t, "length")
				spans = addSpans(spans, []Span{{from, at}})
				for p := from; p <= at; p++ {
					positions[p] = true
				}
			}
			return spans
		}
		a, b := draw("a"), draw("b")
		before := [][]Span{slices.Clone(a), slices.Clone(b)}
		got := uniteSpans(a, b)
		if !slices.Equal(a, before[0]) || !slices.Equal(b, before[1]) {
			t.Fatal("the spans given have changed")
		}
		for i, s := range got {
			if s.From > s.To || i > 0 && s.From <= got[i-1].To+1 {
				t.Fatalf("%v and %v: %v is not in order, or could be shorter", a, b, got)
			}
			for p := s.From; p <= s.To; p++ {
				if !positions[p] {
					t.Fatalf("%v and %v: %v has position %d", a, b, got, p)
				}
				delete(positions, p)
			}
		}
		if len(positions) > 0 {
			t.Fatalf("%v and %v: %v lacks %v", a, b, got, positions)
		}
	})
}

// Of too many superseded stretches the newest are kept.
func TestUniteSpansIsBounded(t *testing.T) {
	var a, b []Span
	for i := range uint64(keepSpans) {
		a, b = append(a, Span{8*i + 1, 8*i + 1}), append(b, Span{8*i + 5, 8*i + 6})
	}
	got := uniteSpans(a, b)
	if len(got) != keepSpans || got[len(got)-1] != b[keepSpans-1] {
		t.Errorf("%d stretches, the last %v", len(got), got[len(got)-1])
	}
}
