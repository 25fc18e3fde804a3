package notify

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// channelFunc is a channel made of a function.
type channelFunc func(ctx context.Context, n *Notification) (Result, error)

func (f channelFunc) Send(ctx context.Context, n *Notification) (Result, error) { return f(ctx, n) }

func notification(tenant, address string) *Notification {
	return &Notification{
		Alert: &alert.Alert{Tenant: tenant, State: alert.Fired},
		Trigger: &spec.Trigger{
			Name: "ops", Type: spec.TriggerWebhook,
			Webhook: &spec.Webhook{URL: spec.Plain(address)},
			Retry:   spec.RetryPolicy{MaxRetries: 3, Base: 2, Initial: time.Second, Max: 10 * time.Second, Jitter: spec.JitterNone},
		},
		Attempt: 1,
		Time:    time.Unix(1_700_000_000, 0),
	}
}

func sender(c Channel, change func(*SenderOptions)) *Sender {
	o := SenderOptions{Channels: Channels{spec.TriggerWebhook: c}}
	if change != nil {
		change(&o)
	}
	return NewSender(o)
}

func TestDeliverFollowsThePolicy(t *testing.T) {
	failed := errors.New("failed")
	for _, tc := range []struct {
		name    string
		results []Result // of failing attempts, in order; then success
		want    []time.Duration
		ok      bool
	}{
		{"at once", nil, []time.Duration{0}, true},
		{"after two failures", make([]Result, 2), []time.Duration{0, time.Second, 3 * time.Second}, true},
		{"retries used up", make([]Result, 9), []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, false},
		{"permanent", []Result{{}, {Permanent: true}}, []time.Duration{0, time.Second}, false},
		{"asked to wait", []Result{{RetryAfter: 8 * time.Second}}, []time.Duration{0, 8 * time.Second}, true},
		{"asked to wait less", []Result{{RetryAfter: time.Millisecond}}, []time.Duration{0, time.Second}, true},
		{"asked to wait too long", []Result{{RetryAfter: 11 * time.Second}}, []time.Duration{0}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var at []time.Duration
				s := sender(channelFunc(func(_ context.Context, n *Notification) (Result, error) {
					i := len(at)
					if at = append(at, time.Since(start)); n.Attempt != len(at) {
						t.Errorf("attempt %d is numbered %d", len(at), n.Attempt)
					}
					if i < len(tc.results) {
						return tc.results[i], failed
					}
					return Result{Status: 200}, nil
				}), nil)
				n := notification("acme", "https://a.example")
				_, err := s.Deliver(t.Context(), n)
				if (err == nil) != tc.ok || !tc.ok && !errors.Is(err, failed) {
					t.Errorf("error %v", err)
				}
				if len(at) != len(tc.want) {
					t.Fatalf("attempts at %v, want %v", at, tc.want)
				}
				for i := range at {
					if at[i] != tc.want[i] {
						t.Fatalf("attempts at %v, want %v", at, tc.want)
					}
				}
				if n.Attempt != 1 {
					t.Error("the notification was changed")
				}
			})
		})
	}
}

func TestDeliverStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("failed")
		s := sender(channelFunc(func(context.Context, *Notification) (Result, error) { return Result{Status: 500}, failed }), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		res, err := s.Deliver(ctx, notification("acme", "https://a.example"))
		if !errors.Is(err, failed) || !errors.Is(err, context.DeadlineExceeded) || res.Status != 500 {
			t.Errorf("result %+v, error %v", res, err)
		}
	})
}

// hanging counts attempts that hang until released.
type hanging struct {
	now     atomic.Int32
	release chan struct{}
}

func (h *hanging) Send(ctx context.Context, n *Notification) (Result, error) {
	if strings.Contains(n.Trigger.Webhook.URL.Value, "fast") {
		return Result{Status: 200}, nil
	}
	h.now.Add(1)
	defer h.now.Add(-1)
	select {
	case <-h.release:
		return Result{Status: 200}, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{release: make(chan struct{})}
		s := sender(h, func(o *SenderOptions) { o.Overall, o.PerTenant, o.PerDestination = 5, 3, 2 })
		var sent atomic.Int32
		send := func(tenant, address string) {
			if _, err := s.Send(t.Context(), notification(tenant, address)); err != nil {
				t.Error(err)
			}
			sent.Add(1)
		}
		expect := func(what string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := h.now.Load(); got != want {
				t.Errorf("%s: %d attempts at a time, want %d", what, got, want)
			}
		}
		for range 4 {
			go send("acme", "https://slow.example/some/path")
		}
		expect("one destination", 2)
		// The slots of the dead destination are not the tenant's last.
		send("acme", "https://fast.example")
		for range 4 {
			go send("acme", "https://other.example")
		}
		expect("one tenant", 3)
		send("umbrella", "https://fast.example")
		for range 2 {
			go send("umbrella", "https://slow.example")
			go send("initech", "https://slow.example")
		}
		expect("overall", 5)
		close(h.release)
		synctest.Wait()
		if got := sent.Load(); got != 14 {
			t.Errorf("%d sent, want all 14", got)
		}
		if len(s.destination.keys)+len(s.tenant.keys) != 0 {
			t.Error("limits of idle tenants are kept")
		}
	})
}

func TestWaitingForASlotEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{release: make(chan struct{})}
		for name, change := range map[string]func(*SenderOptions){
			"destination": func(o *SenderOptions) { o.PerDestination = 1 },
			"tenant":      func(o *SenderOptions) { o.PerTenant = 1 },
			"overall":     func(o *SenderOptions) { o.Overall = 1 },
		} {
			s := sender(h, change)
			first, stop := context.WithCancel(t.Context())
			go func() { _, _ = s.Send(first, notification("acme", "https://slow.example")) }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), patience/2)
			res, err := s.Send(ctx, notification("acme", "https://slow.example"))
			if !errors.Is(err, context.DeadlineExceeded) || res.Permanent || !strings.Contains(err.Error(), "acme") {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
			cancel()
			stop()
			synctest.Wait()
			if len(s.destination.keys)+len(s.tenant.keys) != 0 || s.overall.used != 0 {
				t.Errorf("%s: a slot was lost", name)
			}
		}
	})
}

func TestPanicsAndUnknownTypesAreErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := sender(channelFunc(func(context.Context, *Notification) (Result, error) { panic("token s3cret") }),
		func(o *SenderOptions) { o.Registerer, o.PerDestination = reg, 1 })
	for range 2 { // the second would hang if the first kept its slot
		res, err := s.Send(t.Context(), notification("acme", "https://a.example"))
		if !errors.Is(err, ErrPanic) || res.Permanent || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v, %v", res, err)
		}
	}
	if got := testutil.ToFloat64(s.metrics.attempts.WithLabelValues("webhook", "retryable")); got != 2 {
		t.Errorf("%v attempts counted, want 2", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	n := notification("acme", "https://a.example")
	n.Trigger.Type = "pigeon"
	if res, err := s.Send(t.Context(), n); !errors.Is(err, ErrNoChannel) || !res.Permanent {
		t.Errorf("unknown type: %+v, %v", res, err)
	}
}

func TestDestinationHoldsNoSecret(t *testing.T) {
	for _, tc := range []struct {
		trigger spec.Trigger
		want    string
	}{
		{spec.Trigger{Webhook: &spec.Webhook{URL: spec.Plain("https://u:p@h.example:8443/k?t=1")}}, "https://h.example:8443"},
		{spec.Trigger{Slack: &spec.Slack{URL: spec.Plain("https://hooks.slack.com/services/T/B/x")}}, "https://hooks.slack.com"},
		{spec.Trigger{Discord: &spec.Discord{URL: spec.Plain("https://discord.com/api/webhooks/1/x")}}, "https://discord.com"},
		{spec.Trigger{Email: &spec.Email{Host: "mail.example", Port: 587}}, "mail.example:587"},
		{spec.Trigger{Type: spec.TriggerTelegram, Telegram: &spec.Telegram{Token: spec.Plain("1:x")}}, "https://api.telegram.org"},
	} {
		if got := Destination(&tc.trigger); got != tc.want {
			t.Errorf("destination %q, want %q", got, tc.want)
		}
	}
}
