package notify

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

func TestBreaker(t *testing.T) {
	type step struct {
		at    time.Duration // since the beginning
		wait  time.Duration // for a pass; 0: one is given
		v     verdict       // of the attempt, made at once; 0: it goes on
		after time.Duration // Retry-After
	}
	fail := func(at time.Duration) step { return step{at: at, v: fails} }
	five := []step{fail(0), fail(1), fail(2), fail(3), fail(4)}
	const s, m = time.Second, time.Minute
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"works", []step{{v: works}, {v: works}}},
		{"four failures", append(five[:4:4], step{v: works}, fail(0), fail(0), fail(0), fail(0), step{v: works})},
		{"five failures", append(five[:5:5], step{at: 4, wait: 10 * s}, step{at: 9 * s, wait: s + 4})},
		{"what is unclear counts for nothing", append(five[:4:4], step{at: 4, v: unclear}, fail(5), step{at: 5, wait: 10 * s})},
		{"a probe that works", append(five[:5:5], step{at: 10*s + 4, v: works}, fail(11*s), fail(11*s), fail(11*s), fail(11*s), step{at: 11 * s, v: works})},
		{"one probe at a time", append(five[:5:5], step{at: 11 * s}, step{at: 11 * s, wait: s}, step{at: 12 * s, wait: s})},
		{"an unclear probe", append(five[:5:5], step{at: 11 * s, v: unclear}, step{at: 11 * s, v: works}, step{at: 11 * s, v: works})},
		{"doubling", append(
			five[:5:5],
			fail(10*s+4), step{at: 10*s + 4, wait: 20 * s},
			fail(30*s+4), step{at: 30*s + 4, wait: 40 * s},
			fail(70*s+4), step{at: 70*s + 4, wait: 80 * s},
			fail(150*s+4), step{at: 150*s + 4, wait: 160 * s},
			fail(310*s+4), step{at: 310*s + 4, wait: 5 * m},
			fail(610*s+4), step{at: 610*s + 4, wait: 5 * m},
			step{at: 910*s + 4, v: works},
			fail(911*s), fail(911*s), fail(911*s), fail(911*s), fail(911*s), step{at: 911 * s, wait: 10 * s},
		)},
		{"asked to wait longer", append(five[:4:4], step{at: 4, v: fails, after: 3 * m}, step{at: 4, wait: 3 * m})},
		{"asked to wait less", append(five[:4:4], step{at: 4, v: fails, after: s}, step{at: 4, wait: 10 * s})},
		{"asked to wait for days", append(five[:4:4], step{at: 4, v: fails, after: 100 * time.Hour}, step{at: 4, wait: time.Hour})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Unix(1_700_000_000, 0)
			b := newBreakers(10, newMetrics(nil))
			var key endpoint
			for i, step := range tc.steps {
				now := start.Add(step.at)
				// As if nobody had been turned away before.
				if one, ok := b.keys.find(key); ok {
					one.pace = pace{}
				}
				p, wait := b.begin(key, now, false)
				if wait != step.wait {
					t.Fatalf("step %d, %v: to wait %v, want %v", i, step.at, wait, step.wait)
				}
				if wait == 0 && step.v != 0 {
					b.end(key, now, p, step.v, step.after)
				}
			}
		})
	}
}

// Attempts that began before a breaker opened do not make it open for longer.
func TestBreakerIgnoresWhatBeganBefore(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	b := newBreakers(10, newMetrics(nil))
	var key endpoint
	var passes []pass
	for range 8 {
		p, _ := b.begin(key, now, false)
		passes = append(passes, p)
	}
	for _, p := range passes {
		b.end(key, now, p, fails, 0)
	}
	if wait, doubt := b.look(key, now); wait != 10*time.Second || !doubt {
		t.Errorf("to wait %v, doubt %t", wait, doubt)
	}
	late, _ := b.begin(endpoint{}, now, false) // no pass: it is open
	b.end(key, now, late, works, 0)
	if wait, _ := b.look(key, now.Add(9*time.Second)); wait == 0 {
		t.Error("closed by an attempt that began before")
	}
	b.end(key, now, passes[0], fails, time.Minute)
	if wait, _ := b.look(key, now.Add(30*time.Second)); wait < 30*time.Second {
		t.Errorf("to wait %v, want what the destination asked for", wait)
	}
}

func TestBreakersAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	m := newMetrics(nil)
	b := newBreakers(3, m)
	key := func(i int) endpoint { return endpoint{tenant: fmt.Sprint(i)} }
	for i := range 5 {
		for range breakerStreak {
			p, _ := b.begin(key(i), now, false)
			b.end(key(i), now, p, fails, 0)
		}
	}
	if len(b.keys.entries) != 3 || b.keys.order.Len() != 3 || testutil.ToFloat64(m.open) != 3 || testutil.ToFloat64(m.opened) != 5 {
		t.Errorf("%d kept, gauge %v, counter %v", len(b.keys.entries), testutil.ToFloat64(m.open), testutil.ToFloat64(m.opened))
	}
	if wait, doubt := b.look(key(0), now); wait != 0 || doubt {
		t.Error("the oldest was kept")
	}
	// Those that nobody asks for are forgotten.
	_, _ = b.begin(key(9), now.Add(breakerForgets+time.Second), false)
	if len(b.keys.entries) != 0 || testutil.ToFloat64(m.open) != 0 {
		t.Errorf("%d kept, gauge %v", len(b.keys.entries), testutil.ToFloat64(m.open))
	}
}

// However attempts overlap and end, an open breaker lets nobody pass, a
// half-open one a single attempt, and one that works again is forgotten.
func TestBreakerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		m := newMetrics(nil)
		b := newBreakers(2, m)
		var key endpoint
		var running []pass
		probes := 0
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "s")) * time.Second) },
			"begin": func(t *rapid.T) {
				one, ok := b.keys.find(key)
				// One that nobody has asked for in a long time is forgotten.
				open := ok && one.round > 0 && (one.probing || now.Sub(one.used) <= breakerForgets || !now.After(one.until))
				early := open && now.Before(one.until)
				p, wait := b.begin(key, now, false)
				switch {
				case wait > 0 && !open, early && wait == 0:
					t.Fatalf("open %t, before its time %t, to wait %v", open, early, wait)
				case wait == 0:
					if p.probe {
						probes++
					}
					if open != p.probe || probes > 1 {
						t.Fatalf("open %t, probe %t, %d probes", open, p.probe, probes)
					}
					running = append(running, p)
				}
			},
			"end": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip("none runs")
				}
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				p := running[i]
				running = append(running[:i], running[i+1:]...)
				if p.probe {
					probes--
				}
				v := rapid.SampledFrom([]verdict{works, fails, unclear}).Draw(t, "verdict")
				b.end(key, now, p, v, time.Duration(rapid.IntRange(0, 100).Draw(t, "after"))*time.Second)
				if _, known := b.keys.find(key); p.probe && v == works && known {
					t.Fatal("not forgotten")
				}
			},
			"": func(t *rapid.T) {
				open := 0.0
				if one, ok := b.keys.find(key); ok && one.round > 0 {
					open = 1
				}
				if got := testutil.ToFloat64(m.open); got != open {
					t.Fatalf("gauge %v, want %v", got, open)
				}
			},
		})
	})
}

func TestVerdicts(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		ctx  context.Context
		res  Result
		err  error
		want verdict
	}{
		{t.Context(), Result{Status: 200}, nil, works},
		{t.Context(), Result{Status: 500}, ErrRefused, fails},
		{t.Context(), Result{Status: 429}, ErrRefused, fails},
		{t.Context(), Result{Status: 408}, ErrRefused, fails},
		{t.Context(), Result{Status: 404, Permanent: true}, ErrRefused, works},
		{t.Context(), Result{Status: 410, Permanent: true}, ErrRefused, works},
		{t.Context(), Result{Status: 550, Permanent: true}, ErrRefused, works}, // a mail server's
		{t.Context(), Result{}, errors.New("connection refused"), fails},
		{t.Context(), Result{}, fmt.Errorf("POST: %w", ErrTimeout), fails},
		{over, Result{}, fmt.Errorf("POST: %w", ErrTimeout), fails},
		{over, Result{}, context.Canceled, unclear},
		{t.Context(), Result{Permanent: true}, ErrForbidden, unclear},
		{t.Context(), Result{Permanent: true}, ErrMisconfigured, unclear},
		{t.Context(), Result{Permanent: true}, errors.New("?"), unclear},
		{t.Context(), Result{}, ErrPanic, unclear},
	} {
		if got := judge(tc.ctx, tc.res, tc.err); got != tc.want {
			t.Errorf("%+v, %v: %d, want %d", tc.res, tc.err, got, tc.want)
		}
	}
}

func TestSenderLeavesAFailingDestinationAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("failed")
		down := true
		made := map[string]int{}
		s := sender(channelFunc(func(_ context.Context, n *Notification) (Result, error) {
			made[n.Alert.Tenant+" "+n.Trigger.Webhook.URL.Value]++
			if down && n.Trigger.Webhook.URL.Value == "https://a.example/dead" {
				return Result{Status: 503}, failed
			}
			return Result{Status: 200}, nil
		}), nil)
		send := func(tenant, address string) (Result, error) {
			return s.Send(t.Context(), notification(tenant, address))
		}
		for range breakerStreak {
			if _, err := send("acme", "https://a.example/dead"); !errors.Is(err, failed) {
				t.Fatal(err)
			}
		}
		res, err := send("acme", "https://a.example/dead")
		if !errors.Is(err, ErrOpen) || res.RetryAfter != 10*time.Second || res.Permanent || made["acme https://a.example/dead"] != breakerStreak {
			t.Fatalf("%+v, %v, %v", res, err, made)
		}
		if second, _ := send("acme", "https://a.example/dead"); second.RetryAfter <= res.RetryAfter {
			t.Errorf("both are to come back after %v", second.RetryAfter)
		}
		// Neither another address nor another tenant pays for it.
		for _, other := range [][2]string{{"acme", "https://a.example/alive"}, {"umbrella", "https://a.example/alive"}} {
			if _, err := send(other[0], other[1]); err != nil {
				t.Error(err)
			}
		}
		if _, err := send("umbrella", "https://a.example/dead"); !errors.Is(err, failed) {
			t.Error(err)
		}
		down = false
		<-time.After(10 * time.Second)
		for range 2 {
			if _, err := send("acme", "https://a.example/dead"); err != nil {
				t.Error(err)
			}
		}
		for reason, want := range map[string]float64{"open": 2, "limited": 0} {
			if got := testutil.ToFloat64(s.metrics.held.WithLabelValues("webhook", reason)); got != want {
				t.Errorf("%s: %v held back, want %v", reason, got, want)
			}
		}
	})
}

// While a worker repeats attempts itself, the breaker may open. What was
// attempted stays attempted: the outcome is that of the last attempt made.
func TestDeliverEndsWhereNoFurtherAttemptIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("failed")
		attempts := 0
		s := sender(channelFunc(func(context.Context, *Notification) (Result, error) {
			attempts++
			return Result{Status: 500}, failed
		}), nil)
		n := notification("acme", "https://a.example")
		n.Trigger.Retry.MaxRetries, n.Trigger.Retry.Max = 9, 5*time.Second
		res, err := s.Deliver(t.Context(), n)
		if !errors.Is(err, failed) || errors.Is(err, ErrOpen) || res.Status != 500 || attempts != breakerStreak || res.RetryAfter <= 0 {
			t.Errorf("%+v, %v after %d attempts", res, err, attempts)
		}
		if res, err = s.Deliver(t.Context(), n); !errors.Is(err, ErrOpen) || res.Status != 0 || attempts != breakerStreak {
			t.Errorf("%+v, %v after %d attempts", res, err, attempts)
		}
	})
}

// Who asks for it gets through while the breaker is open; that it is accepted
// closes the breaker, and that it fails keeps it open no longer.
func TestProbeOfADestinationThatIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer Result
		var failure error
		asked := 0
		s := sender(channelFunc(func(context.Context, *Notification) (Result, error) {
			asked++
			return answer, failure
		}), nil)
		n := notification("acme", "https://a.example")
		answer, failure = Result{Status: 429, RetryAfter: 30 * time.Minute}, ErrRefused
		for range breakerStreak {
			_, _ = s.Send(t.Context(), n)
		}
		until := s.LeftAlone(n)
		if left := time.Until(until); left != 30*time.Minute {
			t.Fatalf("left alone for %v", left)
		}
		answer = Result{Status: 503}
		if res, err := s.Probe(t.Context(), n); !errors.Is(err, ErrRefused) || res.Status != 503 || !s.LeftAlone(n).Equal(until) {
			t.Errorf("%+v, %v, left alone until %v, before %v", res, err, s.LeftAlone(n), until)
		}
		if _, err := s.Send(t.Context(), n); !errors.Is(err, ErrOpen) || asked != breakerStreak+1 {
			t.Errorf("%v, asked %d times", err, asked)
		}
		answer.RetryAfter = 50 * time.Minute
		_, _ = s.Probe(t.Context(), n)
		if left := time.Until(s.LeftAlone(n)); left != 50*time.Minute {
			t.Errorf("left alone for %v, want what the destination asks for", left)
		}
		failure = nil
		if _, err := s.Probe(t.Context(), n); err != nil || !s.LeftAlone(n).IsZero() {
			t.Errorf("%v, left alone until %v", err, s.LeftAlone(n))
		}
		if _, err := s.Send(t.Context(), n); err != nil {
			t.Errorf("after a probe that was accepted: %v", err)
		}
	})
}
