package backtest

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

type metrics struct {
	blocks  *prometheus.CounterVec
	calls   prometheus.Counter
	seconds prometheus.Counter
	running prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		blocks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_backtest_blocks_total", Help: "Blocks that this node has judged for backtests, by where they came from: cache or chain.",
		}, []string{"from"}),
		calls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_backtest_calls_total", Help: "Calls to networks' endpoints that blocks for this node's backtests have taken.",
		}),
		seconds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_backtest_judging_seconds_total", Help: "Time that this node has spent judging for backtests.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_backtest_parts", Help: "Parts of backtests that this node is judging.",
		}),
	}
	reg.MustRegister(m.blocks, m.calls, m.seconds, m.running)
	return m
}

func (m *metrics) note(c *fsm.BacktestCounts) {
	m.blocks.WithLabelValues("chain").Add(float64(c.Fetched))
	m.blocks.WithLabelValues("cache").Add(float64(c.Blocks - c.Fetched))
	m.calls.Add(float64(c.Calls))
	m.seconds.Add(float64(c.Micros) / 1e6)
}
