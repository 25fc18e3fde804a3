package v1

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Actor is who asks.
type Actor struct {
	Name    string   // as the audit log shows it: "key:ID (name)", "operator:NAME", "socket"
	Role    fsm.Role // what may be done
	Key     string   // id of the key; empty: none was asked for
	Tenant  string   // whose key it is; empty: the cluster's
	Born    uint64   // of that tenant
	Address string   // it comes from
	// Afar is an operator with a certificate: what would outlast the certificate is
	// not made for them.
	Afar bool
}

type actorKey struct{}

// As has a request done for somebody whom the caller vouches for: no key is asked
// for.
func As(r *http.Request, who Actor) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), actorKey{}, who))
}

func actorOf(ctx context.Context) Actor {
	who, _ := ctx.Value(actorKey{}).(Actor)
	return who
}

var (
	errNoKey     = errors.New("a valid API key is needed: send it as 'Authorization: Bearer ozmo_...'")
	errThrottled = errors.New("too many failures with this key from this address: wait before trying again")
	errNotThere  = errors.New(NothingForKey)
)

// NothingForKey is the detail of problems about what is not there for a key, whether
// or not it is there for others.
const NothingForKey = "there is no such thing for this key"

// errRole refuses what takes a greater role, within the bearer's own tenant.
type errRole struct{ has, needs fsm.Role }

func (e *errRole) Error() string {
	return fmt.Sprintf("this takes a key of role %s, this one is of role %s", e.needs, e.has)
}

// guard finds out who asks and refuses what they may not do, before anything of the
// request but its headers and path is looked at.
func (a *API) guard(ctx huma.Context, next func(huma.Context)) {
	op := operationOf(ctx)
	who, ok := ctx.Context().Value(actorKey{}).(Actor)
	if !ok {
		var err error
		who, err = a.authenticate(ctx)
		if err = a.limit(ctx, who, err); err != nil {
			a.refuse(ctx, err)
			return
		}
		ctx = huma.WithValue(ctx, actorKey{}, who)
	}
	if err := allowed(who, op, ctx.Param("tenant")); err != nil {
		a.refuse(ctx, err)
		return
	}
	next(ctx)
}

func operationOf(ctx huma.Context) *operation {
	op, _ := ctx.Operation().Metadata["operation"].(*operation)
	return op
}

// allowed refuses an operation: as if nothing was there on what is another
// tenant's, and for the role where it is the bearer's own or the cluster's.
func allowed(who Actor, op *operation, tenant string) error {
	if op.ofTenant() && who.Tenant != fsm.Shared && who.Tenant != tenant {
		return errNotThere
	}
	if who.Role < op.least {
		return &errRole{who.Role, op.least}
	}
	return nil
}

// authenticate finds whose the key is that a request brings.
func (a *API) authenticate(ctx huma.Context) (Actor, error) {
	scheme, text, _ := strings.Cut(ctx.Header("Authorization"), " ")
	given, wellFormed := parseKeyText(strings.TrimSpace(text))
	who := throttled{source(ctx.RemoteAddr()), given.id}
	if wait, closed := a.throttle.closed(who); closed {
		a.metrics.failures.WithLabelValues("throttled").Inc()
		return Actor{}, later(errThrottled, wait)
	}
	wellFormed = wellFormed && strings.EqualFold(scheme, "bearer")
	k, valid := a.valid(given)
	if wellFormed && !valid {
		if err := a.certain(ctx.Context()); err != nil {
			a.metrics.failures.WithLabelValues("uncertain").Inc()
			return Actor{}, err
		}
		k, valid = a.valid(given)
	}
	if !wellFormed || !valid {
		a.throttle.failed(who)
		a.metrics.failures.WithLabelValues("refused").Inc()
		return Actor{}, errNoKey
	}
	name := "key:" + k.ID
	if k.Name != "" {
		name += " (" + k.Name + ")"
	}
	role := k.Role
	if k.Tenant != "" {
		role = min(role, fsm.RoleOwner) // whatever a tenant's key says
	}
	return Actor{Name: name, Role: role, Key: k.ID, Tenant: k.Tenant, Born: k.Born, Address: ctx.RemoteAddr()}, nil
}

// valid finds the key that is given, as far as this node knows. What is not there is
// compared as what is.
func (a *API) valid(given keyText) (*fsm.Key, bool) {
	k, known := a.backend.View().Key(given.id)
	if !known {
		k = new(fsm.Key)
	}
	hash := given.hash()
	same := subtle.ConstantTimeCompare(hash[:], k.Hash[:]) == 1
	return k, known && same && !k.Expired(a.now().UnixMilli())
}

// tenant finds the tenant of a path for who asks. One that has got the name since
// the key was checked is another.
func tenant(ctx context.Context, v *fsm.View, id string) (*fsm.Tenant, error) {
	who := actorOf(ctx)
	t, ok := v.Tenant(id)
	if !ok || id == fsm.Shared || who.Tenant != "" && who.Born != t.Born {
		return nil, fmt.Errorf("tenant %q: %w", id, fsm.ErrNotFound)
	}
	return t, nil
}

// caughtUp is tenant in a view that shows all that was committed before.
func (a *API) caughtUp(ctx context.Context, id string) (*fsm.View, *fsm.Tenant, error) {
	if err := a.backend.CatchUp(ctx); err != nil {
		return nil, nil, err
	}
	v := a.backend.View()
	t, err := tenant(ctx, v, id)
	return v, t, err
}
