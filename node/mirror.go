package node

import (
	"context"
	"errors"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Copying to the database costs it a little each time: what comes together goes
// together.
const (
	mirrorPause = 200 * time.Millisecond
	mirrorRetry = 2 * time.Second
)

// mirror copies the directory and the audit logs to the database, on the leader.
func (n *Node) mirror(ctx context.Context) {
	if n.contents == nil {
		return
	}
	var done uint64
	for {
		tenants, audit := n.state.Changed(fsm.TopicTenants), n.state.Changed(fsm.TopicAudit)
		wait := mirrorRetry // somebody else may have led, and copied nothing
		leads, _ := n.group.Leads()
		if v := n.state.View(); leads && v.Store().Index != 0 && v.Index() != done && n.group.Barrier(ctx) == nil {
			v = n.state.View()
			lost, err := n.contents.Mirror(ctx, v)
			switch {
			case err == nil:
				done, wait = v.Index(), 0
			case !errors.Is(err, fsm.ErrUnreachable):
				n.log.Error("the directory and the audit logs cannot be copied to PostgreSQL; it is tried again", "error", err)
			}
			if lost > 0 {
				n.log.Error("entries of audit logs were gone before they could be copied to PostgreSQL", "lost", lost)
			}
		}
		var retry <-chan time.Time
		if wait > 0 {
			retry = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-tenants:
		case <-audit:
		case <-retry:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(mirrorPause):
		}
	}
}

// Audit implements v1.Backend. Where the whole audit log is in PostgreSQL, the
// newest entries may be in the state alone for a moment: they come first, also
// together with an error that says why no more of them do.
func (n tenantAPI) Audit(ctx context.Context, tenant string, before uint64, limit int) ([]*fsm.Audit, error) {
	v := n.state.View()
	var out []*fsm.Audit
	take := func(a *fsm.Audit) bool {
		if before == 0 || a.Index < before {
			out = append(out, a)
		}
		return len(out) < limit
	}
	for a := range v.AuditOf(tenant) {
		if !take(a) {
			return out, nil
		}
	}
	if v.Store().Index == 0 || n.contents == nil {
		return out, nil
	}
	born := uint64(0)
	if t, ok := v.Tenant(tenant); ok && tenant != fsm.Shared {
		born = t.Born
	}
	if len(out) > 0 {
		if before = out[len(out)-1].Index; before <= born {
			return out, nil // the tenant's first: there is no older one
		}
	}
	older, err := n.contents.AuditOf(ctx, tenant, born, before, limit-len(out))
	return append(out, older...), unavailable(err)
}
