package node

import "fmt"

const (
	maxConcurrency = 1 << 20
	maxRate        = 1e6
)

// check lists what cannot be meant. The smaller bounds may exceed the larger
// ones: the smallest counts.
func (s *Sending) check() (errs []error) {
	for _, f := range []struct {
		flag string
		n    int
	}{
		{"--concurrency-destination", s.PerDestination}, {"--concurrency-tenant", s.PerTenant}, {"--concurrency-node", s.PerNode},
	} {
		if f.n < 0 || f.n > maxConcurrency {
			errs = append(errs, fmt.Errorf("%s %d: want 1 to %d attempts at a time", f.flag, f.n, maxConcurrency))
		}
	}
	for _, f := range []struct {
		flag string
		rate float64
	}{{"--rate-destination", s.DestinationRate}, {"--rate-tenant", s.TenantRate}} {
		if !(f.rate >= 0 && f.rate <= maxRate) { // what is not a number is not, either
			errs = append(errs, fmt.Errorf("%s %v: want more than 0 and at most %v attempts a second", f.flag, f.rate, maxRate))
		}
	}
	return errs
}
