package consensus

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	leader          prometheus.Gauge
	commit          prometheus.Histogram
	bytes           prometheus.Counter
	snapshotSeconds prometheus.Gauge
	snapshotBytes   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_is_leader", Help: "1 while this node leads the Raft group.",
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_consensus_commit_seconds", Help: "From proposing a command to its being applied here.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_consensus_log_bytes_total", Help: "Size of the commands proposed by this node.",
		}),
		snapshotSeconds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_snapshot_seconds", Help: "How long the last snapshot took to write.",
		}),
		snapshotBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_snapshot_bytes", Help: "Size of the last snapshot.",
		}),
	}
	reg.MustRegister(m.leader, m.commit, m.bytes, m.snapshotSeconds, m.snapshotBytes)
	return m
}
