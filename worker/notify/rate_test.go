package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

func notificationOf(tenant string, trigger spec.Trigger) *Notification {
	return &Notification{Alert: &alert.Alert{Tenant: tenant}, Trigger: &trigger, Attempt: 1, Time: time.Unix(1_700_000_000, 0)}
}

// counted sends at once and notes when.
type counted struct {
	mu sync.Mutex
	at []time.Time
}

func (c *counted) Send(context.Context, *Notification) (Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
	return Result{Status: 200}, nil
}

func (c *counted) made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

func TestDefaultRates(t *testing.T) {
	webhook := func(address string) spec.Trigger {
		return spec.Trigger{Type: spec.TriggerWebhook, Webhook: &spec.Webhook{URL: spec.Plain(address)}}
	}
	slack := func(key string) spec.Trigger {
		return spec.Trigger{Type: spec.TriggerSlack, Slack: &spec.Slack{URL: spec.Plain("https://hooks.slack.com/services/" + key)}}
	}
	discord := func(key string) spec.Trigger {
		return spec.Trigger{Type: spec.TriggerDiscord, Discord: &spec.Discord{URL: spec.Plain("https://discord.com/api/webhooks/" + key)}}
	}
	telegram := func(token, chat string) spec.Trigger {
		return spec.Trigger{Type: spec.TriggerTelegram, Telegram: &spec.Telegram{Token: spec.Plain(token), ChatID: chat}}
	}
	var chats []spec.Trigger
	for i := range 40 {
		chats = append(chats, telegram("t", fmt.Sprint(i)))
	}
	mail := spec.Trigger{Type: spec.TriggerEmail, Email: &spec.Email{Host: "mail.example", Port: 465}}
	for _, tc := range []struct {
		name     string
		triggers []spec.Trigger // in turn
		atOnce   int
		perTen   int // in ten seconds after that
	}{
		{"slack", []spec.Trigger{slack("a")}, 10, 10},
		{"slack, two channels", []spec.Trigger{slack("a"), slack("b")}, 20, 20},
		{"discord", []spec.Trigger{discord("a")}, 5, 25},
		{"telegram, one chat", []spec.Trigger{telegram("t", "1")}, 20, 10},
		{"telegram, one bot", chats, 25, 250},
		{"telegram, two bots", []spec.Trigger{telegram("t", "1"), telegram("u", "1")}, 40, 20},
		{"email", []spec.Trigger{mail}, 50, 100},
		{"webhook", []spec.Trigger{webhook("https://a.example/1")}, 2000, 10000},
		{"the tenant", []spec.Trigger{webhook("https://a.example/1"), webhook("https://a.example/2"), webhook("https://b.example")}, 4000, 20000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRates(Limits{}, maxRecent)
			now := time.Unix(1_700_000_000, 0)
			// As many as are allowed, without waiting.
			count := func() (made int) {
				for misses, i := 0, 0; misses < len(tc.triggers); i++ {
					n := notificationOf("acme", tc.triggers[i%len(tc.triggers)])
					n.Trigger.Name = "ops"
					r.mu.Lock()
					for e := r.keys.order.Front(); e != nil; e = e.Next() {
						valueOf[endpoint, *bucket](e).value.pace = pace{}
					}
					r.mu.Unlock()
					delay, err := r.reserve(n, place(n), now)
					if err == nil && delay <= 0 {
						made, misses = made+1, 0
						continue
					}
					misses++
					if err == nil { // reserved for later: that counts for the next round
						made++
					}
				}
				return made
			}
			first := count()
			for range 10 {
				now = now.Add(time.Second)
				first += count()
			}
			// What may wait for its turn is ahead by patience at most.
			want := tc.atOnce + tc.perTen
			ahead := int(float64(tc.perTen)/10*patience.Seconds()) + 4*len(tc.triggers)
			if first < want || first > want+ahead {
				t.Errorf("%d attempts in ten seconds, want %d to %d", first, want, want+ahead)
			}
		})
	}
}

func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counted
		s := sender(&c, func(o *SenderOptions) {
			o.Limits = Limits{Destination: map[string]Rate{spec.TriggerWebhook: {PerSecond: 4, Burst: 2}}}
		})
		start := time.Now()
		var mu sync.Mutex
		var later []time.Duration
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				res, err := s.Send(t.Context(), notification("acme", "https://a.example/x"))
				if err == nil {
					return
				}
				if !errors.Is(err, ErrLimited) || res.Permanent || !strings.Contains(err.Error(), "4 a second") {
					t.Errorf("%+v, %v", res, err)
				}
				mu.Lock()
				defer mu.Unlock()
				later = append(later, res.RetryAfter)
			})
		}
		wg.Wait()
		// Two at once, two more within patience; the others come back one by one.
		var took []time.Duration
		for _, at := range c.at {
			took = append(took, at.Sub(start))
		}
		const step = 250 * time.Millisecond
		if !slices.Equal(took, []time.Duration{0, 0, step, 2 * step}) {
			t.Errorf("attempts after %v", took)
		}
		slices.Sort(later)
		for i, d := range later {
			if want := time.Duration(3+i) * step; d != want {
				t.Errorf("turned away until %v, want %v", d, want)
			}
		}
		// Neither another destination nor another tenant is affected.
		for _, other := range [][2]string{{"acme", "https://a.example/y"}, {"umbrella", "https://a.example/x"}} {
			if _, err := s.Send(t.Context(), notification(other[0], other[1])); err != nil {
				t.Error(err)
			}
		}
		// Who comes back when told finds a token.
		<-time.After(step)
		before := c.made()
		if _, err := s.Send(t.Context(), notification("acme", "https://a.example/x")); err != nil || c.made() != before+1 {
			t.Errorf("%v, %d attempts", err, c.made()-before)
		}
	})
}

func TestWaitingForARateEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counted
		s := sender(&c, func(o *SenderOptions) { o.Limits.Tenant = Rate{PerSecond: 4, Burst: 1} })
		if _, err := s.Send(t.Context(), notification("acme", "https://a.example")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		res, err := s.Send(ctx, notification("acme", "https://b.example"))
		if !errors.Is(err, context.DeadlineExceeded) || res.Permanent || c.made() != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestIdleLimitsAreForgotten(t *testing.T) {
	r := newRates(Limits{}, 50)
	now := time.Unix(1_700_000_000, 0)
	for i := range 100 {
		n := notification(fmt.Sprint("tenant-", i), "https://a.example")
		if _, err := r.reserve(n, place(n), now); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.keys.entries) != 50 || r.keys.order.Len() != 50 {
		t.Fatalf("%d limits kept, at most 50 are", len(r.keys.entries))
	}
	now = now.Add(time.Minute)
	for range 20 {
		n := notification("acme", "https://a.example")
		if _, err := r.reserve(n, place(n), now); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.keys.entries) != 2 {
		t.Errorf("%d limits kept, those of one tenant in use are 2", len(r.keys.entries))
	}
}
