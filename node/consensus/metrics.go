package consensus

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	leader          prometheus.Gauge
	commit          prometheus.Histogram
	outcomes        *prometheus.CounterVec
	bytes           prometheus.Counter
	empty           prometheus.Counter
	refused         prometheus.Counter
	snapshotSeconds prometheus.Gauge
	snapshotBytes   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, g *Group) *metrics {
	m := &metrics{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_is_leader", Help: "1 while this node leads the Raft group.",
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ozmo_consensus_commit_seconds", Help: "From proposing a command to its being applied here.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_consensus_proposals_total", Help: "Commands proposed by this node, by outcome: committed, no-leader, gated or uncertain.",
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_consensus_log_bytes_total", Help: "Size of the commands that this node appended as the leader.",
		}),
		empty: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_consensus_empty_entries_total", Help: "Entries that this node appended as the leader only to tell what is committed.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_consensus_refused_streams_total", Help: "Raft streams closed because they were meant for another server, or for none.",
		}),
		snapshotSeconds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_snapshot_seconds", Help: "How long the last snapshot took to write.",
		}),
		snapshotBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ozmo_consensus_snapshot_bytes", Help: "Size of the last snapshot.",
		}),
	}
	reg.MustRegister(
		m.leader, m.commit, m.outcomes, m.bytes, m.empty, m.refused, m.snapshotSeconds, m.snapshotBytes,
		g.gauge("ozmo_consensus_term", "The current election term.", func() float64 { return float64(g.Term()) }),
		g.gauge("ozmo_consensus_apply_lag_entries", "Entries known to be committed that are not applied here.", func() float64 {
			committed, applied := g.Committed(), g.Applied()
			return float64(committed - min(applied, committed))
		}),
		g.gauge("ozmo_consensus_last_contact_seconds", "Time since the leader was last heard; 0 on the leader, -1 if it never was.", g.lastContact),
	)
	return m
}

// gauge reads from Raft, and is 0 until it runs.
func (g *Group) gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		select {
		case <-g.closed: // and so are the files
			return 0
		default:
		}
		select {
		case <-g.started:
			return read()
		default:
			return 0
		}
	})
}

func (g *Group) lastContact() float64 {
	if g.isLeader() {
		return 0
	}
	last := g.raft.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last).Seconds()
}

// proposed counts what became of a proposal.
func (m *metrics) proposed(err error, took time.Duration) {
	switch {
	case err == nil:
		m.commit.Observe(took.Seconds())
		m.outcomes.WithLabelValues("committed").Inc()
	case errors.Is(err, ErrGated):
		m.outcomes.WithLabelValues("gated").Inc()
	case errors.Is(err, ErrUncertain):
		m.outcomes.WithLabelValues("uncertain").Inc()
	default:
		m.outcomes.WithLabelValues("no-leader").Inc()
	}
}
