package blockcache

import "github.com/prometheus/client_golang/prometheus"

// Metrics are shared by the caches and fetchers of a process.
type Metrics struct {
	hits, misses, loads *prometheus.CounterVec
	evictions           prometheus.Counter
	bytes               prometheus.Gauge
}

// NewMetrics registers the metrics of this package. A nil registerer leaves
// them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics { return newMetrics(reg) }

// Forget drops the series of a network that is gone.
func (m *Metrics) Forget(network string) {
	of := prometheus.Labels{"network": network}
	for _, v := range []*prometheus.CounterVec{m.hits, m.misses, m.loads} {
		v.DeletePartialMatch(of)
	}
}

func newMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		hits:   counter("ozmo_blockcache_hits_total", "Payloads found in the cache.", "network"),
		misses: counter("ozmo_blockcache_misses_total", "Payloads not found in the cache.", "network"),
		loads:  counter("ozmo_blockcache_loads_total", "Payloads loaded because the cache did not have them.", "network", "outcome"),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_blockcache_evictions_total", Help: "Payloads dropped to make room.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_blockcache_size_bytes", Help: "Bytes of the payloads in memory, bookkeeping included.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.hits, m.misses, m.loads, m.evictions, m.bytes)
	}
	return m
}
