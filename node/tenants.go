package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// tenantAPI is the node as the API for tenants sees it.
type tenantAPI struct{ *Node }

// Propose implements v1.Backend.
func (n tenantAPI) Propose(ctx context.Context, c fsm.Command) (any, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	result, err := n.group.Propose(ctx, c)
	return result, unavailable(err)
}

// CatchUp implements v1.Backend.
func (n tenantAPI) CatchUp(ctx context.Context) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	return n.caughtUp(ctx)
}

// Reach implements v1.Backend.
func (n tenantAPI) Reach(ctx context.Context, index uint64) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	return unavailable(n.group.Reach(ctx, index))
}

// unavailable marks what was not decided by the state.
func unavailable(err error) error {
	for _, kind := range []error{consensus.ErrNoLeader, consensus.ErrGated, consensus.ErrUncertain, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
		}
	}
	return err
}

// PlaceContents implements v1.Backend.
func (n tenantAPI) PlaceContents(ctx context.Context, v *fsm.View, tenant string, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error) {
	m, err := n.place(ctx, v, tenant, m, blobs)
	return m, unavailable(err)
}

// SealAll implements v1.Backend.
func (n tenantAPI) SealAll(_ context.Context, tenant string, list []*spec.Secret) error {
	return n.keeper.SealAll(tenant, list)
}

// SealStored implements v1.Backend.
func (n tenantAPI) SealStored(tenant, name, value string) string {
	return n.keeper.SealStored(tenant, name, value)
}

// SecretSet implements v1.Backend.
func (n tenantAPI) SecretSet(ctx context.Context, tenant, name string) {
	if t, ok := n.state.View().Tenant(tenant); ok {
		n.makeDue(ctx, t, name, time.Now().UnixMilli())
	}
}

// Deliveries implements v1.Backend.
func (n tenantAPI) Deliveries(t *fsm.Tenant, c api.DeliveryChoice) []api.Delivery {
	v := n.state.View()
	var out []api.Delivery
	for _, l := range letters(v, &c) {
		if a := l.content(); l.Born == t.Born && wants(&c, a) {
			out = append(out, n.describe(v, l, a))
		}
	}
	return out
}

// letterOf finds a delivery of a tenant, and not of an earlier one of its name.
func letterOf(v *fsm.View, t *fsm.Tenant, key string) (letter, error) {
	if o, ok := v.FindOutgoing(t.ID, key); ok && o.Born == t.Born {
		return pendingLetter(o), nil
	}
	if d, ok := v.FindDead(t.ID, key); ok && d.Born == t.Born {
		return deadLetter(d), nil
	}
	return letter{}, fmt.Errorf("delivery %s: %w", key, fsm.ErrNotFound)
}

// Delivery implements v1.Backend.
func (n tenantAPI) Delivery(t *fsm.Tenant, key string) (api.DeliveryDetail, error) {
	out := api.DeliveryDetail{History: []api.DeliveryAttempt{}, Silent: []string{}}
	v := n.state.View()
	l, err := letterOf(v, t, key)
	if err == nil {
		n.addContent(v, &out, l)
	}
	return out, err
}

// MayRedeliver implements v1.Backend.
func (n tenantAPI) MayRedeliver(t *fsm.Tenant, key string) error {
	v := n.state.View()
	l, err := letterOf(v, t, key)
	if err == nil && l.retracted(v) {
		err = fmt.Errorf("%w: the alert was retracted since: nothing would take it back after its receiver has it", api.ErrRefused)
	}
	return err
}

// publicHandler is the HTTP port's.
func (n *Node) publicHandler() http.Handler {
	public, tenants := api.Public(n, n.opts.Registry), api.CORS(n.opts.HTTP.CORSOrigins, n.tenants)
	// Not by a ServeMux, which sends who writes odd paths elsewhere.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), "/v1/") {
			tenants.ServeHTTP(w, r)
			return
		}
		public.ServeHTTP(w, r)
	})
}

// tenantPaths are what the API for tenants has, that operators have too, without a
// key.
var tenantPaths = []string{"/v1/tenants", "/v1/networks", "/v1/configuration", "/v1/keys", "/v1/audit", "/v1/usage"}

// isTenantPath reports whether the API for tenants answers an operator.
func isTenantPath(r *http.Request) bool {
	if r.Method == http.MethodPost && (r.URL.Path == "/v1/tenants/place" || r.URL.Path == api.PathMigrate) {
		return false // which node a tenant is on, and where its documents are kept, is the cluster's affair
	}
	for _, path := range tenantPaths {
		if r.URL.Path == path || strings.HasPrefix(r.URL.Path, path+"/") {
			return true
		}
	}
	return false
}

// operatorOf is who commands the cluster: over the local socket, or from afar with a
// certificate.
func operatorOf(ctx context.Context) (name string, afar bool) {
	if by, ok := ctx.Value(actorKey{}).(string); ok { // whom another node has passed on
		return by, true
	}
	if peer, ok := ctx.Value(peerKey{}).(pki.Identity); ok { // without a name where nodes run without certificates
		return "operator:" + peer.Name, true
	}
	return "socket", false
}

func asOperator(r *http.Request) *http.Request {
	who := v1.Actor{Role: fsm.RoleOperator}
	who.Name, who.Afar = operatorOf(r.Context())
	if who.Afar {
		who.Address = r.RemoteAddr
	}
	return v1.As(r, who)
}

// actorKey and auditKey hold who has something done where it is not who connects: the
// name, and the whole entry of the audit log.
type (
	actorKey struct{}
	auditKey struct{}
)

// byOperator proposes an operator's command with its entry in the audit log.
func (n *Node) byOperator(ctx context.Context, c fsm.Command, action, tenant, object string) (any, error) {
	return n.byOperatorTo(ctx, c, action, tenant, object, "", "")
}

// byOperatorTo is byOperator of what was something else before.
func (n *Node) byOperatorTo(ctx context.Context, c fsm.Command, action, tenant, object, before, after string) (any, error) {
	e := fsm.Audit{Tenant: tenant, Role: fsm.RoleOperator.String(), Action: action, Object: object, Before: before, After: after}
	e.Actor, _ = operatorOf(ctx)
	if by, ok := ctx.Value(auditKey{}).(fsm.Audit); ok { // over the API
		e = by
		e.Object = cmp.Or(e.Object, object)
		e.Before, e.After = cmp.Or(e.Before, before), cmp.Or(e.After, after)
	}
	return n.proposeAudited(ctx, c, e)
}

// byFolder proposes what the folder says with its entry in the audit log.
func (n *Node) byFolder(ctx context.Context, c fsm.Command, action, tenant string) (any, error) {
	object := tenant
	if tenant == fsm.Shared {
		object = "the shared networks"
	}
	return n.proposeAudited(ctx, c, fsm.Audit{Tenant: tenant, Actor: "folder", Address: n.opts.Name, Action: action, Object: object})
}

func (n *Node) proposeAudited(ctx context.Context, c fsm.Command, e fsm.Audit) (any, error) {
	e.At = time.Now().UnixMilli()
	entry, err := fsm.NewAudited(e, 0, c)
	if err != nil {
		return nil, err
	}
	return n.group.Propose(ctx, entry)
}
