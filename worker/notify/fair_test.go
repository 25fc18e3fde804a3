package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// With the default limits, tenants whose receivers hang leave the others alone:
// a healthy tenant's attempt begins at once, whatever waits.
func TestHangingReceiversDelayNoOtherTenant(t *testing.T) {
	const lined = 10 // attempts at each receiver
	for _, tc := range []struct{ hanging, receivers int }{{30, 1}, {30, 8}, {80, 8}} {
		t.Run(fmt.Sprintf("%d tenants with %d receivers", tc.hanging, tc.receivers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				h := &hanging{release: make(chan struct{})}
				s := sender(h, nil)
				var wg sync.WaitGroup
				var given atomic.Int32
				for i := range tc.hanging {
					for r := range tc.receivers {
						for range lined {
							wg.Go(func() {
								_, err := s.Send(ctx, notification(fmt.Sprint("slow-", i), fmt.Sprintf("https://slow-%d.example", r)))
								if !errors.Is(err, ErrLimited) && !errors.Is(err, context.Canceled) {
									t.Errorf("error %v", err)
								}
								if errors.Is(err, ErrLimited) {
									given.Add(1)
								}
							})
						}
					}
				}
				synctest.Wait()
				for _, after := range []time.Duration{0, 100 * time.Millisecond, patience, 5 * time.Second} {
					<-time.After(after)
					begun := time.Now()
					for i := range 70 {
						if _, err := s.Send(ctx, notification(fmt.Sprint("healthy-", i), "https://fast.example")); err != nil {
							t.Errorf("tenant %d: %v", i, err)
						}
					}
					if d := time.Since(begun); d != 0 {
						t.Errorf("healthy tenants waited %v", d)
					}
				}
				// What waits behind hanging attempts is given back to the outbox, and
				// holds nobody's goroutine any more.
				if waiting := tc.hanging*tc.receivers*lined - int(given.Load()) - int(h.now.Load()); waiting != 0 {
					t.Errorf("%d still wait", waiting)
				}
				if h.now.Load() > defaultOverall-defaultOverall/reservePart+int32(tc.hanging*firstFew) {
					t.Errorf("%d attempts hang", h.now.Load())
				}
				stop()
				wg.Wait()
				if s.overall.used != 0 || len(s.tenant.keys)+len(s.destination.keys) != 0 {
					t.Error("a slot was lost")
				}
			})
		})
	}
}

// An endpoint in doubt does not get what is kept for tenants that wait for next
// to nothing.
func TestTheReserveIsForThoseWithoutDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := &hanging{release: make(chan struct{})}
		s := sender(h, func(o *SenderOptions) { o.Overall = 8 })
		now := time.Now()
		for i := range 20 {
			n := notification(fmt.Sprint("slow-", i), "https://slow.example")
			s.breakers.end(place(n), now, pass{}, fails, 0)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { _, _ = s.Send(ctx, notification(fmt.Sprint("slow-", i), "https://slow.example")) })
		}
		synctest.Wait()
		if got := h.now.Load(); got != 6 {
			t.Errorf("%d attempts in doubt at a time, want 6 of 8", got)
		}
		if _, err := s.Send(ctx, notification("healthy", "https://fast.example")); err != nil {
			t.Error(err)
		}
		stop()
		wg.Wait()
	})
}

// Attempts that take their time, but end, are waited for in line.
func TestABusyDestinationKeepsItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sender(channelFunc(func(ctx context.Context, _ *Notification) (Result, error) {
			return Result{Status: 200}, wait(ctx, 400*time.Millisecond)
		}), func(o *SenderOptions) { o.PerDestination = 2 })
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := s.Send(t.Context(), notification("acme", "https://a.example")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %v, want 4s", took)
		}
	})
}

func TestReadyIsAskedBeforeEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, gone := errors.New("failed"), errors.New("another node's")
		var asked, made, seen int
		s := sender(channelFunc(func(context.Context, *Notification) (Result, error) {
			made++
			return Result{Status: 500}, failed
		}), func(o *SenderOptions) {
			o.Ready = func(_ context.Context, n *Notification) error {
				if asked++; asked > 2 {
					return gone
				}
				if n.Attempt != asked {
					t.Errorf("attempt %d asked for as %d", n.Attempt, asked)
				}
				return nil
			}
			o.Observe = func(n *Notification, res Result, err error, began time.Time) {
				seen++
				if n.Attempt != seen || res.Status != 500 || !errors.Is(err, failed) || !began.Equal(time.Now()) {
					t.Errorf("observed attempt %d: %+v, %v, %v", n.Attempt, res, err, began)
				}
			}
		})
		res, err := s.Deliver(t.Context(), notification("acme", "https://a.example"))
		if !errors.Is(err, gone) || res.Permanent || asked != 3 || made != 2 || seen != 2 {
			t.Errorf("%+v, %v: asked %d times, %d attempts, %d observed", res, err, asked, made, seen)
		}
		if s.overall.used != 0 {
			t.Error("a slot was lost")
		}
	})
}

// An attempt that Ready stops does not use up the only one a half-open breaker
// gives.
func TestReadyComesBeforeTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, down := false, true
		s := sender(channelFunc(func(context.Context, *Notification) (Result, error) {
			if down {
				return Result{}, errors.New("failed")
			}
			return Result{Status: 200}, nil
		}), func(o *SenderOptions) {
			o.Ready = func(context.Context, *Notification) error {
				if gone {
					return errors.New("another node's")
				}
				return nil
			}
		})
		send := func() error {
			_, err := s.Send(t.Context(), notification("acme", "https://a.example"))
			return err
		}
		for range breakerStreak {
			_ = send()
		}
		<-time.After(breakerFirst)
		gone = true
		_ = send()
		gone, down = false, false
		if err := send(); err != nil {
			t.Error(err)
		}
	})
}
