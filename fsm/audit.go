package fsm

import (
	"fmt"
	"iter"
	"slices"
)

// Audit is one change that somebody made, as the audit log keeps it. Its texts are
// cut off: Before and After at MaxAuditText, the others at MaxLabel. Whoever
// proposes it leaves secrets out.
type Audit struct {
	Index   uint64 `codec:"i"`           // log index of the change, given by the log
	At      int64  `codec:"t"`           // Unix milliseconds
	Tenant  string `codec:"n,omitempty"` // in whose log it is; empty: the cluster's
	Actor   string `codec:"a,omitempty"` // who did it, as "key:ID (name)", "operator:NAME", "socket", "folder"
	Role    string `codec:"r,omitempty"` // the actor's
	Address string `codec:"d,omitempty"` // from where
	Action  string `codec:"c,omitempty"` // what was done, as "monitor.put"
	Object  string `codec:"o,omitempty"` // to what
	Before  string `codec:"b,omitempty"`
	After   string `codec:"f,omitempty"`
	Version uint64 `codec:"v,omitempty"` // the tenant's version that came of it, given by the log where there is one
	Seq     uint64 `codec:"s,omitempty"` // 1, 2, 3 … of all logs, given by the log once Store was set
}

// Bounds of audit logs: of more, the oldest go. What is too much in all goes from
// the log that has the most bytes, so that none pushes out what a smaller one has.
const (
	KeepAudit      = 1000      // entries of one log
	KeepAuditBytes = 1 << 20   // of one log, by Audit.Size
	MaxAudit       = 256 << 20 // of all, by Audit.Size
	MaxAuditText   = 2 << 10   // of Before, and of After, in bytes
)

// auditOverhead is what an entry takes beside its texts.
const auditOverhead = 256

// Size is what an entry counts for, in bytes.
func (a *Audit) Size() int64 {
	return int64(auditOverhead + len(a.Tenant) + len(a.Actor) + len(a.Role) + len(a.Address) + len(a.Action) + len(a.Object) + len(a.Before) + len(a.After))
}

func (a *Audit) clip() {
	for _, s := range []*string{&a.Tenant, &a.Actor, &a.Role, &a.Address, &a.Action, &a.Object} {
		*s = clipTo(*s, MaxLabel)
	}
	a.Before, a.After = clipTo(a.Before, MaxAuditText), clipTo(a.After, MaxAuditText)
}

// auditLog is a tenant's, or the cluster's. It never changes.
type auditLog struct {
	entries []*Audit // oldest first
	bytes   int64
}

// AuditOf yields what a tenant's audit log has, newest first; the cluster's for an
// empty name. With a tenant its log goes; that it was deleted, the cluster's says.
func (v *View) AuditOf(tenant string) iter.Seq[*Audit] {
	return func(yield func(*Audit) bool) {
		log, ok := get(v.audits, tenant)
		if !ok {
			return
		}
		for _, a := range slices.Backward(log.entries) {
			if !yield(a) {
				return
			}
		}
	}
}

// AuditBytes is the size of all audit logs; see MaxAudit.
func (v *View) AuditBytes() int64 { return v.auditBytes }

// Audited is a command with who had it done. Both are kept, or neither: where the
// command is refused, or changes nothing that anybody waits for, as one that is told
// again does, no entry is made. It answers what the command answers.
type Audited struct {
	Entry   Audit  `codec:"e"`
	Born    uint64 `codec:"b,omitempty"` // birth of Entry.Tenant as it was seen: refused with ErrConflict under another; 0: whichever
	Command []byte `codec:"c"`           // encoded; none that is audited itself, nor one that an older node may skip

	inner Command // what Command says, once it was read
}

// NewAudited puts a command together with its entry. Born is the birth of the
// entry's tenant as the proposer saw it, 0 where it is new or none.
func NewAudited(entry Audit, born uint64, c Command) (*Audited, error) {
	encoded, err := Encode(c)
	if err != nil {
		return nil, err
	}
	if err := auditable(encoded[0]); err != nil {
		return nil, err
	}
	return &Audited{Entry: entry, Born: born, Command: encoded, inner: c}, nil
}

// Type is TypeAudited.
func (*Audited) Type() Type { return TypeAudited }

func auditable(kind byte) error {
	if t := Type(kind); t == TypeAudited || t&Ignorable != 0 {
		return fmt.Errorf("%w: a command of type %d cannot be audited", ErrMalformed, kind)
	}
	return nil
}

// Needs is the newest type that a node must know to apply an entry: that of what is
// audited counts as well.
func Needs(entry []byte) Type {
	if len(entry) == 0 {
		return 0
	}
	needs := Type(entry[0])
	if needs != TypeAudited {
		return needs
	}
	var a Audited
	if err := unmarshal(entry[1:], &a); err == nil && len(a.Command) > 0 {
		needs = max(needs, Type(a.Command[0]))
	}
	return needs
}

// Inner reads the command; nil where there is none. Its errors are those of Decode.
func (c *Audited) Inner() (Command, error) {
	if c.inner != nil || len(c.Command) == 0 {
		return c.inner, nil
	}
	if err := auditable(c.Command[0]); err != nil {
		return nil, err
	}
	inner, err := Decode(c.Command)
	if err != nil {
		return nil, fmt.Errorf("audited: %w", err)
	}
	c.inner = inner
	return inner, nil
}

func (c *Audited) apply(t *tx) (any, error) {
	inner, err := c.Inner()
	if err != nil {
		return nil, err
	}
	if inner == nil {
		return nil, fmt.Errorf("%q by %s is no command: %w", c.Entry.Action, c.Entry.Actor, ErrNotFound)
	}
	if tenant, ok := t.Tenant(c.Entry.Tenant); c.Born != 0 && (!ok || tenant.Born != c.Born) {
		return nil, fmt.Errorf("tenant %q was deleted since: %w", c.Entry.Tenant, ErrConflict)
	}
	result, err := inner.apply(t)
	if err != nil {
		return nil, err
	}
	if len(t.touched) == 0 { // nothing has changed
		return result, nil
	}
	entry := c.Entry
	entry.Index = t.index
	if v, ok := result.(Version); ok {
		entry.Version = v.Number
	}
	t.enter(&entry)
	return result, nil
}

// enter appends to an audit log. What is about a tenant that is gone, or was never
// there, is in the cluster's.
func (t *tx) enter(a *Audit) {
	a.clip()
	if _, ok := t.Tenant(a.Tenant); !ok && a.Tenant != "" {
		if a.Object == "" {
			a.Object = a.Tenant
		}
		a.Tenant = ""
	}
	t.line(a)
	old, ok := get(t.audits, a.Tenant)
	if !ok {
		old = &auditLog{}
	}
	next := &auditLog{entries: append(slices.Clip(old.entries), a), bytes: old.bytes + a.Size()}
	for next.bytes > KeepAuditBytes || len(next.entries) > KeepAudit {
		next.bytes -= next.entries[0].Size()
		next.entries = next.entries[1:]
	}
	t.putAudits(a.Tenant, next)
	for t.auditBytes > MaxAudit {
		t.forgetAudit()
	}
}

// forgetAudit forgets the oldest entry of the greatest audit log.
func (t *tx) forgetAudit() {
	for tenant := range values(t.auditSizes) {
		old, _ := get(t.audits, tenant)
		t.putAudits(tenant, &auditLog{entries: slices.Clone(old.entries[1:]), bytes: old.bytes - old.entries[0].Size()})
		return
	}
}

// putAudits replaces a log, by one without entries if none are left.
func (t *tx) putAudits(tenant string, next *auditLog) {
	if old, ok := get(t.audits, tenant); ok {
		t.auditBytes -= old.bytes
		del(t.edit, &t.auditSizes, old.sizeKey(tenant))
	}
	if len(next.entries) == 0 {
		del(t.edit, &t.audits, tenant)
		return
	}
	t.auditBytes += next.bytes
	put(t.edit, &t.audits, tenant, next)
	put(t.edit, &t.auditSizes, next.sizeKey(tenant), tenant)
}

// sizeKey orders logs by their bytes, the greatest first.
func (l *auditLog) sizeKey(tenant string) string { return be64(^uint64(l.bytes)) + tenant }

// dropAudit forgets the log of a tenant that is gone.
func (t *tx) dropAudit(tenant string) {
	if tenant != Shared { // that under an empty name is the cluster's
		t.putAudits(tenant, &auditLog{})
	}
}

// loadAudits puts the logs together from their entries, those of each oldest first.
func (t *tx) loadAudits(entries []*Audit) {
	logs := map[string]*auditLog{}
	for _, a := range entries {
		log, ok := logs[a.Tenant]
		if !ok {
			log = &auditLog{}
			logs[a.Tenant] = log
		}
		log.entries = append(log.entries, a)
		log.bytes += a.Size()
	}
	for tenant, log := range logs {
		t.putAudits(tenant, log)
		for _, a := range log.entries {
			t.append(a)
		}
	}
}
