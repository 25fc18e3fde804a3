package v1

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// MaxStored is the length of the longest stored secret, in bytes.
const MaxStored = 64 << 10

// SecretPath names a stored secret.
type SecretPath struct {
	Name string `path:"name" maxLength:"64" doc:"Name of the secret: letters, digits, underscores, dots and hyphens."`
}

type secretInput struct {
	TenantPath
	SecretPath
	ReadYourWrites
	Body struct {
		Value string `json:"value" minLength:"1" maxLength:"65536" doc:"The secret. It is sealed and never comes back."`
	}
}

type secretDelete struct {
	TenantPath
	SecretPath
	ReadYourWrites
	Force bool `query:"force" doc:"Also one that documents in force refer to: what needs it waits until it is set again."`
}

type secretsOutput struct {
	Body struct {
		Items []api.SecretStatus `json:"items" nullable:"false"`
	}
}

func (a *API) secretRoutes() {
	register(a, "secret.list", func(ctx context.Context, in *tenantInput) (*secretsOutput, error) {
		v := a.backend.View()
		t, err := tenant(ctx, v, in.Tenant)
		if err != nil {
			return nil, err
		}
		out := &secretsOutput{}
		out.Body.Items, err = SecretsOf(v, t)
		return out, err
	})
	register(a, "secret.put", a.putSecret)
	register(a, "secret.delete", a.deleteSecret)
}

// SecretsOf lists a tenant's stored secrets, and the names that its documents refer
// to without there being one.
func SecretsOf(v *fsm.View, t *fsm.Tenant) ([]api.SecretStatus, error) {
	uses, err := store.SecretUses(v, t)
	if err != nil {
		return nil, err
	}
	out := []api.SecretStatus{}
	add := func(name string, set time.Time) {
		s := api.SecretStatus{Name: name, Set: set, Triggers: []string{}, Networks: []string{}}
		if u := uses[name]; u != nil {
			s.Triggers, s.Networks = append(s.Triggers, u.Triggers...), append(s.Networks, u.Networks...)
		}
		delete(uses, name)
		out = append(out, s)
	}
	for s := range v.SecretsOf(t.ID) {
		add(s.Name, time.UnixMilli(s.At).UTC())
	}
	for name := range uses {
		add(name, time.Time{})
	}
	slices.SortFunc(out, func(a, b api.SecretStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (a *API) putSecret(ctx context.Context, in *secretInput) (*done, error) {
	if !spec.IsSecretName(in.Name) {
		return nil, huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{
			Location: "path.name", Message: "expected 1 to 64 letters, digits, underscores, dots or hyphens",
		})
	}
	if len(in.Body.Value) > MaxStored {
		return nil, huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{
			Location: "body.value", Message: fmt.Sprintf("expected %d bytes at most", MaxStored),
		})
	}
	v, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	sealed := []byte(a.backend.SealStored(t.ID, in.Name, in.Body.Value))
	if old, ok := v.Secret(t.ID, in.Name); ok && slices.Equal(old.Sealed, sealed) {
		return a.done(), nil
	}
	_, err = a.audited(ctx, &fsm.PutSecret{Tenant: t.ID, Name: in.Name, Sealed: sealed, At: a.now().UnixMilli()},
		fsm.Audit{Tenant: t.ID, Object: in.Name}, t.Born)
	if err != nil {
		return nil, err
	}
	a.backend.SecretSet(ctx, t.ID, in.Name)
	return a.done(), nil
}

func (a *API) deleteSecret(ctx context.Context, in *secretDelete) (*done, error) {
	v, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, ok := v.Secret(t.ID, in.Name); !ok {
		return nil, errNotThere
	}
	uses, err := store.SecretUses(v, t)
	if err != nil {
		return nil, err
	}
	if u := uses[in.Name]; u != nil && !in.Force {
		return nil, conflictf("secret %q is in use by %s: change the documents first, or give force=true, and what needs it waits until it is set again", in.Name, InUse(u))
	}
	_, err = a.audited(ctx, &fsm.DropSecret{Tenant: t.ID, Name: in.Name}, fsm.Audit{Tenant: t.ID, Object: in.Name}, t.Born)
	if err != nil {
		return nil, err
	}
	return a.done(), nil
}

// InUse names what uses a secret.
func InUse(u *store.SecretUse) string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"trigger", u.Triggers}, {"network", u.Networks}} {
		for _, name := range p.names {
			parts = append(parts, fmt.Sprintf("%s %q", p.what, name))
		}
	}
	return strings.Join(parts, ", ")
}
