package node

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	watcherRestarts *prometheus.CounterVec
	imports         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		watcherRestarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_node_watcher_restarts_total", Help: "Times watching a network failed as a whole and began again.",
		}, []string{"network"}),
		imports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_node_imports_total", Help: "Configurations read from the folder, by tenant outcome.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(m.watcherRestarts, m.imports)
	return m
}
