package watcher

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are shared by the watchers of a process. The gauges of a network are
// there only while it is watched here.
type Metrics struct {
	head, tip *prometheus.GaugeVec
	forked    *prometheus.GaugeVec
	blocks    *prometheus.CounterVec
	reorgs    *prometheus.CounterVec
	undone    *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	retries   *prometheus.CounterVec
	waited    *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	stalled   *prometheus.Desc
	age       *prometheus.Desc

	mu      sync.Mutex
	running map[string]*health
}

// NewMetrics registers the metrics of this package. A nil registerer leaves
// them unregistered.
func NewMetrics(reg prometheus.Registerer) *Metrics { return newMetrics(reg) }

// Forget drops the series of a network that is gone.
func (m *Metrics) Forget(network string) {
	of := prometheus.Labels{"network": network}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.head, m.tip, m.forked, m.blocks, m.reorgs, m.undone, m.skipped, m.retries, m.waited, m.latency} {
		v.DeletePartialMatch(of)
	}
}

func newMetrics(reg prometheus.Registerer) *Metrics {
	labels := []string{"network"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(labels[:1:1], more...))
	}
	m := &Metrics{
		head:   gauge("ozmo_watcher_head_height", "Height of the newest head a node reported."),
		tip:    gauge("ozmo_watcher_tip_height", "Height of the newest announced block."),
		forked: gauge("ozmo_watcher_fork_below_window", "1 while a branch forks off below the window and the network is held back."),
		blocks: counter("ozmo_watcher_blocks_total", "Blocks announced."),
		reorgs: counter("ozmo_watcher_reorgs_total", "Roll-backs announced."),
		undone: counter("ozmo_watcher_rolled_back_blocks_total", "Announced blocks that a roll-back undid."),
		skipped: counter("ozmo_watcher_skipped_blocks_total",
			"Blocks left out because max_past_blocks says so."),
		retries: counter("ozmo_watcher_retries_total", "Failed attempts to get a head or announce a block, by cause.", "reason"),
		waited:  counter("ozmo_watcher_backpressure_seconds_total", "Time spent waiting for room in the journal."),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ozmo_watcher_announce_seconds", Help: "From learning of a head to its block being announced.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, labels),
		stalled: prometheus.NewDesc("ozmo_watcher_stalled_seconds",
			"How long a network has been standing still, and why; 0 with an empty reason when it is not.",
			[]string{"network", "reason"}, nil),
		age: prometheus.NewDesc("ozmo_watcher_head_age_seconds",
			"How long ago a network's head was last seen to rise. A node that is stuck, or a chain that is, shows here.",
			labels, nil),
		running: map[string]*health{},
	}
	if reg != nil {
		reg.MustRegister(m, m.head, m.tip, m.forked, m.blocks, m.reorgs, m.undone, m.skipped, m.retries, m.waited, m.latency)
	}
	return m
}

// Describe implements prometheus.Collector for what is computed when asked for.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.stalled
	out <- m.age
}

// Collect implements prometheus.Collector: the time is computed when asked
// for, so that it grows even if nothing moves at all.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for network, h := range m.running {
		if age, ok := h.headAge(time.Now()); ok {
			out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, age.Seconds(), network)
		}
		reason, d := h.stalled(time.Now())
		out <- prometheus.MustNewConstMetric(m.stalled, prometheus.GaugeValue, d.Seconds(), network, reason)
	}
}

// begin counts a network in; the returned function counts it out.
func (m *Metrics) begin(network string, h *health) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[network] = h
	m.forked.WithLabelValues(network).Set(0)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.running[network] != h {
			return // a later watcher of the same network took over
		}
		delete(m.running, network)
		for _, g := range []*prometheus.GaugeVec{m.head, m.tip, m.forked} {
			g.DeleteLabelValues(network)
		}
	}
}
