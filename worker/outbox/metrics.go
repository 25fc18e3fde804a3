package outbox

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	waiting  prometheus.Gauge
	dead     prometheus.Gauge
	adopted  prometheus.Counter
	parked   prometheus.Counter
	attempts *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_outbox_waiting_deliveries", Help: "Deliveries still to be made.",
		}),
		dead: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_outbox_dead_letters", Help: "Deliveries that were given up.",
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_outbox_adopted_total", Help: "Deliveries handed over while their first attempts were under way.",
		}),
		parked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_outbox_parked_total", Help: "Attempts still under way when their tenant was handed over.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_outbox_attempts_total", Help: "Attempts from the outbox by how they ended.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(m.waiting, m.dead, m.adopted, m.parked, m.attempts)
	return m
}
