package v1

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/ozmo-dev/ozmo/node/api"
)

const requestHeader = "X-Request-Id"

type requestKey struct{}

var requestForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// withRequestID takes the id that a request brings, or makes one.
func withRequestID(r *http.Request) (*http.Request, string) {
	id := r.Header.Get(requestHeader)
	if !requestForm.MatchString(id) {
		id = strings.ToLower(rand.Text()[:16])
	}
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, id)), id
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

type metrics struct {
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	limited  prometheus.Counter
	streams  prometheus.Gauge
	events   prometheus.Counter
	gaps     prometheus.Counter
	turns    prometheus.Histogram
	late     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		seconds: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
			Name: "ozmo_api_request_seconds", Help: "How long requests took, by operation and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation", "status"}),
		failures: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_api_authentication_failures_total", Help: "Requests without a valid key: refused, throttled without looking at the key, or uncertain since this node has not caught up.",
		}, []string{"reason"}),
		limited: promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "ozmo_api_limited_total", Help: "Requests refused since a key or an address sent too many."}),
		streams: promauto.With(reg).NewGauge(prometheus.GaugeOpts{Name: "ozmo_api_streams", Help: "Streams of alerts that are open."}),
		events:  promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "ozmo_api_stream_events_total", Help: "Changes of alerts written to streams."}),
		gaps:    promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "ozmo_api_stream_gaps_total", Help: "Gaps told on streams: a slow reader, or a node that does not answer."}),
		turns: promauto.With(reg).NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_api_turn_seconds", Help: "How long changes of a tenant's documents waited for those of others, and for what was committed before.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		late: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "ozmo_api_changes_repeated_total", Help: "Changes of a tenant's documents that were checked again: another one, out of turn, was quicker.",
		}),
	}
}

// measure is the first of the middlewares.
func (a *API) measure(ctx huma.Context, next func(huma.Context)) {
	start := time.Now()
	next(ctx)
	op := operationOf(ctx)
	if op.streams() && ctx.Status() == http.StatusOK {
		return // how long somebody listens says nothing
	}
	a.metrics.seconds.WithLabelValues(op.id, strconv.Itoa(ctx.Status())).Observe(time.Since(start).Seconds())
}

// patience is how long a request waits for the log index it asks for.
const patience = 5 * time.Second

var errAhead = fmt.Errorf("%w: the node that answers has not come to the log index asked for within %v", api.ErrUnavailable, patience)

// awaitIndex has a request see what its sender has seen or done before: ?index=
// names a log index, which this node may not have reached yet.
func (a *API) awaitIndex(ctx huma.Context, next func(huma.Context)) {
	index, err := strconv.ParseUint(ctx.Query("index"), 10, 64)
	if err == nil && a.backend.View().Index() < index {
		if err := a.reach(ctx.Context(), index); err != nil {
			a.refuse(ctx, err)
			return
		}
	}
	next(ctx)
}

func (a *API) reach(ctx context.Context, index uint64) error {
	held, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.backend.Reach(held, index)
	if err != nil && held.Err() != nil && ctx.Err() == nil {
		return errAhead
	}
	return err
}
