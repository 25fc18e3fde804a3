package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Health answers whether a node lives and whether it is ready for work.
type Health interface {
	Live() []Check
	Ready() []Check
}

// Operator is what the local socket offers, and the cluster port to those with
// an operator's certificate.
type Operator interface {
	Cluster
	Certificates
	StoredSecrets
	Replayer
	TriggerTester
	Deliverer
	Status() Status
	Coverage(tenant, network string, from, to uint64) (Coverage, error)
	Verify(ctx context.Context, tenant, network string, from, to uint64, progress func(Progress)) (*Verification, error)
	Reload(ctx context.Context) (Reloaded, error)
}

// Cluster is what an operator does with the cluster.
type Cluster interface {
	Join(ctx context.Context, j Join, step func(string)) (*Joined, error)
	CreateToken(ctx context.Context, ttl time.Duration) (Token, error)
	DrainNode(ctx context.Context, name string, drain bool) error
	RemoveNode(ctx context.Context, name string) error
	MoveLease(ctx context.Context, m LeaseMove) error
	PlaceTenant(ctx context.Context, p Placement) error
	Migrate(ctx context.Context, m Migration) (Migrated, error)
	Rebalance(ctx context.Context, dryRun bool) (Rebalance, error)
	Keyring(ctx context.Context) (Keyring, error)
	// ChangeKeyring installs a new key ("install", id empty), or puts one in use
	// ("use"), or takes one away ("remove").
	ChangeKeyring(ctx context.Context, change, id string) (Keyring, error)
	// Backup writes an archive of all that was committed, or, with stale, of what
	// the node has of it.
	Backup(ctx context.Context, w io.Writer, stale bool) error
	Restore(ctx context.Context, r io.Reader, incomplete bool) (Restored, error)
}

var (
	// ErrBadRequest marks what the caller has to mend.
	ErrBadRequest = errors.New("bad request")
	// ErrRefused marks what the cluster's present state does not allow.
	ErrRefused = errors.New("refused")
	// ErrUnavailable marks what may work later.
	ErrUnavailable = errors.New("not possible now")
)

// Public is the handler for the HTTP port.
func Public(h Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", checks(h.Live))
	mux.HandleFunc("GET /readyz", checks(h.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// checks answers with one line per check; 503 when any is not in order.
func checks(list func() []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		status, body := http.StatusOK, ""
		for _, c := range list() {
			if c.Err != nil && c.Minor {
				body += fmt.Sprintf("[~]%s: %v\n", c.Name, c.Err)
				continue
			}
			if c.Err != nil {
				status = http.StatusServiceUnavailable
				body += fmt.Sprintf("[-]%s: %v\n", c.Name, c.Err)
				continue
			}
			body += fmt.Sprintf("[+]%s ok\n", c.Name)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the peer is gone: nothing to do about it
	}
}

// Local is the handler for the local socket.
func Local(h Health, op Operator, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", Public(h, metrics))
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, op.Status(), nil) })
	mux.HandleFunc("GET /v1/coverage", func(w http.ResponseWriter, r *http.Request) {
		q, err := readRange(r)
		if err != nil {
			answer(w, nil, err)
			return
		}
		c, err := op.Coverage(q.tenant, q.network, q.from, q.to)
		answer(w, c, err)
	})
	mux.HandleFunc("POST /v1/coverage/verify", func(w http.ResponseWriter, r *http.Request) { verify(w, r, op) })
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		done, err := op.Reload(r.Context())
		answer(w, done, err)
	})
	clusterRoutes(mux, op)
	operatorRoutes(mux, op)
	secretRoutes(mux, op)
	replayRoutes(mux, op)
	triggerRoutes(mux, op)
	deliveryRoutes(mux, op)
	return mux
}

type heightRange struct {
	tenant, network string
	from, to        uint64
}

func readRange(r *http.Request) (heightRange, error) {
	q := r.URL.Query()
	out := heightRange{tenant: q.Get("tenant"), network: q.Get("network")}
	for name, to := range map[string]*uint64{"from": &out.from, "to": &out.to} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return out, fmt.Errorf("%w: %s=%q is no block height", ErrBadRequest, name, text)
		}
		*to = n
	}
	if out.tenant == "" || out.network == "" {
		return out, fmt.Errorf("%w: tenant and network are required", ErrBadRequest)
	}
	return out, nil
}

// verify streams its progress, one JSON object a line.
func verify(w http.ResponseWriter, r *http.Request, op Operator) {
	q, err := readRange(r)
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	said := time.Time{}
	say := func(e Event) {
		_ = enc.Encode(e) // the peer is gone: its context ends the work
		_ = flush.Flush()
	}
	result, err := op.Verify(r.Context(), q.tenant, q.network, q.from, q.to, func(p Progress) {
		if now := time.Now(); now.Sub(said) > 100*time.Millisecond {
			said = now
			say(Event{Progress: &p})
		}
	})
	if err != nil {
		say(Event{Error: err.Error()})
		return
	}
	say(Event{Result: result})
}

// problem is an error in the form of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// statuses maps errors to HTTP. What is not in it is the node's own fault.
var statuses = []struct {
	err    error
	status int
}{
	{ErrBadRequest, http.StatusBadRequest},
	{fsm.ErrNotFound, http.StatusNotFound},
	{fsm.ErrConflict, http.StatusConflict},
	{fsm.ErrTooMany, http.StatusConflict},
	{ErrRefused, http.StatusConflict},
	{fsm.ErrRemoved, http.StatusForbidden},
	{fsm.ErrUnreachable, http.StatusServiceUnavailable},
	{ErrUnavailable, http.StatusServiceUnavailable},
	{fsm.ErrTokenUnknown, http.StatusForbidden},
	{fsm.ErrTokenExpired, http.StatusForbidden},
	{fsm.ErrTokenUsed, http.StatusForbidden},
	{context.Canceled, http.StatusServiceUnavailable},
}

// Refuse answers with an error as a problem of RFC 9457.
func Refuse(w http.ResponseWriter, err error) { answer(w, nil, err) }

func answer(w http.ResponseWriter, v any, err error) {
	status, kind := http.StatusOK, "application/json"
	if err != nil {
		status, kind = http.StatusInternalServerError, "application/problem+json"
		for _, s := range statuses {
			if errors.Is(err, s.err) {
				status = s.status
				break
			}
		}
		v = problem{Title: http.StatusText(status), Status: status, Detail: err.Error()}
	}
	w.Header().Set("Content-Type", kind)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer is gone: nothing to do about it
}
