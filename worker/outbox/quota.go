package outbox

import (
	"container/heap"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// QuotaError is why a delivery is not attempted yet: its tenant has sent as much as
// it may for now. Nothing is wrong with the delivery or its receiver.
type QuotaError struct {
	PerHour int
	Again   time.Time // the earliest time at which something may be sent
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("not attempted yet: over the tenant's quota of %d notifications an hour; the next may go at %s",
		e.PerHour, e.Again.UTC().Format(time.RFC3339))
}

// NotBefore is when what it refused is to be looked at again, Unix milliseconds: the
// tenant may be given more before it has something left.
func (e *QuotaError) NotBefore(now time.Time) int64 {
	if latest := now.Add(quotaRecheck); e.Again.After(latest) {
		return latest.UnixMilli()
	}
	return notBefore(e.Again)
}

const (
	// burstPart is what part of an hour's notifications may go at once.
	burstPart = 4
	// quotaRecheck is how long at most a tenant is left alone that is over its quota:
	// it may have been given more.
	quotaRecheck = time.Minute
	// quotaOnItsWay is how long what was refused may take to be in the outbox. Until
	// then nothing newer goes before it.
	quotaOnItsWay = 3 * time.Second
	// keepBuckets is how many buckets there are before full ones are forgotten.
	keepBuckets = 1024
)

// allowances are what tenants of this node may still send, as token buckets. They are
// not in the state: on another node, and after a restart, a tenant begins with a full
// one.
type allowances struct {
	limit func(tenant string) int // notifications an hour; 0: no bound
	log   *slog.Logger

	mu      sync.Mutex
	buckets map[string]*allowance
	sweep   int // at so many, those that are full are forgotten
}

type allowance struct {
	*rate.Limiter
	perHour int
	refused time.Time // when one that was new was refused last
	said    bool      // that the tenant is over its quota
}

func newAllowances(limit func(tenant string) int, log *slog.Logger) *allowances {
	return &allowances{limit: limit, log: log, buckets: map[string]*allowance{}, sweep: keepBuckets}
}

// burstOf is how many notifications may go at once.
func burstOf(perHour int) int { return max(1, (perHour+burstPart-1)/burstPart) }

// of finds a tenant's bucket; nil: it has no bound. The caller holds mu.
func (a *allowances) of(tenant string, now time.Time) *allowance {
	perHour := a.limit(tenant)
	b := a.buckets[tenant]
	if perHour <= 0 {
		if b != nil {
			delete(a.buckets, tenant)
		}
		return nil
	}
	limit, burst := rate.Limit(float64(perHour)/time.Hour.Seconds()), burstOf(perHour)
	switch {
	case b == nil:
		if len(a.buckets) >= a.sweep {
			for id, b := range a.buckets {
				if b.TokensAt(now) >= float64(b.Burst()) {
					delete(a.buckets, id)
				}
			}
			a.sweep = max(keepBuckets, 2*len(a.buckets))
		}
		b = &allowance{Limiter: rate.NewLimiter(limit, burst), perHour: perHour}
		a.buckets[tenant] = b
	case b.perHour != perHour:
		b.SetLimitAt(now, limit)
		b.SetBurstAt(now, burst)
		b.perHour = perHour
	}
	return b
}

// take takes a token. One that is new is refused while others wait, here or on their
// way to the outbox.
func (a *allowances) take(tenant string, now time.Time, isNew, others bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.of(tenant, now)
	if b == nil {
		return nil
	}
	if !(isNew && (others || now.Sub(b.refused) < quotaOnItsWay)) && b.AllowN(now, 1) {
		if !others && b.said && b.TokensAt(now) >= 1 {
			b.said = false
			a.log.Info("the tenant is within its quota of notifications again", "tenant", tenant)
		}
		return nil
	}
	if isNew {
		b.refused = now
	}
	if !b.said {
		b.said = true
		a.log.Warn("the tenant is over its quota of notifications: what is over waits in the outbox", "tenant", tenant, "per_hour", b.perHour)
	}
	return &QuotaError{PerHour: b.perHour, Again: b.again(now)}
}

// again is when there is a token.
func (b *allowance) again(now time.Time) time.Time {
	lack := 1 - b.TokensAt(now)
	if lack <= 0 {
		return now
	}
	return now.Add(time.Duration(math.Ceil(lack / float64(b.Limit()) * float64(time.Second))))
}

// back gives back the token of an attempt that was not made.
func (a *allowances) back(tenant string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.buckets[tenant]; b != nil {
		b.AllowN(now, -1)
	}
}

// Admit takes from a tenant's quota of notifications for a delivery that is attempted
// for the first time. The error is a *QuotaError: it is not to be attempted now, but
// handed over; here it is in turn.
func (o *Outbox) Admit(tenant string) error {
	err := o.quota.take(tenant, time.Now(), true, o.book.waits(tenant))
	if err != nil {
		o.metrics.overQuota.Inc()
	}
	return err
}

// Readmit gives back what Admit took for an attempt that was not made.
func (o *Outbox) Readmit(tenant string) { o.quota.back(tenant, time.Now()) }

// Spend takes from a tenant's quota of notifications for one that was sent because
// somebody asked for it, and would not wait: what comes next waits for longer.
func (o *Outbox) Spend(tenant string) {
	now := time.Now()
	o.quota.mu.Lock()
	defer o.quota.mu.Unlock()
	if b := o.quota.of(tenant, now); b != nil {
		b.ReserveN(now, 1) // there may be less than none left
	}
}

// Allowance is how many notifications a tenant of this node may send now, of how many
// an hour, and when one more. An hour's number of 0 means that there is no bound.
func (o *Outbox) Allowance(tenant string) (left, perHour int, again time.Time) {
	now := time.Now()
	o.quota.mu.Lock()
	defer o.quota.mu.Unlock()
	b := o.quota.of(tenant, now)
	if b == nil {
		return 0, 0, time.Time{}
	}
	left = max(0, int(b.TokensAt(now)))
	if left == 0 {
		again = b.again(now)
	}
	return left, b.perHour, again
}

// OverQuota lists the tenants of which deliveries wait here for their quota, and until
// when.
func (o *Outbox) OverQuota() map[string]*QuotaError {
	now := time.Now()
	o.quota.mu.Lock()
	defer o.quota.mu.Unlock()
	out := map[string]*QuotaError{}
	for tenant, b := range o.quota.buckets {
		if b.said && b.TokensAt(now) < 1 {
			out[tenant] = &QuotaError{PerHour: b.perHour, Again: b.again(now)}
		}
	}
	return out
}

// waits reports whether something of a tenant is due that has not begun.
func (b *book) waits(tenant string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.boxes[tenant]
	return one != nil && len(one.turn) > 0
}

// wait has a tenant's turn come no earlier than at a time, whatever it has that is
// due: nothing of what waits is looked at before.
func (b *book) wait(one *box, until time.Time) {
	one.until = until
	if one.overAt < 0 {
		heap.Push(&b.over, one)
	} else {
		heap.Fix(&b.over, one.overAt)
	}
	b.turn = slices.DeleteFunc(b.turn, func(o *box) bool { return o == one })
}

// resume has those tenants take their turn again that have waited for their quota.
func (b *book) resume(now time.Time) {
	for len(b.over) > 0 && !b.over[0].until.After(now) {
		one := heap.Pop(&b.over).(*box) //nolint:forcetypeassert // it holds nothing else
		if len(one.turn) > 0 {
			b.turn = append(b.turn, one)
		}
	}
}

// boxHeap has the tenant first whose turn comes first.
type boxHeap []*box

func (h boxHeap) Len() int           { return len(h) }
func (h boxHeap) Less(i, k int) bool { return h[i].until.Before(h[k].until) }
func (h boxHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].overAt, h[k].overAt = i, k
}

func (h *boxHeap) Push(x any) {
	one := x.(*box) //nolint:forcetypeassert // it is given nothing else
	one.overAt = len(*h)
	*h = append(*h, one)
}

func (h *boxHeap) Pop() any {
	last := len(*h) - 1
	one := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	one.overAt = -1
	return one
}
