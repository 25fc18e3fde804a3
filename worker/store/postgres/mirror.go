package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ozmo-dev/ozmo/fsm"
)

// mirrorTimeout bounds one Mirror: after an outage there may be much to copy.
const mirrorTimeout = 2 * time.Minute

// Mirror copies to the database what is new in a view: tenants, versions and
// documents for people to look at, and the entries of all audit logs, each exactly
// once. The view must show all that was committed when Mirror was called. It goes on
// where whoever did it last has stopped, and does nothing twice. It tells how many
// entries of audit logs were gone before they could be copied.
func (s *Store) Mirror(ctx context.Context, v *fsm.View) (lost uint64, err error) {
	err = s.do(ctx, mirrorTimeout, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			var index, audit, lostBefore uint64
			var last copied
			if err := tx.QueryRow(ctx, "select log_index, audit, audit_index, audit_at, audit_lost from ozmo.progress for update").Scan(
				&index, &audit, &last.index, &last.at, &lostBefore); err != nil {
				return err
			}
			last.seq = audit
			anew := index > v.Index() || last.ofAnother(v)
			if anew {
				// The cluster was restored to what it was before: all is looked at
				// again, and of the audit log what is there stays.
				index, last = 0, copied{seq: v.Store().Audits}
				for a := range v.AuditSince(0) {
					last.seq = a.Seq - 1
					break
				}
				if err := endOthers(ctx, tx, v); err != nil {
					return err
				}
			}
			seen := map[string]bool{}
			for id := range v.TenantsSince(index) {
				if id == fsm.Shared || seen[id] {
					continue
				}
				seen[id] = true
				if anew {
					if err := forgetUndone(ctx, tx, v, id); err != nil {
						return err
					}
				}
				if err := mirrorTenant(ctx, tx, v, id); err != nil {
					return err
				}
			}
			last, lost, err = mirrorAudit(ctx, tx, v, last)
			if err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "update ozmo.progress set log_index = $1, audit = $2, audit_index = $3, audit_at = $4, audit_lost = $5",
				v.Index(), last.seq, last.index, last.at, lostBefore+lost)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	s.metrics.auditLost.Add(float64(lost))
	return lost, nil
}

// endOthers notes as deleted the tenants that a restored state does not have.
func endOthers(ctx context.Context, tx pgx.Tx, v *fsm.View) error {
	ids, born := []string{}, []int64{}
	for t := range v.Tenants() {
		ids, born = append(ids, t.ID), append(born, int64(t.Born)) //nolint:gosec // a log index
	}
	_, err := tx.Exec(ctx, `update ozmo.tenants set deleted_at = now() where deleted_at is null
		and (id, born) not in (select * from unnest($1::text[], $2::bigint[]))`, ids, born)
	return err
}

// forgetUndone takes out what a restored state does not have of a tenant: versions
// after the last one that is the same on both sides.
func forgetUndone(ctx context.Context, tx pgx.Tx, v *fsm.View, id string) error {
	t, ok := v.Tenant(id)
	if !ok {
		return nil
	}
	rows, err := tx.Query(ctx, "select number, log_index from ozmo.versions where tenant = $1 and born = $2", id, t.Born)
	if err != nil {
		return err
	}
	noted := map[uint64]uint64{}
	var number, index uint64
	if _, err := pgx.ForEachRow(rows, []any{&number, &index}, func() error {
		noted[number] = index
		return nil
	}); err != nil {
		return err
	}
	kept := append(append([]fsm.Version{}, t.Previous...), t.Current)
	same := kept[0].Number - 1
	for _, version := range kept {
		if noted[version.Number] == version.Index {
			same = version.Number
		}
	}
	b := &pgx.Batch{}
	b.Queue("delete from ozmo.versions where tenant = $1 and born = $2 and number > $3", id, t.Born, same)
	b.Queue("delete from ozmo.documents where tenant = $1 and born = $2 and from_version > $3", id, t.Born, same)
	b.Queue("update ozmo.documents set to_version = null where tenant = $1 and born = $2 and to_version > $3", id, t.Born, same)
	return tx.SendBatch(ctx, b).Close()
}

func mirrorTenant(ctx context.Context, tx pgx.Tx, v *fsm.View, id string) error {
	t, ok := v.Tenant(id)
	born := uint64(0)
	if ok {
		born = t.Born
	}
	if _, err := tx.Exec(ctx, "update ozmo.tenants set deleted_at = now() where id = $1 and born <> $2 and deleted_at is null", id, born); err != nil || !ok {
		return err
	}
	var known uint64
	err := tx.QueryRow(ctx, "select coalesce(max(number), 0) from ozmo.versions where tenant = $1 and born = $2", id, born).Scan(&known)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`insert into ozmo.tenants (id, born, source, version) values ($1, $2, $3, $4)
		on conflict (id, born) do update set source = $3, version = $4, updated_at = now(), deleted_at = null`, id, born, t.Source.String(), t.Current.Number)
	before, kept := t.Number(known)
	if !kept {
		// What was in force is not kept any more: it is replaced whole.
		b.Queue("update ozmo.documents set to_version = $3 where tenant = $1 and born = $2 and to_version is null", id, born, t.Current.Number)
		before = fsm.Version{Manifest: &fsm.Manifest{}}
	}
	for _, version := range append(append([]fsm.Version{}, t.Previous...), t.Current) {
		if version.Number <= known || !kept && version.Number != t.Current.Number && known > 0 {
			continue
		}
		b.Queue("insert into ozmo.versions (tenant, born, number, log_index, at) values ($1, $2, $3, $4, $5) on conflict do nothing",
			id, born, version.Number, version.Index, time.UnixMilli(version.At))
		mirrorDocs(b, id, born, before.Manifest, version)
		before = version
	}
	return tx.SendBatch(ctx, b).Close()
}

// mirrorDocs says what has changed between two versions.
func mirrorDocs(b *pgx.Batch, id string, born uint64, before *fsm.Manifest, v fsm.Version) {
	for _, d := range before.Docs {
		if now, ok := v.Manifest.Find(d.Kind, d.ID); !ok || now.Hash != d.Hash {
			b.Queue("update ozmo.documents set to_version = $5 where tenant = $1 and born = $2 and kind = $3 and id = $4 and to_version is null",
				id, born, d.Kind.String(), d.ID, v.Number)
		}
	}
	for _, d := range v.Manifest.Docs {
		if was, ok := before.Find(d.Kind, d.ID); ok && was.Hash == d.Hash {
			continue
		}
		refs := make([][]byte, len(d.Refs))
		for i := range d.Refs {
			refs[i] = d.Refs[i][:]
		}
		b.Queue(`insert into ozmo.documents (tenant, born, kind, id, from_version, hash, refs) values ($1, $2, $3, $4, $5, $6, $7)
			on conflict (tenant, born, kind, id, from_version) do update set to_version = null, hash = $6, refs = $7`,
			id, born, d.Kind.String(), d.ID, v.Number, d.Hash[:], refs)
	}
}

// auditBatch is how many entries go at a time.
const auditBatch = 1000

// copied is the entry of an audit log that was copied last.
type copied struct {
	seq, index uint64
	at         int64
}

// ofAnother reports whether the entry is not of what led to a view.
func (c copied) ofAnother(v *fsm.View) bool {
	if c.seq > v.Store().Audits {
		return true
	}
	for a := range v.AuditSince(c.seq - min(c.seq, 1)) {
		return a.Seq == c.seq && (a.Index != c.index || a.At != c.at)
	}
	return false
}

func mirrorAudit(ctx context.Context, tx pgx.Tx, v *fsm.View, last copied) (_ copied, lost uint64, err error) {
	b := &pgx.Batch{}
	flush := func() error {
		if b.Len() == 0 {
			return nil
		}
		err := tx.SendBatch(ctx, b).Close()
		b = &pgx.Batch{}
		return err
	}
	for a := range v.AuditSince(last.seq) {
		lost += a.Seq - last.seq - 1
		last = copied{a.Seq, a.Index, a.At}
		b.Queue(`insert into ozmo.audit (log_index, at, tenant, actor, role, address, action, object, before, after, version)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing`,
			a.Index, time.UnixMilli(a.At), clean(a.Tenant), clean(a.Actor), clean(a.Role), clean(a.Address), clean(a.Action), clean(a.Object), clean(a.Before), clean(a.After), a.Version)
		if b.Len() >= auditBatch {
			if err := flush(); err != nil {
				return last, 0, err
			}
		}
	}
	if err := flush(); err != nil {
		return last, 0, err
	}
	lost += v.Store().Audits - last.seq // the newest, if they are gone as well
	last.seq = v.Store().Audits
	return last, lost, nil
}

// AuditOf answers with at most limit entries of a tenant's audit log, or of the
// cluster's for an empty name, before a log index if that is not 0, newest first.
// Of a tenant, those that are older than it are another's of the same name.
func (s *Store) AuditOf(ctx context.Context, tenant string, born, before uint64, limit int) (out []*fsm.Audit, err error) {
	err = s.do(ctx, readTimeout, func(ctx context.Context) error {
		if before == 0 {
			before = 1<<63 - 1
		}
		rows, err := s.pool.Query(ctx, `select log_index, at, tenant, actor, role, address, action, object, before, after, version from ozmo.audit
			where tenant = $1 and log_index >= $2 and log_index < $3 order by log_index desc, at desc limit $4`, tenant, born, before, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*fsm.Audit, error) {
			a, at := &fsm.Audit{}, time.Time{}
			err := row.Scan(&a.Index, &at, &a.Tenant, &a.Actor, &a.Role, &a.Address, &a.Action, &a.Object, &a.Before, &a.After, &a.Version)
			a.At = at.UnixMilli()
			return a, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return out, nil
}

// clean makes text what PostgreSQL takes: a text there has no zero bytes, and is
// UTF-8.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
