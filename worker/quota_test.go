package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// What is over a tenant's quota of notifications is not attempted, but handed over
// with the time at which it may be; the cursor and the others go on.
func TestOverQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("beta", simple())
		var log strings.Builder
		p := r.prepare(-1, captureLog(&log))
		var again time.Time
		left := 2
		p.quota = func(tenant string) error {
			if tenant != "acme" || left > 0 {
				if tenant == "acme" {
					left--
				}
				return nil
			}
			again = time.Now().Add(30 * time.Second).Truncate(time.Millisecond)
			return &outbox.QuotaError{PerHour: 120, Again: again}
		}
		p.run()
		r.extend("net", 4)
		r.drained("net")
		r.wantHeights("beta", "m", 100, 101, 102)
		r.wantHeights("acme", "m", 100, 101)
		v := r.state.View()
		n := 0
		for o := range v.OutboxOf("acme") {
			n++
			if o.Attempts != 0 || o.NotBefore != again.UnixMilli() || !strings.Contains(o.Reason, "quota of 120 notifications an hour") {
				t.Errorf("handed over as %+v", o)
			}
		}
		if n != 1 || v.OutboxLen() != 1 || v.DeadLen() != 0 {
			t.Errorf("%d of %d in the outbox, %d dead", n, v.OutboxLen(), v.DeadLen())
		}
		if strings.Contains(log.String(), "msg=delivery") {
			t.Errorf("each of them is logged:\n%s", log.String())
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
