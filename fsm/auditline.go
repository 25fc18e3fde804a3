package fsm

import "iter"

// TopicAudit covers what AuditSince tells.
const TopicAudit Topic = "audit"

// KeepAuditLine bounds, by Audit.Size, what is kept of all audit logs together for
// whoever copies them to where the contents are: more than the logs themselves keep,
// and what was of tenants that were deleted since.
const KeepAuditLine = 64 << 20

// AuditSince yields the entries of all audit logs after one, by its Seq, oldest
// first. What a snapshot did not have any more, or was too much to keep, is not
// among them: a Seq is missing then.
func (v *View) AuditSince(seq uint64) iter.Seq[*Audit] {
	return func(yield func(*Audit) bool) {
		for _, a := range v.auditLine.from(be64(seq + 1)) {
			if !yield(a) {
				return
			}
		}
	}
}

// line numbers an entry and keeps it to be copied, where anybody may.
func (t *tx) line(a *Audit) {
	if t.store == nil {
		return
	}
	next := *t.store
	next.Audits++
	t.store, a.Seq = &next, next.Audits
	t.append(a)
	t.touch(TopicAudit)
}

func (t *tx) append(a *Audit) {
	if a.Seq == 0 {
		return
	}
	put(t.edit, &t.auditLine, be64(a.Seq), a)
	t.lineBytes += a.Size()
	for t.lineBytes > KeepAuditLine {
		key, oldest, _ := t.auditLine.first()
		del(t.edit, &t.auditLine, key)
		t.lineBytes -= oldest.Size()
	}
}
