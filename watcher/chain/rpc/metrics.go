package rpc

import "github.com/prometheus/client_golang/prometheus"

// Metrics are shared by the pools of a process.
type Metrics struct {
	calls     *prometheus.CounterVec
	errors    *prometheus.CounterVec
	rotations *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	received  *prometheus.CounterVec
	heads     *prometheus.CounterVec
	gated     *prometheus.CounterVec
}

// NewMetrics registers the metrics of this package. A nil registerer leaves
// them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics { return newMetrics(reg) }

// Forget drops the series of a network that is gone.
func (m *Metrics) Forget(network string) {
	of := prometheus.Labels{"network": network}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.calls, m.errors, m.rotations, m.latency, m.received, m.heads, m.gated} {
		v.DeletePartialMatch(of)
	}
}

func newMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_calls_total", Help: "JSON-RPC calls sent, each element of a batch counted.",
		}, []string{"network", "kind", "method"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_errors_total", Help: "Failed requests to an endpoint, by cause.",
		}, []string{"network", "endpoint", "reason"}),
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_rotations_total", Help: "Requests passed on to another endpoint, by the cause that ended the attempt before.",
		}, []string{"network", "reason"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ozmo_rpc_request_seconds", Help: "Duration of successful HTTP requests, body included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"network", "kind"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_received_bytes", Help: "Bytes of response bodies read.",
		}, []string{"network"}),
		heads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_notifications_total", Help: "Notifications received over websockets.",
		}, []string{"network"}),
		gated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_rpc_quota_wait_seconds_total", Help: "Time that calls have waited since their tenant was over its quota of calls.",
		}, []string{"network"}),
	}
	if reg != nil {
		reg.MustRegister(m.calls, m.errors, m.rotations, m.latency, m.received, m.heads, m.gated)
	}
	return m
}
