package worker

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	blocks       *prometheus.CounterVec
	alerts       *prometheus.CounterVec
	deliveries   *prometheus.CounterVec
	behind       *worst
	stalled      *worst
	overBudget   *prometheus.CounterVec
	crowded      *prometheus.CounterVec
	restarts     *prometheus.CounterVec
	judging      *prometheus.HistogramVec
	blockToAlert prometheus.Histogram
	panics       prometheus.Counter
	cohorts      prometheus.Gauge
	handOvers    prometheus.Histogram
	changes      prometheus.Histogram
	laggards     prometheus.Counter
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
		alerts:     counter("ozmo_worker_alerts_total", "Alerts by what became of them.", "network", "state"),
		deliveries: counter("ozmo_worker_deliveries_total", "Deliveries by what became of the first attempts.", "outcome"),
		behind:     newWorst(gauge("ozmo_worker_behind_positions", "Announcements not judged yet, by the slowest cohort of this node.", "network")),
		stalled:    newWorst(gauge("ozmo_worker_stalled", "1 while a block to judge is not to be had.", "network")),
		overBudget: counter("ozmo_worker_over_budget_total", "Tenants judged apart because a block cost more than their budget.", "network"),
		crowded: counter("ozmo_worker_crowded_total",
			"Tenants judged apart because a block gave them more alerts than go among others', or their quota has filled their outbox.", "network"),
		restarts: counter("ozmo_worker_restarts_total", "Times judging failed and began again at the cursor.", "network"),
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
		cohorts: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_worker_cohorts", Help: "Cohorts that this node judges for.",
		}),
		handOvers: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_worker_hand_over_seconds", Help: "From the sight of a move to the release of its cohort.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_worker_change_seconds", Help: "From the proposal of a tenant's new configuration, by its proposer's clock, until this node has compiled it: it judges what is announced next.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		laggards: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_worker_laggards_total", Help: "Tenants that got a cohort of their own because they were slow.",
		}),
	}
	reg.MustRegister(m.blocks, m.alerts, m.deliveries, m.behind.gauge, m.stalled.gauge, m.overBudget, m.crowded, m.restarts, m.judging, m.blockToAlert,
		m.panics, m.cohorts, m.handOvers, m.changes, m.laggards)
	return m
}

// leave forgets what a cohort said of a network that it judges no more.
func (m *metrics) leave(network, cohort string) {
	m.behind.leave(network, cohort)
	m.stalled.leave(network, cohort)
}

// worst is a gauge per network that shows the greatest value of any cohort.
type worst struct {
	gauge *prometheus.GaugeVec

	mu     sync.Mutex
	values map[string]map[string]float64 // by network, then cohort
}

func newWorst(g *prometheus.GaugeVec) *worst {
	return &worst{gauge: g, values: map[string]map[string]float64{}}
}

func (w *worst) set(network, cohort string, value float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.values[network] == nil {
		w.values[network] = map[string]float64{}
	}
	w.values[network][cohort] = value
	w.show(network)
}

func (w *worst) leave(network, cohort string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.values[network], cohort)
	w.show(network)
}

// show sets the gauge. The caller holds mu.
func (w *worst) show(network string) {
	if len(w.values[network]) == 0 {
		delete(w.values, network)
		w.gauge.DeleteLabelValues(network)
		return
	}
	var most float64
	for _, v := range w.values[network] {
		most = max(most, v)
	}
	w.gauge.WithLabelValues(network).Set(most)
}
