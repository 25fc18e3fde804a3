package v1

import (
	"context"
	"net/http"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

type clusterInput struct{ ReadYourWrites }

type statusOutput struct{ Body api.Status }

// HealthCheck is one thing that is in order, or not.
type HealthCheck struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Minor bool   `json:"minor,omitempty" doc:"It does not count."`
	Error string `json:"error,omitempty"`
}

type healthOutput struct {
	Status int
	Body   struct {
		Ready  bool          `json:"ready"`
		Checks []HealthCheck `json:"checks" nullable:"false"`
	}
}

type coverageInput struct {
	TenantPath
	ReadYourWrites
	Network string `query:"network" required:"true" maxLength:"128" doc:"Slug of the network: a private one of the tenant, else a shared one."`
	From    uint64 `query:"from" doc:"First height."`
	To      uint64 `query:"to" doc:"Last height; 0: the last there is."`
}

type coverageOutput struct{ Body api.Coverage }

func (a *API) clusterRoutes() {
	register(a, "status.get", func(_ context.Context, _ *clusterInput) (*statusOutput, error) {
		return &statusOutput{Body: a.backend.Status()}, nil
	})
	register(a, "health.get", func(_ context.Context, _ *clusterInput) (*healthOutput, error) {
		out := &healthOutput{Status: http.StatusOK}
		out.Body.Ready, out.Body.Checks = true, []HealthCheck{}
		for _, c := range a.backend.Ready() {
			told := HealthCheck{Name: c.Name, OK: c.Err == nil, Minor: c.Minor}
			if c.Err != nil {
				told.Error = c.Err.Error()
				if !c.Minor {
					out.Body.Ready, out.Status = false, http.StatusServiceUnavailable
				}
			}
			out.Body.Checks = append(out.Body.Checks, told)
		}
		return out, nil
	})
	register(a, "coverage.get", a.coverage)
}

func (a *API) coverage(ctx context.Context, in *coverageInput) (*coverageOutput, error) {
	v := a.backend.View()
	t, err := tenant(ctx, v, in.Tenant)
	if err != nil {
		return nil, err
	}
	for _, owner := range []string{t.ID, fsm.Shared} {
		key := store.Key(owner, in.Network)
		// Only what the tenant has watched: a slug with a slash is no way to others.
		if n, ok := v.Network(key); ok && t.Coverage[key] != nil {
			tip, _ := n.Branch.Tip()
			rows := v.Coverage(t, key, in.From, in.To)
			if rows == nil {
				rows = []fsm.CoverageRow{}
			}
			return &coverageOutput{Body: api.Coverage{Tenant: t.ID, Network: key, Head: tip, Rows: rows}}, nil
		}
	}
	return nil, errNotThere
}
