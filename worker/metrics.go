package worker

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	blocks       *prometheus.CounterVec
	alerts       *prometheus.CounterVec
	deliveries   *prometheus.CounterVec
	behind       *prometheus.GaugeVec
	stalled      *prometheus.GaugeVec
	overBudget   *prometheus.CounterVec
	restarts     *prometheus.CounterVec
	judging      *prometheus.HistogramVec
	blockToAlert prometheus.Histogram
	panics       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		blocks:     counter("ozmo_worker_blocks_total", "Blocks judged.", "network"),
		alerts:     counter("ozmo_worker_alerts_total", "Alerts fired.", "network"),
		deliveries: counter("ozmo_worker_deliveries_total", "Deliveries by what became of the first attempts.", "outcome"),
		behind:     gauge("ozmo_worker_behind_positions", "Announcements not judged yet.", "network"),
		stalled:    gauge("ozmo_worker_stalled", "1 while a block to judge is not to be had.", "network"),
		overBudget: counter("ozmo_worker_over_budget_total", "Tenants judged apart because a block cost more than their budget.", "network"),
		restarts:   counter("ozmo_worker_restarts_total", "Times judging failed and began again at the cursor.", "network"),
		judging: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ozmo_worker_judge_seconds", Help: "Matching of one block, without fetching and decoding.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}, []string{"network"}),
		blockToAlert: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_worker_block_to_alert_seconds", Help: "From the watcher's first sight of the block to the receiver's acceptance.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18),
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_worker_panics_total", Help: "Panics while judging, each contained.",
		}),
	}
	reg.MustRegister(m.blocks, m.alerts, m.deliveries, m.behind, m.stalled, m.overBudget, m.restarts, m.judging, m.blockToAlert, m.panics)
	return m
}
