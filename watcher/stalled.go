package watcher

import "time"

// Stalled tells why a network that is watched here stands still, and for how
// long; reason is empty when it does not, ok is false when it is not watched here.
func (m *Metrics) Stalled(network string) (reason string, lasting time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.running[network]
	if !ok {
		return "", 0, false
	}
	reason, lasting = h.stalled(time.Now())
	return reason, lasting, true
}
