package v1

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Key is an API key without its secret.
type Key struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant,omitempty" doc:"Absent: an operator's."`
	Role    string    `json:"role" enum:"viewer,member,admin,owner,operator"`
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	By      string    `json:"created_by"`
	Expires time.Time `json:"expires,omitzero" doc:"Absent: never."`
	Expired bool      `json:"expired"`
}

// NewKey is a key that was made. Its text is shown this once.
type NewKey struct {
	Key
	Text string `json:"key" doc:"What the bearer sends. It cannot be shown again."`
}

// KeyRequest says what key to make.
type KeyRequest struct {
	Role    string    `json:"role" enum:"viewer,member,admin,owner" doc:"What its bearer may do; each may all that those before may."`
	Name    string    `json:"name,omitempty" maxLength:"64" doc:"For people, to tell keys apart."`
	Expires time.Time `json:"expires,omitzero" doc:"Absent: never."`
}

// OperatorKeyRequest says what operator's key to make.
type OperatorKeyRequest struct {
	Name    string    `json:"name,omitempty" maxLength:"64" doc:"For people, to tell keys apart."`
	Expires time.Time `json:"expires,omitzero" doc:"Absent: never."`
}

func (a *API) shownKey(k *fsm.Key) Key {
	out := Key{
		ID: k.ID, Tenant: k.Tenant, Role: k.Role.String(), Name: k.Name, By: k.By,
		Created: time.UnixMilli(k.At).UTC(), Expired: k.Expired(a.now().UnixMilli()),
	}
	if k.Expires != 0 {
		out.Expires = time.UnixMilli(k.Expires).UTC()
	}
	return out
}

// KeyPath names a key.
type KeyPath struct {
	ID string `path:"id" maxLength:"12" doc:"Id of the key: its text between the underscores."`
}

type keyOutput struct {
	Index uint64 `header:"X-Ozmo-Index"`
	Body  NewKey
}

func (a *API) keyRoutes() {
	register(a, "key.list", func(ctx context.Context, in *listInput) (*pageOutput[Key], error) {
		v := a.backend.View()
		if _, err := tenant(ctx, v, in.Tenant); err != nil {
			return nil, err
		}
		return a.listKeys(v, in.Tenant, in.Paging)
	})
	register(a, "key.create", func(ctx context.Context, in *struct {
		TenantPath
		ReadYourWrites
		Body KeyRequest
	},
	) (*keyOutput, error) {
		role, err := fsm.ParseRole(in.Body.Role)
		if err != nil {
			return nil, err // the schema has checked it
		}
		_, t, err := a.caughtUp(ctx, in.Tenant)
		if err != nil {
			return nil, err
		}
		return a.createKey(ctx, fsm.Key{Tenant: t.ID, Role: role, Name: in.Body.Name}, in.Body.Expires, t.Born)
	})
	register(a, "key.delete", func(ctx context.Context, in *struct {
		TenantPath
		KeyPath
		ReadYourWrites
	},
	) (*done, error) {
		_, t, err := a.caughtUp(ctx, in.Tenant)
		if err != nil {
			return nil, err
		}
		return a.deleteKey(ctx, in.ID, t.ID, t.Born)
	})
	register(a, "operatorkey.list", func(_ context.Context, in *tenantsInput) (*pageOutput[Key], error) {
		return a.listKeys(a.backend.View(), "", in.Paging)
	})
	register(a, "operatorkey.create", func(ctx context.Context, in *struct {
		ReadYourWrites
		Body OperatorKeyRequest
	},
	) (*keyOutput, error) {
		if actorOf(ctx).Afar {
			return nil, conflictf("an operator's key would outlast the certificate: make it on the machine of a node, or with another operator's key")
		}
		return a.createKey(ctx, fsm.Key{Role: fsm.RoleOperator, Name: in.Body.Name}, in.Body.Expires, 0)
	})
	register(a, "operatorkey.delete", func(ctx context.Context, in *struct {
		KeyPath
		ReadYourWrites
	},
	) (*done, error) {
		return a.deleteKey(ctx, in.ID, "", 0)
	})
}

func (a *API) listKeys(v *fsm.View, tenant string, p Paging) (*pageOutput[Key], error) {
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Key]{Body: Page[Key]{Items: []Key{}}}
	for k := range v.KeysOf(tenant) {
		if k.ID <= after {
			continue
		}
		if len(out.Body.Items) == p.Limit {
			out.Body.Next = out.Body.Items[p.Limit-1].ID
			break
		}
		out.Body.Items = append(out.Body.Items, a.shownKey(k))
	}
	return out, nil
}

func (a *API) createKey(ctx context.Context, k fsm.Key, expires time.Time, born uint64) (*keyOutput, error) {
	now := a.now()
	if !expires.IsZero() {
		if !expires.After(now) {
			return nil, huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{
				Location: "body.expires", Message: "expected a time to come",
			})
		}
		k.Expires = expires.UnixMilli()
	}
	text := newKeyText()
	k.ID, k.Hash, k.By, k.At = text.id, text.hash(), actorOf(ctx).Name, now.UnixMilli()
	after := "role " + k.Role.String()
	if k.Name != "" {
		after += ", " + k.Name
	}
	if _, err := a.audited(ctx, &fsm.PutKey{Key: k}, fsm.Audit{Tenant: k.Tenant, Object: k.ID, After: after}, born); err != nil {
		return nil, err
	}
	return &keyOutput{Index: a.backend.View().Index(), Body: NewKey{Key: a.shownKey(&k), Text: text.reveal()}}, nil
}

func (a *API) deleteKey(ctx context.Context, id, tenant string, born uint64) (*done, error) {
	if _, err := a.audited(ctx, &fsm.DropKey{ID: id, Tenant: tenant}, fsm.Audit{Tenant: tenant, Object: id}, born); err != nil {
		return nil, err
	}
	return a.done(), nil
}
