package v1

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Entry is a change in the audit log.
type Entry struct {
	Index   uint64    `json:"index" doc:"Log index of the change."`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Role    string    `json:"role,omitempty"`
	Address string    `json:"address,omitempty"`
	Action  string    `json:"action"`
	Object  string    `json:"object,omitempty"`
	Version uint64    `json:"version,omitempty" doc:"Of the tenant's configuration that came of it."`
	Before  string    `json:"before,omitempty" doc:"Without secrets, and cut off after 2 KiB."`
	After   string    `json:"after,omitempty" doc:"Without secrets, and cut off after 2 KiB."`
}

// AuditChoice says which changes are wanted.
type AuditChoice struct {
	Actor  string    `query:"actor" maxLength:"256" doc:"Whose name begins so, like key:ID or operator:."`
	Action string    `query:"action" maxLength:"64" doc:"That begin so, like monitor. or monitor.put."`
	Object string    `query:"object" maxLength:"128" doc:"Of what is called so."`
	Since  time.Time `query:"since" doc:"At this time or later."`
	Until  time.Time `query:"until" doc:"Before this time."`
}

func (c *AuditChoice) chooses(e *fsm.Audit) bool {
	return strings.HasPrefix(e.Actor, c.Actor) && strings.HasPrefix(e.Action, c.Action) && (c.Object == "" || e.Object == c.Object) &&
		(c.Until.IsZero() || e.At < c.Until.UnixMilli())
}

// over reports that an entry, and with it all before it, is of too long ago. The clocks
// of nodes differ a little, and entries are in the order of the log.
func (c *AuditChoice) over(e *fsm.Audit) bool {
	return !c.Since.IsZero() && e.At < c.Since.Add(-clocksDiffer).UnixMilli()
}

const (
	clocksDiffer = time.Minute
	maxLookedAt  = 5000 // entries, for one page
	lookedAtOnce = 500
)

type auditInput struct {
	TenantPath
	Paging
	AuditChoice
	ReadYourWrites
}

type clusterAuditInput struct {
	Paging
	AuditChoice
	ReadYourWrites
}

func (a *API) auditRoutes() {
	register(a, "audit.list", func(ctx context.Context, in *auditInput) (*pageOutput[Entry], error) {
		v := a.backend.View()
		if _, err := tenant(ctx, v, in.Tenant); err != nil {
			return nil, err
		}
		return a.entries(ctx, in.Tenant, in.Paging, &in.AuditChoice)
	})
	register(a, "clusteraudit.list", func(ctx context.Context, in *clusterAuditInput) (*pageOutput[Entry], error) {
		return a.entries(ctx, "", in.Paging, &in.AuditChoice)
	})
}

// entries is a page of an audit log, the newest first. Where few are wanted of many, a page
// may have fewer than there are, or none, and say where to go on.
func (a *API) entries(ctx context.Context, tenant string, p Paging, c *AuditChoice) (*pageOutput[Entry], error) {
	before, err := p.before()
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Entry]{Body: Page[Entry]{Items: []Entry{}}}
	since := c.Since.UnixMilli()
	at := lookedAtOnce
	if *c == (AuditChoice{}) {
		at = p.Limit + 1
	}
	for looked := 0; ; {
		log, err := a.backend.Audit(ctx, tenant, before, at)
		// The newest are in the state. Of the older ones, the next page tells.
		away := errors.Is(err, fsm.ErrUnreachable) && looked+len(log) > 0
		if err != nil && !away {
			return nil, err
		}
		for _, e := range log {
			if c.over(e) {
				return out, nil
			}
			if full := len(out.Body.Items) == p.Limit; full || looked >= maxLookedAt {
				out.Body.Next = strconv.FormatUint(before, 10)
				return out, nil
			}
			before = e.Index
			looked++
			if c.chooses(e) && (c.Since.IsZero() || e.At >= since) {
				out.Body.Items = append(out.Body.Items, Entry{
					Index: e.Index, At: time.UnixMilli(e.At).UTC(), Actor: e.Actor, Role: e.Role, Address: e.Address,
					Action: e.Action, Object: e.Object, Version: e.Version, Before: e.Before, After: e.After,
				})
			}
		}
		switch {
		case away:
			out.Body.Next = strconv.FormatUint(before, 10)
			return out, nil
		case len(log) < at:
			return out, nil
		}
	}
}
