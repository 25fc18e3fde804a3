package postgres

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reads     *prometheus.CounterVec
	auditLost prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Store) *metrics {
	m := &metrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_postgres_reads_total", Help: "Contents read from the tenant store, by where they came from: cache or database.",
		}, []string{"from"}),
		auditLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_postgres_audit_lost_total", Help: "Entries of audit logs that were gone before they could be copied to PostgreSQL.",
		}),
	}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ozmo_postgres_up", Help: "1 while the tenant store in PostgreSQL answers this node and takes changes.",
	}, func() float64 {
		if s.Err() != nil {
			return 0
		}
		return 1
	})
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ozmo_postgres_cache_bytes", Help: "Contents of the tenant store that are kept in memory.",
	}, func() float64 { return float64(s.cache.size()) })
	reg.MustRegister(m.reads, m.auditLost, up, bytes)
	return m
}
