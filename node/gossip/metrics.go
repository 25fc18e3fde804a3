package gossip

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	members     *prometheus.GaugeVec
	falseDeaths prometheus.Counter
	dropped     *prometheus.CounterVec
	unregister  func()
}

// Why packets are dropped.
const (
	dropCluster  = "cluster"  // of another cluster
	dropKey      = "key"      // not encrypted, or with a key unknown here
	dropOverload = "overload" // more than could be handled
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		members: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ozmo_gossip_members", Help: "Nodes known to this one, itself included, by what it believes of them.",
		}, []string{"state"}),
		falseDeaths: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ozmo_gossip_false_deaths_total", Help: "Nodes taken for dead that had never stopped. Many: use the profile mesh or a greater multiplier.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ozmo_gossip_packets_dropped_total", Help: "Packets received and not used, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{dropCluster, dropKey, dropOverload} {
		m.dropped.WithLabelValues(reason)
	}
	var registered []prometheus.Collector
	m.unregister = func() {
		for _, c := range registered {
			reg.Unregister(c)
		}
	}
	for _, c := range []prometheus.Collector{m.members, m.falseDeaths, m.dropped} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		registered = append(registered, c)
	}
	return m, nil
}

func (m *metrics) count(members map[State]int) {
	for _, s := range States {
		m.members.WithLabelValues(s.String()).Set(float64(members[s]))
	}
}
