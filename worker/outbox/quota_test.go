package outbox

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// perHour gives the rig's tenant a quota, whatever made it.
func (r *rig) perHour(o *Outbox, n *atomic.Int64) {
	o.quota.mu.Lock()
	defer o.quota.mu.Unlock()
	o.quota.limit = func(string) int { return int(n.Load()) }
}

// settled counts the commands that told of outcomes.
func (r *rig) settled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.settles)
}

// accepted has the receiver accept everything.
func (r *rig) accepted() {
	r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{Status: 200}, nil }
}

// What is over the quota waits in the outbox, in order, and goes as the quota allows;
// meanwhile nothing is written and nothing is lost.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accepted()
		var log strings.Builder
		o, end := r.start(func(opts *Options) { opts.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		var quota atomic.Int64
		quota.Store(12)
		r.perHour(o, &quota)
		began := time.Now()
		for i := range 8 {
			r.handOver("hook", i)
			pass(5100 * time.Millisecond) // the schedule's first pause: 3 at once, then one every five minutes
		}
		if n := len(r.tries()); n != 3 {
			t.Errorf("%d attempts at once, want 3", n)
		}
		over := o.OverQuota()["acme"]
		if over == nil || over.PerHour != 12 || over.Again.Sub(began) > 6*time.Minute {
			t.Errorf("over its quota: %+v", over)
		}
		e, _ := r.state.View().FindOutgoing("acme", keyOf(3))
		if due := o.Due(r.state.View(), e); !due.Equal(over.Again) {
			t.Errorf("due at %v, want %v", due, over.Again)
		}
		settles := r.settled()
		pass(4 * time.Minute)
		if r.settled() != settles || r.state.View().OutboxLen() != 5 {
			t.Errorf("%d commands while all wait, %d in the outbox", r.settled()-settles, r.state.View().OutboxLen())
		}
		pass(3 * time.Hour)
		tries := r.tries()
		if len(tries) != 8 || r.state.View().OutboxLen() != 0 {
			t.Fatalf("%d attempts, %d left", len(tries), r.state.View().OutboxLen())
		}
		for i, a := range tries {
			if a.key != keyOf(i) {
				t.Errorf("attempt %d is not of delivery %d", i, i)
			}
			if i > 3 {
				if pause := a.at.Sub(tries[i-1].at); pause < 5*time.Minute-time.Second || pause > 5*time.Minute+time.Second {
					t.Errorf("attempt %d came %v after the one before", i, pause)
				}
			}
		}
		if len(o.OverQuota()) != 0 || strings.Count(log.String(), "over its quota") != 1 {
			t.Errorf("still over: %v; log:\n%s", o.OverQuota(), log.String())
		}
		end()
	})
}

// What is sent without waiting for the quota is taken from it all the same.
func TestQuotaSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accepted()
		o, end := r.start()
		o.Spend("acme") // there is no quota
		var quota atomic.Int64
		quota.Store(12) // 3 at once, then one every five minutes
		r.perHour(o, &quota)
		for range 4 {
			o.Spend("acme")
		}
		if left, _, again := o.Allowance("acme"); left != 0 || time.Until(again).Round(time.Second) != 10*time.Minute {
			t.Errorf("%d left, more in %v", left, time.Until(again))
		}
		r.handOver("hook", 1)
		pass(9 * time.Minute)
		if n := len(r.tries()); n != 0 {
			t.Errorf("%d attempts", n)
		}
		pass(2 * time.Minute)
		if n := len(r.tries()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		end()
	})
}

// A quota that is raised counts within a minute for what waits already.
func TestQuotaRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accepted()
		o, end := r.start()
		var quota atomic.Int64
		quota.Store(1)
		r.perHour(o, &quota)
		r.handOver("hook", 1, 2, 3)
		pass(time.Minute)
		if n := len(r.tries()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		quota.Store(0)
		pass(quotaRecheck)
		if n := len(r.tries()); n != 3 {
			t.Errorf("%d attempts without a quota, want 3", n)
		}
		end()
	})
}

// Attempts that are not made cost nothing, others of the tenant's attempts do.
func TestQuotaNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var open atomic.Bool
		open.Store(true)
		r.answer = func(*notify.Notification) (notify.Result, error) {
			if open.Load() {
				return notify.Result{RetryAfter: time.Second}, notify.ErrOpen
			}
			return notify.Result{Status: 200}, nil
		}
		o, end := r.start()
		var quota atomic.Int64
		quota.Store(1)
		r.perHour(o, &quota)
		r.handOver("hook", 1)
		pass(30 * time.Second)
		if len(r.tries()) < 5 {
			t.Errorf("%d times asked, want again and again: it costs nothing", len(r.tries()))
		}
		open.Store(false)
		pass(5 * time.Second)
		if left, perHour, again := o.Allowance("acme"); r.state.View().OutboxLen() != 0 || left != 0 || perHour != 1 || again.IsZero() {
			t.Errorf("%d waiting, %d of %d left, again at %v", r.state.View().OutboxLen(), left, perHour, again)
		}
		end()
	})
}

// What is new does not go before what waits.
func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accepted()
		o, end := r.start()
		var quota atomic.Int64
		quota.Store(4)
		r.perHour(o, &quota)
		if err := o.Admit("acme"); err != nil {
			t.Error(err)
		}
		err := o.Admit("acme")
		if over, ok := errors.AsType[*QuotaError](err); !ok || over.PerHour != 4 || !strings.Contains(err.Error(), "quota of 4 notifications an hour") {
			t.Errorf("error %v", err)
		}
		o.Readmit("acme") // as if the first was not made
		if err := o.Admit("acme"); err == nil {
			t.Error("it goes before what is on its way to the outbox")
		}
		c := &fsm.Progress{Cohort: "c", Epoch: r.epoch, Network: "acme/net"}
		for _, n := range []int{1, 2} {
			c.Outbox = append(c.Outbox, outgoing(t, n))
		}
		if _, err := r.apply(c); err != nil {
			t.Fatal(err)
		}
		pass(quotaOnItsWay)
		if n := len(r.tries()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		pass(14*time.Minute + 50*time.Second)
		if err := o.Admit("acme"); err == nil {
			t.Error("it goes before what waits")
		}
		pass(time.Minute)
		if n := len(r.tries()); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
		pass(15 * time.Minute)
		if err := o.Admit("acme"); err != nil {
			t.Errorf("nothing waits any more: %v", err)
		}
		quota.Store(0)
		for range 100 {
			if err := o.Admit("acme"); err != nil {
				t.Error(err)
			}
		}
		end()
	})
}

// outgoing is a delivery that was never attempted.
func outgoing(t *testing.T, n int) fsm.Outgoing {
	d := delivery(n, "hook")
	data, err := alert.EncodeDelivery(d)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	return fsm.Outgoing{Key: d.Key.String(), Tenant: "acme", Trigger: "hook", Delivery: data, At: now, NotBefore: now}
}

// Over any stretch of time, no more is let through than the bucket says, and what asks
// when it was told to is let through.
func TestQuotaProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perHour := rapid.IntRange(1, 10_000).Draw(t, "per hour")
		a := newAllowances(func(string) int { return perHour }, slog.New(slog.DiscardHandler))
		now := time.Unix(1_700_000_000, 0)
		var let []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "asks") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)/int64(perHour)).Draw(t, "pause")))
			err := a.take("acme", now, false, true)
			if over, ok := errors.AsType[*QuotaError](err); ok {
				if !over.Again.After(now) || over.Again.Sub(now) > time.Hour {
					t.Fatalf("again in %v", over.Again.Sub(now))
				}
				if rapid.Bool().Draw(t, "obeys") {
					if now = over.Again; a.take("acme", now, false, true) != nil {
						t.Fatal("refused at the time that was told")
					}
					let = append(let, now)
				}
				continue
			}
			let = append(let, now)
		}
		for i, from := range let {
			for k, to := range let[i:] {
				if most := float64(burstOf(perHour)) + to.Sub(from).Hours()*float64(perHour) + 1; float64(k+1) > most {
					t.Fatalf("%d within %v, want at most %v", k+1, to.Sub(from), most)
				}
			}
		}
	})
}

// What is remembered of tenants is bounded by those that are not at rest.
func TestAllowancesForget(t *testing.T) {
	a := newAllowances(func(string) int { return 3600 }, slog.New(slog.DiscardHandler))
	now := time.Unix(1_700_000_000, 0)
	for i := range 10 * keepBuckets {
		now = now.Add(time.Minute)
		if err := a.take(string(rune('a'+i%26))+time.Duration(i).String(), now, true, false); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.buckets) > 2*keepBuckets {
		t.Errorf("%d buckets are kept", len(a.buckets))
	}
}
