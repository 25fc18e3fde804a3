package v1

import (
	"context"

	"github.com/ozmo-dev/ozmo/fsm"
)

type listInput struct {
	TenantPath
	Paging
	ReadYourWrites
}

type getInput struct {
	TenantPath
	ItemPath
	ReadYourWrites
	Preconditions
}

type putDocument struct {
	TenantPath
	ItemPath
	ReadYourWrites
	Preconditions
	DocumentBody
}

type sharedList struct {
	Paging
	ReadYourWrites
}

type sharedGet struct {
	ItemPath
	ReadYourWrites
	Preconditions
}

type sharedPut struct {
	ItemPath
	ReadYourWrites
	Preconditions
	DocumentBody
}

// documentRoutes are those of networks, monitors, triggers and scripts.
func (a *API) documentRoutes() {
	for name, k := range map[string]*kind{"network": networks, "monitor": monitors, "trigger": triggers, "script": scripts} {
		register(a, name+".list", func(ctx context.Context, in *listInput) (*pageOutput[Listed], error) {
			v := a.backend.View()
			t, err := tenant(ctx, v, in.Tenant)
			if err != nil {
				return nil, err
			}
			return a.list(v, k, t, in.Paging)
		})
		register(a, name+".get", func(ctx context.Context, in *getInput) (*documentOutput, error) {
			v := a.backend.View()
			t, err := tenant(ctx, v, in.Tenant)
			if err != nil {
				return nil, err
			}
			return a.get(v, k, t, in.ID, in.Preconditions)
		})
		register(a, name+".put", func(ctx context.Context, in *putDocument) (*written, error) {
			return a.put(ctx, k, in.Tenant, in.ID, in.Body, in.Preconditions)
		})
		register(a, name+".delete", func(ctx context.Context, in *getInput) (*written, error) {
			return a.remove(ctx, k, in.Tenant, in.ID, in.Preconditions)
		})
	}
	register(a, "sharednetwork.list", func(_ context.Context, in *sharedList) (*pageOutput[Listed], error) {
		v := a.backend.View()
		return a.list(v, networks, shared(v), in.Paging)
	})
	register(a, "sharednetwork.get", func(_ context.Context, in *sharedGet) (*documentOutput, error) {
		v := a.backend.View()
		return a.get(v, networks, shared(v), in.ID, in.Preconditions)
	})
	register(a, "sharednetwork.put", func(ctx context.Context, in *sharedPut) (*written, error) {
		return a.put(ctx, networks, fsm.Shared, in.ID, in.Body, in.Preconditions)
	})
	register(a, "sharednetwork.delete", func(ctx context.Context, in *sharedGet) (*written, error) {
		return a.remove(ctx, networks, fsm.Shared, in.ID, in.Preconditions)
	})
}

// shared is the pseudo tenant of the shared networks, without any where there are none.
func shared(v *fsm.View) *fsm.Tenant {
	if t, ok := v.Tenant(fsm.Shared); ok {
		return t
	}
	return &fsm.Tenant{Current: fsm.Version{Manifest: &fsm.Manifest{}}}
}
