package v1

import (
	"context"
	"errors"
	"strconv"
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

func (a *API) auditRoutes() {
	register(a, "audit.list", func(ctx context.Context, in *listInput) (*pageOutput[Entry], error) {
		v := a.backend.View()
		if _, err := tenant(ctx, v, in.Tenant); err != nil {
			return nil, err
		}
		return a.entries(ctx, in.Tenant, in.Paging)
	})
	register(a, "clusteraudit.list", func(ctx context.Context, in *tenantsInput) (*pageOutput[Entry], error) {
		return a.entries(ctx, "", in.Paging)
	})
}

// entries is a page of an audit log, the newest first.
func (a *API) entries(ctx context.Context, tenant string, p Paging) (*pageOutput[Entry], error) {
	before, err := p.before()
	if err != nil {
		return nil, err
	}
	log, err := a.backend.Audit(ctx, tenant, before, p.Limit+1)
	if errors.Is(err, fsm.ErrUnreachable) && len(log) > 0 {
		// The newest are in the state. Of the older ones, the next page tells.
		err, p.Limit, log = nil, min(p.Limit, len(log)), append(log, nil)
	}
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Entry]{Body: Page[Entry]{Items: []Entry{}}}
	for _, e := range log {
		if len(out.Body.Items) == p.Limit {
			out.Body.Next = strconv.FormatUint(out.Body.Items[p.Limit-1].Index, 10)
			break
		}
		out.Body.Items = append(out.Body.Items, Entry{
			Index: e.Index, At: time.UnixMilli(e.At).UTC(), Actor: e.Actor, Role: e.Role, Address: e.Address,
			Action: e.Action, Object: e.Object, Version: e.Version, Before: e.Before, After: e.After,
		})
	}
	return out, nil
}
