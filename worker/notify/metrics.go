package notify

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	busy     prometheus.Gauge
	held     *prometheus.CounterVec
	open     prometheus.Gauge
	opened   prometheus.Counter
}

// newMetrics registers the metrics of this package. None carries a tenant or a
// destination: there may be any number of either.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_notify_attempts_total",
			Help: "Attempts to send a notification, by type of trigger and outcome (sent, retryable, permanent).",
		}, []string{"type", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ozmo_notify_attempt_seconds",
			Help:    "Time a destination took for one attempt, waiting for a slot not included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, []string{"type"}),
		busy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_notify_attempts_in_flight",
			Help: "Attempts being made now.",
		}),
		held: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_notify_held_back_total",
			Help: "Attempts that were due and not made, by type of trigger and reason: open (the destination keeps failing), limited (rates, or slots that do not move), stopped (no contact, another node's tenant, or no time left).",
		}, []string{"type", "reason"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_notify_breakers_open",
			Help: "Destinations that keep failing and are left alone now, apart from single attempts that find out whether they work again.",
		}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_notify_breakers_opened_total",
			Help: "Destinations that began to be left alone since they kept failing.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.attempts, m.seconds, m.busy, m.held, m.open, m.opened)
	}
	return m
}
