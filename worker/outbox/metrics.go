package outbox

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	adopted  prometheus.Counter
	parked   prometheus.Counter
	attempts *prometheus.CounterVec

	overQuota prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, log Log) *metrics {
	m := &metrics{
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
	m.overQuota = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "ozmo_outbox_over_quota_total", Help: "Deliveries not attempted at once because their tenant was over its quota of notifications an hour.",
	})
	f := &forgotten{log: log}
	reg.MustRegister(m.adopted, m.parked, m.attempts, m.overQuota,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ozmo_outbox_entries", Help: "Deliveries of the cluster still to be made.",
		}, func() float64 { return float64(log.View().OutboxLen()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ozmo_outbox_bytes", Help: "Size of the deliveries of the cluster still to be made.",
		}, func() float64 { return float64(log.View().OutboxBytes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ozmo_outbox_dead_letters", Help: "Deliveries of the cluster that were given up.",
		}, func() float64 { return float64(log.View().DeadLen()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ozmo_outbox_dead_bytes", Help: "Size of the deliveries of the cluster that were given up.",
		}, func() float64 { return float64(log.View().DeadBytes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ozmo_outbox_retractable_bytes", Help: "Size of what the fired ledger of the cluster keeps to retract alerts with.",
		}, func() float64 { return float64(log.View().ContentBytes()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ozmo_outbox_forgotten_total", Help: "Dead letters of the cluster that had to make room for newer ones.",
		}, f.count),
	)
	return m
}

// forgotten counts dead letters that are no more. The state counts by tenant, and
// no longer once a tenant is deleted; a counter must not fall.
type forgotten struct {
	log Log

	mu         sync.Mutex
	last, over uint64 // as the state says; what it has said before and says no more
}

func (f *forgotten) count() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now uint64
	for _, b := range f.log.View().Boxes() {
		now += b.Forgotten
	}
	if now < f.last {
		f.over += f.last - now
	}
	f.last = now
	return float64(f.over + now)
}
