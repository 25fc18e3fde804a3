package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// log lists what an audit log has, newest first.
func (p *pausing) log(tenant string) string {
	var lines []string
	for a := range p.View().AuditOf(tenant) {
		lines = append(lines, a.Action)
	}
	return strings.Join(lines, " ")
}

func (p *pausing) logs(tenant, want string) {
	p.Helper()
	for range 2 {
		if got := p.log(tenant); got != want {
			p.Errorf("audit log of tenant %q: %s, want %s", tenant, got, want)
		}
		checkAudits(p, p.View())
		p.restart()
	}
}

func TestAudited(t *testing.T) {
	p := newPausing(t)
	by := func(action string, born uint64, c Command) *Audited {
		return audited(Audit{At: 5, Tenant: "acme", Actor: "socket", Action: action}, born, c)
	}
	made := p.do(by("create", 0, &SetTenantVersion{Tenant: "acme", Source: SourceAPI})).(Version)
	if made.Number != 1 || made.Index != p.index {
		t.Errorf("it answers %+v", made)
	}
	born := p.tenant("acme").Born
	p.logs("acme", "create")
	if got := p.do(by("secret", born, &PutSecret{Tenant: "acme", Name: "hook"})); got != p.index {
		t.Errorf("it answers %v", got)
	}
	for a := range p.View().AuditOf("acme") {
		if want := (Audit{Index: p.index, At: 5, Tenant: "acme", Actor: "socket", Action: "secret"}); *a != want {
			t.Errorf("entry %+v, want %+v", *a, want)
		}
		break
	}
	// What is refused, also because it is told again, leaves no entry.
	again := by("change", born, &SetTenantVersion{Tenant: "acme", Expect: 1, Source: SourceAPI})
	p.do(again)
	p.refused(again, ErrConflict)
	p.refused(by("drop", born, &DropSecret{Tenant: "acme", Name: "none"}), ErrNotFound)
	p.logs("acme", "change secret create")
	for a := range p.View().AuditOf("acme") {
		if want := map[string]uint64{"change": 2, "create": 1}[a.Action]; a.Version != want {
			t.Errorf("%s: version %d, want %d", a.Action, a.Version, want)
		}
	}
	// Neither does what finds itself done.
	key := by("key", born, &PutKey{Key: Key{ID: "k", Tenant: "acme"}})
	first := p.do(key)
	if p.do(key) != first {
		t.Error("the same key again is another")
	}
	p.do(by("purge", born, &Purge{Tenant: "acme", Keys: []string{"none"}}))
	p.logs("acme", "key change secret create")
	if !p.woken(TopicSecrets, by("secret2", born, &PutSecret{Tenant: "acme", Name: "hook"})) {
		t.Error("what is audited wakes nobody")
	}
	p.logs("acme", "secret2 key change secret create")
	p.logs("", "")

	// Of a tenant that was deleted, that is what is left.
	p.do(by("delete", born, &DeleteTenant{Tenant: "acme", Expect: 2, Source: SourceAPI}))
	p.logs("acme", "")
	p.logs("", "delete")
	for a := range p.View().AuditOf("") {
		if a.Tenant != "" || a.Object != "acme" {
			t.Errorf("entry %+v", a)
		}
	}
	p.do(by("create2", 0, &SetTenantVersion{Tenant: "acme"}))
	p.logs("acme", "create2")
	// What was meant for it is not done to the next one of its name.
	p.refused(by("late", born, &PutSecret{Tenant: "acme", Name: "hook"}), ErrConflict)
	p.refused(by("late", born, &SetPlacement{Tenant: "acme"}), ErrConflict)
	p.do(by("secret3", p.tenant("acme").Born, &PutSecret{Tenant: "acme", Name: "hook"}))
	p.logs("acme", "secret3 create2")
	p.do(&DeleteTenant{Tenant: "acme", Expect: 1})
	p.refused(by("late", born, &PutKey{Key: Key{ID: "k2"}}), ErrConflict)
	p.do(audited(Audit{Action: "key"}, 0, &PutKey{Key: Key{ID: "k3"}}))
	p.do(audited(Audit{Action: "shared"}, 0, &SetTenantVersion{Tenant: Shared}))
	p.do(audited(Audit{Action: "unshared"}, 0, &DeleteTenant{Tenant: Shared, Expect: 1}))
	p.logs("", "unshared shared key delete")
}

// What cannot be applied by every node is never written.
func TestAuditedOfWhatCannotBe(t *testing.T) {
	inner := mustEncode(t, &PutKey{Key: Key{ID: "k"}})
	nested := mustEncode(t, audited(Audit{}, 0, &PutKey{}))
	for name, c := range map[string]struct {
		command []byte
		want    error
	}{
		"unknown":         {[]byte{0x7f, 0x80}, ErrUnknownCommand},
		"may be skipped":  {[]byte{0xfe, 0x80}, ErrMalformed},
		"audited":         {nested, ErrMalformed},
		"cut":             {inner[:len(inner)-1], ErrMalformed},
		"without a body":  {inner[:1], ErrMalformed},
		"with some more":  {append(slices.Clip(inner), 0), ErrMalformed},
		"of another kind": {append([]byte{byte(TypeMove)}, inner[1:]...), nil},
	} {
		body, err := marshal(&Audited{Command: c.command})
		if err != nil {
			t.Fatal(err)
		}
		entry := append([]byte{byte(TypeAudited)}, body...)
		if _, err := Decode(entry); !errors.Is(err, c.want) {
			t.Errorf("%s: decoded with %v, want %v", name, err, c.want)
		}
		if _, err := Encode(&Audited{Command: c.command}); !errors.Is(err, c.want) {
			t.Errorf("%s: encoded with %v, want %v", name, err, c.want)
		}
		s := New()
		before := s.View()
		if _, err := s.Apply(1, entry); !errors.Is(err, c.want) || c.want != nil && s.View() != before {
			t.Errorf("%s: applied with %v, want %v; at index %d", name, err, c.want, s.View().Index())
		}
	}
	for _, c := range []Command{audited(Audit{}, 0, &PutKey{}), &Audited{Command: nested}} {
		if a, err := NewAudited(Audit{}, 0, c); err == nil {
			t.Errorf("%+v is audited twice", a)
		}
	}
	s := New()
	if _, err := s.Apply(1, mustEncode(t, &Audited{Entry: Audit{Action: "nothing"}})); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a command: %v", err)
	}
	if s.View().audits.Len() != 0 {
		t.Error("nothing is noted as done")
	}
}

// An entry is of the newest type in it: a node that knows only Audited stops at what
// it does not know inside.
func TestNeeds(t *testing.T) {
	secret := &PutSecret{Tenant: "acme", Name: "hook"}
	for name, c := range map[string]struct {
		entry []byte
		want  Type
	}{
		"plain":         {mustEncode(t, secret), TypePutSecret},
		"older inside":  {mustEncode(t, audited(Audit{}, 0, secret)), TypeAudited},
		"newer inside":  {mustEncode(t, audited(Audit{}, 0, &SetQuota{})), TypeSetQuota},
		"nothing":       {nil, 0},
		"empty inside":  {mustEncode(t, &Audited{}), TypeAudited},
		"not a command": {[]byte{byte(TypeAudited), 0xc1}, TypeAudited},
	} {
		if got := Needs(c.entry); got != c.want {
			t.Errorf("%s: type %d, want %d", name, got, c.want)
		}
	}
}

func TestAuditIsCutOff(t *testing.T) {
	p := newPausing(t)
	long := "x" + strings.Repeat("ä", MaxAuditText)
	p.do(audited(Audit{
		Tenant: long, Actor: long, Role: long, Address: long, Action: long, Object: long, Before: long, After: long[1:],
	}, 0, &PutKey{Key: Key{ID: "k"}}))
	label := long[:MaxLabel-1]
	want := Audit{
		Index: p.index, Actor: label, Role: label, Address: label, Action: label, Object: label,
		Before: long[:MaxAuditText-1], After: long[1 : MaxAuditText+1],
	}
	for a := range p.View().AuditOf("") {
		if *a != want {
			t.Errorf("entry %+v", a)
		}
	}
	if n, most := p.View().AuditBytes(), int64(auditOverhead+6*MaxLabel+2*MaxAuditText); n == 0 || n > most {
		t.Errorf("it counts %d bytes, at most are %d", n, most)
	}
}

// Logs keep what is newest, and however many there are, all together are bounded:
// who has the most loses.
func TestAuditIsBounded(t *testing.T) {
	b := newBare(t, "few", "many", "wordy")
	enter := func(tenant, text string) {
		b.do(func(t *tx) { t.enter(&Audit{Index: t.index, Tenant: tenant, After: text}) })
	}
	count := func(tenant string) (n int, bytes int64) {
		last := b.v.index + 1
		for a := range b.v.AuditOf(tenant) {
			if a.Index >= last {
				t.Fatalf("entry %d of %s comes after %d", a.Index, tenant, last)
			}
			last = a.Index
			n++
			bytes += a.Size()
		}
		return n, bytes
	}
	enter("few", "")
	for range KeepAudit + 5 {
		enter("many", "")
		enter("wordy", strings.Repeat("x", MaxAuditText))
	}
	if n, _ := count("many"); n != KeepAudit {
		t.Errorf("%d entries are kept, want %d", n, KeepAudit)
	}
	size := int64(auditOverhead + len("wordy") + MaxAuditText)
	if n, bytes := count("wordy"); bytes > KeepAuditBytes || bytes+size <= KeepAuditBytes {
		t.Errorf("%d entries are kept, of %d bytes", n, bytes)
	}
	checkAudits(t, b.v)
	checkAudits(t, b.restored())

	many, _ := count("many")
	text := strings.Repeat("x", MaxAuditText) // one for all: it takes no more memory than once
	for i := range MaxAudit/KeepAuditBytes + 5 {
		tenant := fmt.Sprint("t", i)
		b.do(func(t *tx) { _, _ = (&SetTenantVersion{Tenant: tenant}).apply(t) })
		for range KeepAuditBytes/int(size) + 1 {
			enter(tenant, text)
		}
	}
	checkAudits(t, b.v)
	if b.v.AuditBytes() <= MaxAudit-size {
		t.Errorf("%d bytes are kept, there is room for %d", b.v.AuditBytes(), MaxAudit)
	}
	if n, _ := count("few"); n != 1 {
		t.Error("who has few entries loses them")
	}
	if n, _ := count("many"); n != many {
		t.Errorf("who has less than others keeps %d of %d", n, many)
	}
	least, most := int64(MaxAudit), int64(0)
	for i := range MaxAudit/KeepAuditBytes + 5 {
		_, bytes := count(fmt.Sprint("t", i))
		least, most = min(least, bytes), max(most, bytes)
	}
	if most-least > 2*(size+10) {
		t.Errorf("of those with the most, one keeps %d bytes, another %d", most, least)
	}
}

// Two states that go on from one view do not disturb each other.
func TestAuditLogIsAValue(t *testing.T) {
	b := newBare(t, "acme")
	enter := func(from *View, action string) *View {
		b.v = from
		b.do(func(t *tx) { t.enter(&Audit{Index: t.index, Tenant: "acme", Action: action}) })
		return b.v
	}
	v := b.v
	for i := range 9 {
		v = enter(v, fmt.Sprint(i))
		left, right := enter(v, "left"), enter(v, "right")
		for want, view := range map[string]*View{"left": left, "right": right, fmt.Sprint(i): v} {
			for a := range view.AuditOf("acme") {
				if a.Action != want {
					t.Errorf("after %d: the newest is %s, want %s", i, a.Action, want)
				}
				break
			}
		}
	}
}
