package redis

import "github.com/prometheus/client_golang/prometheus"

// Results of requests, as the metric has them.
const (
	resultHit     = "hit"
	resultMiss    = "miss"
	resultCorrupt = "corrupt"   // something else was under the key: a miss
	resultBusy    = "busy"      // too many asked at the same time: a miss
	resultSkipped = "skipped"   // Redis did not answer of late and was not asked
	resultError   = "error"     // it did not answer in time, or with an error
	resultOK      = "ok"        // stored
	resultRefused = "refused"   // it answers, but does not store: full, read-only
	resultLarge   = "too_large" // not stored, see maxValue
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	dropped  prometheus.Counter
	up       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_blockcache_redis_requests_total",
			Help: "Payloads asked for (get) and stored (set), by result.",
		}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ozmo_blockcache_redis_seconds",
			Help:    "Duration of a round trip: one payload (get), or all that were waiting (set).",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"op"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_blockcache_redis_queue_dropped_total",
			Help: "Payloads not stored because too many were waiting.",
		}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_blockcache_redis_up",
			Help: "1 while Redis is used, 0 while it does not answer.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.dropped, m.up)
	}
	return m
}

func (m *metrics) get(result string) { m.requests.WithLabelValues("get", result).Inc() }
func (m *metrics) set(result string, n int) {
	m.requests.WithLabelValues("set", result).Add(float64(n))
}
