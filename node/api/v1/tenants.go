package v1

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Tenant is a tenant in short.
type Tenant struct {
	ID       string    `json:"id"`
	Source   string    `json:"source" enum:"folder,API,tables" doc:"Who says what its documents are. What comes from the folder, or from the tables of a database, is only read over the API."`
	Version  uint64    `json:"version" doc:"Of its configuration."`
	Index    uint64    `json:"index" doc:"Log index at which the version came into force."`
	Changed  time.Time `json:"changed"`
	Networks int       `json:"networks"`
	Monitors int       `json:"monitors"`
	Triggers int       `json:"triggers"`
	Scripts  int       `json:"scripts"`
}

func shortTenant(t *fsm.Tenant) Tenant {
	out := Tenant{
		ID: t.ID, Source: t.Source.String(), Version: t.Current.Number, Index: t.Current.Index,
		Changed: time.UnixMilli(t.Current.At).UTC(),
	}
	out.Networks, out.Monitors, out.Triggers, out.Scripts = countDocuments(t.Current.Manifest)
	return out
}

type tenantInput struct {
	TenantPath
	ReadYourWrites
}

type tenantsInput struct {
	Paging
	ReadYourWrites
}

type tenantOutput struct {
	Status int
	Index  uint64 `header:"X-Ozmo-Index"`
	Body   Tenant
}

// done answers a change that leaves nothing to show.
type done struct {
	Index uint64 `header:"X-Ozmo-Index" doc:"Log index of the change; see the parameter index."`
}

func (a *API) done() *done { return &done{Index: a.backend.View().Index()} }

func (a *API) tenantRoutes() {
	register(a, "tenant.list", a.listTenants)
	register(a, "tenant.get", func(ctx context.Context, in *tenantInput) (*tenantOutput, error) {
		t, err := tenant(ctx, a.backend.View(), in.Tenant)
		if err != nil {
			return nil, err
		}
		return &tenantOutput{Status: http.StatusOK, Body: shortTenant(t)}, nil
	})
	register(a, "tenant.put", a.putTenant)
	register(a, "tenant.delete", a.deleteTenant)
	register(a, "quota.get", func(ctx context.Context, in *tenantInput) (*quotaOutput, error) {
		v := a.backend.View()
		t, err := tenant(ctx, v, in.Tenant)
		if err != nil {
			return nil, err
		}
		return newQuotaOutput(v, t), nil
	})
	register(a, "quota.put", a.putQuota)
}

func (a *API) listTenants(_ context.Context, in *tenantsInput) (*pageOutput[Tenant], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Tenant]{Body: Page[Tenant]{Items: []Tenant{}}}
	for t := range a.backend.View().Tenants() {
		if t.ID == fsm.Shared || t.ID <= after {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = out.Body.Items[in.Limit-1].ID
			break
		}
		out.Body.Items = append(out.Body.Items, shortTenant(t))
	}
	return out, nil
}

// checkTenantID refuses what cannot be a tenant's id.
func checkTenantID(id string) error {
	if spec.IsTenantName(id) {
		return nil
	}
	return huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{
		Location: "path.tenant", Message: "expected 1 to 63 lower-case letters, digits, underscores or hyphens, beginning with a letter or digit",
	})
}

// putTenant creates a tenant without documents. One that is there stays as it is.
func (a *API) putTenant(ctx context.Context, in *tenantInput) (*tenantOutput, error) {
	if err := checkTenantID(in.Tenant); err != nil {
		return nil, err
	}
	if err := a.backend.CatchUp(ctx); err != nil {
		return nil, err
	}
	out := &tenantOutput{Status: http.StatusOK}
	t, ok := a.backend.View().Tenant(in.Tenant)
	if !ok {
		c := &fsm.SetTenantVersion{Tenant: in.Tenant, At: a.now().UnixMilli(), Source: fsm.SourceAPI}
		_, err := a.audited(ctx, c, fsm.Audit{Tenant: in.Tenant, Object: in.Tenant}, 0)
		switch {
		case err == nil:
			out.Status = http.StatusCreated
		case !errors.Is(err, fsm.ErrConflict): // another one was quicker
			return nil, err
		}
		if t, ok = a.backend.View().Tenant(in.Tenant); !ok {
			return nil, errNotThere // deleted at once
		}
	}
	if t.Source != fsm.SourceAPI {
		return nil, conflictf("tenant %q comes from %s: take another id", in.Tenant, originOf(t.Source))
	}
	out.Index, out.Body = a.backend.View().Index(), shortTenant(t)
	return out, nil
}

func (a *API) deleteTenant(ctx context.Context, in *tenantInput) (*done, error) {
	release, err := a.turn(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	defer release()
	for try := 1; ; try++ {
		t, err := tenant(ctx, a.backend.View(), in.Tenant)
		if err != nil {
			return nil, err
		}
		if t.Source != fsm.SourceAPI {
			return nil, conflictf("tenant %q comes from %s: take it out of there", in.Tenant, originOf(t.Source))
		}
		c := &fsm.DeleteTenant{Tenant: t.ID, Expect: t.Current.Number, At: a.now().UnixMilli(), Source: fsm.SourceAPI}
		_, err = a.audited(ctx, c, fsm.Audit{Tenant: t.ID, Object: t.ID}, t.Born)
		once, err := a.again(ctx, try, err)
		if once {
			continue
		}
		if err != nil {
			return nil, err
		}
		return a.done(), nil
	}
}
