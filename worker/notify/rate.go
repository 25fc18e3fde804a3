package notify

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Rate is how often attempts may begin: PerSecond on average, Burst at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limits are the rates of a Sender. Rates of 0 take their default.
type Limits struct {
	// Destination is the rate of one tenant to one destination, by type of
	// trigger; what is missing has its DefaultRates.
	Destination map[string]Rate
	Tenant      Rate // of all attempts of one tenant; default 2000 a second
}

// DefaultRates are what the services take, as far as they say so, and what no
// receiver of one's own should be asked to take unasked.
var DefaultRates = map[string]Rate{
	spec.TriggerSlack:     {1, 10},
	spec.TriggerDiscord:   {2.5, 5},
	spec.TriggerTelegram:  {1, 20}, // a chat
	spec.TriggerEmail:     {10, 50},
	spec.TriggerPagerDuty: {2, 60},
	spec.TriggerWebhook:   {1000, 2000},
	spec.TriggerConsole:   {1000, 2000},
}

var (
	telegramBot       = Rate{25, 25} // over all chats
	defaultTenantRate = Rate{2000, 4000}
)

const (
	// patience is how long an attempt waits for its turn where nothing moves: by
	// a rate, or while all slots are taken by attempts that do not end.
	patience = 500 * time.Millisecond
	// furthest bounds how far into the future those who have to come back are
	// spread.
	furthest = 5 * time.Minute
)

// orElse is the rate with what was left out.
func (r Rate) orElse(o Rate) Rate {
	if r.PerSecond <= 0 {
		return o
	}
	if r.Burst <= 0 {
		r.Burst = max(1, int(2*r.PerSecond))
	}
	return r
}

// pace spreads those who were turned away, in the order in which they were:
// each is to come back a step after the one before. Told the same time, all but
// one of them would be turned away again.
type pace struct{ last time.Time }

// next is how long to wait: least, or longer where others come before.
func (p *pace) next(now time.Time, least, step, most time.Duration) time.Duration {
	at := now.Add(least)
	if after := p.last.Add(step); after.After(at) {
		at = after
	}
	if end := now.Add(most); at.After(end) {
		at = end
	}
	p.last = at
	return at.Sub(now)
}

// notNow says that an attempt was not made, and when to try again.
type notNow struct {
	reason error // ErrOpen or ErrLimited
	what   string
	after  time.Duration
}

func (e *notNow) Error() string {
	return fmt.Sprintf("%v: %s; to be tried again in %v", e.reason, e.what, e.after.Round(time.Millisecond))
}

func (e *notNow) Unwrap() error { return e.reason }

// rates holds attempts back where they come too fast.
type rates struct {
	destination map[string]Rate
	tenant      Rate

	mu   sync.Mutex
	keys *recent[endpoint, *bucket]
}

// bucket is one limit in use. A full one is as good as none.
type bucket struct {
	*rate.Limiter
	pace pace
}

func newRates(l Limits, size int) *rates {
	r := &rates{destination: maps.Clone(DefaultRates), tenant: l.Tenant.orElse(defaultTenantRate), keys: newRecent[endpoint, *bucket](size, nil)}
	for kind, given := range l.Destination {
		r.destination[kind] = given.orElse(r.of(kind))
	}
	return r
}

func (r *rates) of(kind string) Rate {
	return r.destination[kind].orElse(DefaultRates[spec.TriggerWebhook])
}

// wait returns when an attempt may begin: soon, or the error is a *notNow.
func (r *rates) wait(ctx context.Context, n *Notification, to endpoint) error {
	delay, err := r.reserve(n, to, time.Now())
	if err != nil {
		return err
	}
	if delay <= 0 {
		return nil
	}
	return wait(ctx, delay)
}

// reserve takes a token of every limit that the attempt falls under, or of none.
func (r *rates) reserve(n *Notification, to endpoint, now time.Time) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys.tidy(func(b *bucket) bool { return b.TokensAt(now) >= float64(b.Burst()) && now.After(b.pace.last) })
	tenant := n.Alert.Tenant
	under := []struct {
		what   string
		bucket *bucket
	}{
		{"of this destination", r.bucket(to, r.of(n.Trigger.Type))},
		{"of this tenant", r.bucket(endpoint{tenant: tenant}, r.tenant)},
	}
	if n.Trigger.Telegram != nil {
		under = append(under, under[0])
		under[2].what, under[2].bucket = "of this bot", r.bucket(endpointOf(n), telegramBot)
	}
	var taken []*rate.Reservation
	var delay time.Duration
	var slowest int
	for i, u := range under {
		t := u.bucket.ReserveN(now, 1)
		taken = append(taken, t)
		if d := t.DelayFrom(now); d > delay {
			delay, slowest = d, i
		}
	}
	if delay <= patience {
		return delay, nil
	}
	for _, t := range taken {
		t.CancelAt(now)
	}
	b := under[slowest].bucket
	step := time.Duration(float64(time.Second) / float64(b.Limit()))
	return 0, &notNow{
		reason: ErrLimited, after: b.pace.next(now, delay, step, furthest),
		what: fmt.Sprintf("the rate %s, %g a second, is used up", under[slowest].what, float64(b.Limit())),
	}
}

func (r *rates) bucket(key endpoint, limit Rate) *bucket {
	b, ok := r.keys.find(key)
	if !ok {
		b = &bucket{Limiter: rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst)}
		r.keys.add(key, b)
	}
	return b
}
