package fsm

import (
	"maps"
	"slices"
)

func (m *model) announce(c *Announce) error {
	n, ok := m.nets[c.Network]
	if !ok {
		return ErrNotFound
	}
	if n.lease.Holder == "" || n.lease.Epoch != c.Epoch {
		return ErrStaleEpoch
	}
	try := n.clone()
	for _, e := range c.Entries {
		e.Position, e.Index = try.next(), m.index
		if !try.step(e) {
			return ErrConflict
		}
	}
	m.nets[c.Network] = try
	return nil
}

func (n *modelNet) clone() *modelNet {
	c := *n
	c.log, c.chain = slices.Clone(n.log), slices.Clone(n.chain)
	c.ends = slices.Clone(n.ends)
	c.due, c.anchors = maps.Clone(n.due), maps.Clone(n.anchors)
	for d := range c.judged {
		c.judged[d] = maps.Clone(n.judged[d])
	}
	return &c
}

// step appends one announcement, or reports that it does not follow.
func (n *modelNet) step(e Entry) bool {
	tip, begun := n.tip()
	var due [depths][]BlockRef
	switch e.Kind {
	case Extend:
		if n.gap != 0 && e.Ref.Height != n.gap+1 {
			return false
		}
		if n.gap == 0 && begun && (e.Ref.Height != tip.Height+1 || e.Parent != tip.Hash) {
			return false
		}
		if !begun || n.gap != 0 {
			n.first = e.Ref.Height
		}
		n.gap = 0
		n.chain = append(n.chain, e.Ref)
		n.low = max(n.low, len(n.chain)-n.window())
		for d := range due {
			for _, r := range n.chain {
				if r.Height+uint64(d) <= e.Ref.Height && !n.judged[d][r] && !n.anchors[r] {
					n.judged[d][r] = true
					due[d] = append(due[d], r)
				}
			}
		}
	case Rollback:
		window := n.chain[n.low:]
		at := slices.Index(window, e.Ref)
		anchor := at < 0 && begun && n.first > 0 && e.Ref.Height == n.first-1 && window[0].Height <= n.first
		if n.gap != 0 || at < 0 && !anchor {
			return false
		}
		for len(n.chain) > 0 {
			dead := n.chain[len(n.chain)-1]
			if dead.Height < e.Ref.Height || dead == e.Ref {
				break
			}
			for d := range n.judged {
				delete(n.judged[d], dead)
			}
			n.chain = n.chain[:len(n.chain)-1]
		}
		if e.Ref.Height+1 < n.first {
			n.first = 0
		}
		if anchor {
			if last, ok := n.tip(); !ok || last != e.Ref {
				n.chain = append(n.chain, e.Ref)
			}
			n.anchors[e.Ref] = true
			n.low = min(n.low, len(n.chain)-1)
		}
	case Skip:
		if n.gap != 0 || e.Ref.Height < e.From || begun && e.From != tip.Height+1 {
			return false
		}
		n.gap = e.Ref.Height
	default:
		return false
	}
	n.start = nil
	n.due[e.Position] = due
	n.log = append(n.log, e)
	return true
}

func (m *model) progress(c *Progress) error {
	if cohort, ok := m.cohorts[c.Cohort]; !ok || cohort.Epoch != c.Epoch || cohort.Node == "" {
		return ErrStaleEpoch
	}
	n, ok := m.nets[c.Network]
	if !ok {
		return ErrNotFound
	}
	at := [2]string{c.Network, c.Cohort}
	cursor := m.cursors[at]
	moves := cursor != nil && cursor.active() && c.To > cursor.position
	if moves && c.To >= n.next() {
		return ErrConflict
	}
	for _, f := range c.Fired {
		m.recordFired(f)
	}
	for _, o := range c.Outbox {
		m.handOver(o)
	}
	for _, d := range c.Dead {
		if !m.succeeded(d.Tenant, d.Born) {
			m.bury(d)
		}
	}
	if moves {
		for p := cursor.position + 1; p <= c.To; p++ {
			cursor.told[p] = slices.ContainsFunc(c.Superseded, func(s Span) bool { return s.From <= p && p <= s.To })
		}
		cursor.position = c.To
		m.retire(c.Network)
	}
	return nil
}
