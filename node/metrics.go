package node

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	watcherRestarts *prometheus.CounterVec
	imports         *prometheus.CounterVec
	tables          prometheus.Gauge
	moves           prometheus.Counter
	imbalance       prometheus.Gauge
	unassigned      prometheus.Gauge
	heartbeats      *prometheus.CounterVec
	able            *prometheus.GaugeVec
	passedOver      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		watcherRestarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_node_watcher_restarts_total", Help: "Times watching a network failed as a whole and began again.",
		}, []string{"network"}),
		tables: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_node_source_refused", Help: "Tenants that keep what they had because the tables of the tenant source are not valid, and 1 more where the tables cannot be read; on the leader.",
		}),
		imports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_node_imports_total", Help: "Configurations read from the folder, by tenant outcome.",
		}, []string{"outcome"}),
		moves: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_node_tenant_moves_total", Help: "Tenants that this node, leading, has assigned to a node.",
		}),
		imbalance: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_node_imbalance", Help: "(max - min) / average of the nodes' tenants, on the leader.",
		}),
		unassigned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_node_unassigned_tenants", Help: "Tenants that nobody judges at the moment, on the leader.",
		}),
		heartbeats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_node_operator_heartbeats_total", Help: "Heartbeats to the operator's address, by outcome.",
		}, []string{"outcome"}),
	}
	m.able = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "ozmo_node_able_nodes", Help: "Nodes that are alive, not drained and have the role, on the leader: with none, that work stands still.",
	}, []string{"role"})
	m.passedOver = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ozmo_node_passed_over_total", Help: "Announcements that this node, leading, has left out for tenants that were too far behind.",
	}, []string{"network"})
	reg.MustRegister(m.watcherRestarts, m.imports, m.tables, m.moves, m.imbalance, m.unassigned, m.heartbeats, m.able, m.passedOver)
	return m
}
