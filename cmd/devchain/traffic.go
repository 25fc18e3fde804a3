package main

import (
	"context"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// maxRate bounds the generator, in transfers per second.
	maxRate = 1000
	// maxLag is how much work the generator makes good after a pause.
	maxLag = time.Second
)

// validRate also refuses what is not a number.
func validRate(rate float64) bool { return rate >= 0 && rate <= maxRate }

// payment is one planned transfer between two accounts.
type payment struct {
	from, to int
	amount   *big.Int // base units
	fails    bool     // meant to revert
}

// payments is an endless sequence of transfers, the same for the same seed.
type payments struct{ rng *rand.Rand }

func newPayments(seed uint64) *payments {
	return &payments{rng: rand.New(rand.NewPCG(seed, 0x7472616666696321))}
}

// next draws one: one in twenty reverts; of the others 70 % are small (up to
// 1 000 tokens), 25 % medium (up to 100 000) and 5 % large (1 to 5 million).
func (p *payments) next() payment {
	from := p.rng.IntN(accountCount)
	to := (from + 1 + p.rng.IntN(accountCount-1)) % accountCount
	fails := p.rng.IntN(20) == 0
	var amount int64
	switch draw := p.rng.IntN(100); {
	case draw < 70:
		amount = 1 + p.rng.Int64N(1_000*tokenUnit)
	case draw < 95:
		amount = 1 + p.rng.Int64N(100_000*tokenUnit)
	default:
		amount = 1_000_000*tokenUnit + p.rng.Int64N(4_000_000*tokenUnit)
	}
	return payment{from: from, to: to, amount: big.NewInt(amount), fails: fails}
}

// trafficStats counts what the generator did.
type trafficStats struct {
	Rate    float64 `json:"rate"`    // transfers per second
	Sent    uint64  `json:"sent"`    // accepted by the pool
	Failing uint64  `json:"failing"` // of these, meant to revert
	Refused uint64  `json:"refused"` // not accepted by the pool
}

// traffic sends payments at a rate. It shares nothing with block production but
// the pool, so neither waits for the other.
type traffic struct {
	wallet *wallet
	token  common.Address
	plan   *payments
	log    *slog.Logger

	mu      sync.Mutex
	stats   trafficStats
	changed chan struct{}
}

func newTraffic(w *wallet, token common.Address, seed uint64, rate float64, log *slog.Logger) *traffic {
	return &traffic{
		wallet: w, token: token, plan: newPayments(seed), log: log,
		stats: trafficStats{Rate: rate}, changed: make(chan struct{}, 1),
	}
}

func (t *traffic) snapshot() trafficStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// setRate changes the rate (transfers per second, 0 stops).
func (t *traffic) setRate(rate float64) {
	t.mu.Lock()
	t.stats.Rate = rate
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// run sends until ctx ends.
func (t *traffic) run(ctx context.Context) {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var fire <-chan time.Time
		if rate := t.snapshot().Rate; rate > 0 {
			due = nextDue(due, time.Now(), rate)
			timer.Reset(time.Until(due))
			fire = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-t.changed:
			due = time.Now()
		case <-fire:
			t.send()
		}
	}
}

// nextDue is when the transfer after the one due at `last` is due. A sender that
// fell behind makes good maxLag of it and lets the rest go.
func nextDue(last, now time.Time, rate float64) time.Time {
	due := last.Add(time.Duration(float64(time.Second) / rate))
	if oldest := now.Add(-maxLag); due.Before(oldest) {
		return oldest
	}
	return due
}

func (t *traffic) send() {
	p := t.plan.next()
	var err error
	if p.fails {
		_, err = t.wallet.failingTransfer(t.token, p.from, p.to)
	} else {
		_, err = t.wallet.transfer(t.token, p.from, p.to, p.amount)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		// A full pool refuses for as long as no block is made: say it once in a while.
		if t.stats.Refused%1000 == 0 {
			t.log.Warn("a generated transfer was refused", "error", err, "refused", t.stats.Refused+1)
		}
		t.stats.Refused++
		return
	}
	t.stats.Sent++
	if p.fails {
		t.stats.Failing++
	}
}
