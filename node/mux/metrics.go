package mux

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

type metrics struct {
	accepted     *prometheus.CounterVec
	rejected     *prometheus.CounterVec
	dialFailures *prometheus.CounterVec
	connections  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_mux_accepted_total", Help: "Connections to the cluster port that were accepted, by stream.",
		}, []string{"stream"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_mux_rejected_total", Help: "Connections to the cluster port that were refused or went away, by reason.",
		}, []string{"reason"}),
		dialFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_mux_dial_failures_total", Help: "Failures to connect to another node, by stream.",
		}, []string{"stream"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_mux_connections", Help: "Connections with other nodes and operators that are open, in both directions.",
		}),
	}
	for _, r := range reasons {
		m.rejected.WithLabelValues(r)
	}
	for _, t := range tags {
		m.accepted.WithLabelValues(t.String())
		m.dialFailures.WithLabelValues(t.String())
	}
	if reg != nil {
		reg.MustRegister(m.accepted, m.rejected, m.dialFailures, m.connections)
	}
	return m
}

// Of each reason, so many warnings are logged at once, and later one per
// period: a flood of one kind does not hide the others.
const (
	warnBurst = 5
	warnEvery = 10 * time.Second
)

// warnings logs at a bounded rate.
type warnings struct {
	logger *slog.Logger

	mu       sync.Mutex
	byReason map[string]*warned
}

type warned struct {
	limit      *rate.Limiter
	suppressed int
}

func newWarnings(logger *slog.Logger) *warnings {
	return &warnings{logger: logger, byReason: map[string]*warned{}}
}

func (w *warnings) warn(reason, msg string, args ...any) {
	w.mu.Lock()
	r := w.byReason[reason]
	if r == nil {
		r = &warned{limit: rate.NewLimiter(rate.Every(warnEvery), warnBurst)}
		w.byReason[reason] = r
	}
	allowed := r.limit.Allow()
	suppressed := r.suppressed
	if allowed {
		r.suppressed = 0
	} else {
		r.suppressed++
	}
	w.mu.Unlock()
	if !allowed {
		return
	}
	if suppressed > 0 {
		args = append(args, "not_logged_before", suppressed)
	}
	w.logger.Warn(msg, args...)
}
