package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
)

// Backend is what the API needs of a node.
type Backend interface {
	View() *fsm.View
	// CatchUp returns when View shows all that was committed before. Errors wrap
	// api.ErrUnavailable.
	CatchUp(ctx context.Context) error
	// Reach returns when View shows what was committed up to a log index, or with ctx.
	// Errors wrap api.ErrUnavailable.
	Reach(ctx context.Context, index uint64) error
	// Turn waits for a turn to change a tenant's documents, and then as CatchUp does, with
	// whose errors it ends. It goes on without a turn where nobody gives any: a change
	// names the version that it replaces, and turns only save trying again. Release
	// gives it back, once.
	Turn(ctx context.Context, tenant string) (release func(), err error)
	// Propose commits a command; when it returns without error, View shows it. Errors
	// are the command's refusals, or wrap api.ErrUnavailable.
	Propose(ctx context.Context, c fsm.Command) (any, error)
	// PlaceContents stores the contents of a tenant's next version where they belong, before
	// it is proposed, and returns its manifest. Errors are those of Propose, or wrap
	// fsm.ErrUnreachable.
	PlaceContents(ctx context.Context, v *fsm.View, tenant string, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error)
	// Audit is what an audit log has from before a log index, newest first, and no
	// more than limit entries; a tenant's, or the cluster's for an empty name. 0 means
	// the newest. Errors wrap fsm.ErrUnreachable.
	Audit(ctx context.Context, tenant string, before uint64, limit int) ([]*fsm.Audit, error)
	// SealAll and SealStored seal what is not to be read from the state.
	SealAll(ctx context.Context, tenant string, list []*spec.Secret) error
	SealStored(tenant, name, value string) string
	// SecretSet makes due what waits for a stored secret.
	SecretSet(ctx context.Context, tenant, name string)
	Status() api.Status
	Ready() []api.Check
	// Deliveries and Delivery tell what the state has of a tenant's deliveries: those
	// that are still to be made and those given up. An earlier tenant's of the same
	// name are not among them. Delivery is refused with fsm.ErrNotFound.
	Deliveries(t *fsm.Tenant, c api.DeliveryChoice) []api.Delivery
	Delivery(t *fsm.Tenant, key string) (api.DeliveryDetail, error)
	// Alerts, Alert and FollowAlerts tell what the nodes' journals have of a tenant's
	// alerts, and what comes. Nodes that do not answer are named. Alert is refused with
	// fsm.ErrNotFound. FollowAlerts begins at since, zero: now; it ends with ctx, and
	// when the node does, which closes the channel.
	Alerts(ctx context.Context, t *fsm.Tenant, q api.AlertQuery) (api.AlertList, error)
	Alert(ctx context.Context, t *fsm.Tenant, id string) (a api.Alert, silent []string, err error)
	FollowAlerts(ctx context.Context, t *fsm.Tenant, since time.Time) (<-chan api.AlertNews, error)
	Operator
	// MayRedeliver refuses what nothing would take back, with api.ErrRefused.
	MayRedeliver(t *fsm.Tenant, key string) error
	// Usage and UsageOfAll tell what tenants have caused in whole hours, as far as the
	// nodes answer; silent are those that do not.
	Usage(ctx context.Context, t *fsm.Tenant, from, to time.Time) (UsageReport, error)
	UsageOfAll(ctx context.Context, from, to time.Time) (all map[string]Consumption, silent []string, err error)
}

// Options are what an API is made of.
type Options struct {
	Backend    Backend
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now
	Rates      Rates
}

// API answers under /v1.
type API struct {
	backend  Backend
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	throttle *throttle
	asking   chan struct{} // taken by whoever asks the leader for keys
	streams  streams
	turns    Turns
	names    names
	mux      *http.ServeMux
	huma     huma.API

	byKey     *limits[string]
	byAddress *limits[netip.Prefix]
}

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

// New makes the API. Nothing runs in the background.
func New(opts Options) *API {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	a := &API{
		backend: opts.Backend, log: opts.Logger, now: opts.Now, metrics: newMetrics(opts.Registerer),
		throttle: newThrottle(opts.Now), asking: make(chan struct{}, certainAtOnce), mux: http.NewServeMux(),
		byKey: newLimits[string](opts.Rates.Key, opts.Now), byAddress: newLimits[netip.Prefix](opts.Rates.Address, opts.Now),
	}
	a.huma = humago.New(a.mux, configuration())
	a.huma.UseMiddleware(a.measure, a.guard, a.checkQuery, a.awaitIndex)
	a.tenantRoutes()
	a.documentRoutes()
	a.configurationRoutes()
	a.versionRoutes()
	a.secretRoutes()
	a.keyRoutes()
	a.auditRoutes()
	a.deliveryRoutes()
	a.backtestRoutes()
	a.usageRoutes()
	a.alertRoutes()
	a.clusterRoutes()
	a.operateRoutes()
	document := sync.OnceValues(a.document)
	a.mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		data, err := document()
		if err != nil {
			http.Error(w, "the document cannot be written", http.StatusInternalServerError) // a mistake in the program, which tests find
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(data) // the peer is gone: nothing to do about it
	})
	a.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(humago.NewContext(&huma.Operation{}, r, w), errNotThere)
	})
	return a
}

func configuration() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "ozmo", Version: "1",
				Description: "Tenants, what they are configured with, and what became of it. See docs/api.md.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key": {Type: "http", Scheme: "bearer", Description: "An API key: ozmo_ID_SECRET."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
}

// ServeHTTP answers a request under /v1. Without As, it must bring a key.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, id := withRequestID(r)
	w.Header().Set(requestHeader, id)
	w.Header().Set("Cache-Control", "no-store")
	// A path with "..", "." or "//" in it is none of the API's: nobody is sent elsewhere.
	if p := r.URL.EscapedPath(); strings.TrimSuffix(p, "/") != path.Clean(p) {
		a.refuse(humago.NewContext(&huma.Operation{}, r, w), errNotThere)
		return
	}
	a.mux.ServeHTTP(w, r)
}

type actionKey struct{}

// register adds an operation of the table, and gives the errors of its handler
// their form.
func register[I, O any](a *API, id string, handler func(context.Context, *I) (*O, error)) {
	o := operationCalled(id)
	defer o.complete(a.huma.OpenAPI())
	huma.Register(a.huma, o.describe(), func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(context.WithValue(ctx, actionKey{}, id), in)
		if err != nil {
			return nil, a.problemOf(ctx, err)
		}
		if page, ok := any(out).(paged); ok {
			if last := page.next(); *last != "" {
				*last = cursor(id, *last)
			}
		}
		return out, nil
	})
}

// OpenAPI is the document that describes the API.
func OpenAPI() ([]byte, error) {
	return New(Options{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}).document()
}

func (a *API) document() ([]byte, error) {
	data, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// audited is a change with its entry in the audit log. Born is that of the entry's
// tenant, 0 where it is new, or of none.
func (a *API) audited(ctx context.Context, c fsm.Command, e fsm.Audit, born uint64) (any, error) {
	e = a.entry(ctx, e)
	entry, err := fsm.NewAudited(e, born, c)
	if err != nil {
		return nil, err
	}
	result, err := a.backend.Propose(ctx, entry)
	if err == nil {
		a.logChange(ctx, &e)
	}
	return result, err
}

// entry fills in who does what.
func (a *API) entry(ctx context.Context, e fsm.Audit) fsm.Audit {
	who := actorOf(ctx)
	e.Action, _ = ctx.Value(actionKey{}).(string)
	e.At, e.Actor, e.Role, e.Address = a.now().UnixMilli(), who.Name, who.Role.String(), who.Address
	return e
}

func (a *API) logChange(ctx context.Context, e *fsm.Audit) {
	a.log.Info("changed over the API", "action", e.Action, "tenant", e.Tenant, "object", e.Object, "actor", e.Actor,
		"address", e.Address, "request", requestID(ctx))
}
