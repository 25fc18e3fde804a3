package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options bound a journal.
type Options struct {
	Path      string
	Logger    *slog.Logger
	KeepFor   time.Duration // of alerts; 0 means 30 days
	KeepCount int           // 0 means 1 000 000 alerts

	KeepAttemptsFor time.Duration // of attempts at deliveries; 0 means 7 days
	KeepAttempts    int           // 0 means 500 000 attempts

	KeepUsageFor time.Duration // of usage; 0 means 92 days
	KeepUsage    int           // 0 means 1 000 000 hours of a tenant or network
}

// Journal is the history of one node. Writing is done aside: Record never
// waits for the disk.
type Journal struct {
	opts Options
	db   *bbolt.DB

	alerts   chan []Alert
	attempts chan Attempt
	usage    chan Used
	lost     atomic.Uint64 // attempts that found no room to wait in, not told yet
	flush    chan chan struct{}
	done     chan struct{}
	writing  sync.WaitGroup
	once     sync.Once
	kept     counts // the writer's own
}

// counts is how much is kept.
type counts struct{ alerts, attempts, usage int }

var (
	bucketAlerts = []byte("alerts") // tenant, network, height, block, id -> Alert
	bucketOrder  = []byte("order")  // time, key -> nothing; oldest first
	bucketGone   = []byte("gone")   // tenant, network -> the greatest height of an alert that was dropped

	bucketAttempts = []byte("attempts")      // time, number -> Attempt; oldest first
	bucketByKey    = []byte("attempt-keys")  // delivery key, tenant, time, number -> nothing
	bucketByTime   = []byte("attempt-times") // tenant, time, number -> nothing

	buckets = [][]byte{bucketAlerts, bucketOrder, bucketGone, bucketAttempts, bucketByKey, bucketByTime, bucketServers, bucketLost, bucketUsage, bucketNetworkUsage, bucketChanges, bucketByID}
)

const (
	// queueLength is how many batches wait to be written before Record waits too.
	queueLength = 1024
	// attemptsLength is how many attempts wait to be written before more are lost.
	attemptsLength = 16 << 10
	// gather is how long attempts wait for others, so that many are written at once.
	gather = 200 * time.Millisecond
)

// Open opens or makes a journal.
func Open(opts Options) (*Journal, error) {
	if opts.KeepFor == 0 {
		opts.KeepFor = 30 * 24 * time.Hour
	}
	if opts.KeepCount == 0 {
		opts.KeepCount = 1_000_000
	}
	if opts.KeepAttemptsFor == 0 {
		opts.KeepAttemptsFor = 7 * 24 * time.Hour
	}
	if opts.KeepAttempts == 0 {
		opts.KeepAttempts = 500_000
	}
	if opts.KeepUsageFor == 0 {
		opts.KeepUsageFor = 92 * 24 * time.Hour
	}
	if opts.KeepUsage == 0 {
		opts.KeepUsage = 1_000_000
	}
	db, err := bbolt.Open(opts.Path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use: another ozmo runs on this data directory", opts.Path)
	case err != nil:
		return nil, fmt.Errorf("open the journal %s: %w", opts.Path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	var kept counts
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) error {
			kept = counts{
				tx.Bucket(bucketOrder).Stats().KeyN, tx.Bucket(bucketAttempts).Stats().KeyN,
				tx.Bucket(bucketUsage).Stats().KeyN + tx.Bucket(bucketNetworkUsage).Stats().KeyN,
			}
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal %s: %w", opts.Path, err), db.Close())
	}
	j := &Journal{
		opts: opts, db: db, kept: kept,
		alerts: make(chan []Alert, queueLength), attempts: make(chan Attempt, attemptsLength), usage: make(chan Used, usageLength),
		flush: make(chan chan struct{}), done: make(chan struct{}),
	}
	j.writing.Go(j.write)
	return j, nil
}

// Close writes what was recorded and closes the file.
func (j *Journal) Close() error {
	var err error
	j.once.Do(func() {
		close(j.done)
		j.writing.Wait()
		err = j.db.Close()
	})
	return err
}

// Flush waits until everything recorded so far is written.
func (j *Journal) Flush() {
	ack := make(chan struct{})
	select {
	case j.flush <- ack:
		<-ack
	case <-j.done:
	}
}

// batch is what is written at once.
type batch struct {
	alerts   []Alert
	attempts []Attempt
	usage    []Used
}

// write puts what is queued on disk, all that waits in one transaction.
func (j *Journal) write() {
	var next batch
	var due <-chan time.Time // when attempts have waited long enough
	for {
		var ack chan struct{}
		select {
		case alerts := <-j.alerts:
			next.alerts = alerts
		case a := <-j.attempts:
			if next.attempts = append(next.attempts, a); len(next.attempts) < attemptsLength/2 {
				if due == nil {
					due = time.After(gather)
				}
				continue
			}
		case u := <-j.usage:
			next.usage = append(next.usage, u)
		case <-due:
		case ack = <-j.flush:
		case <-j.done:
			j.drain(&next)
			j.save(next)
			return
		}
		j.drain(&next)
		j.save(next)
		next, due = batch{}, nil
		if ack != nil {
			close(ack)
		}
	}
}

func (j *Journal) drain(b *batch) {
	for {
		select {
		case more := <-j.alerts:
			b.alerts = append(b.alerts, more...)
		case a := <-j.attempts:
			b.attempts = append(b.attempts, a)
		case u := <-j.usage:
			b.usage = append(b.usage, u)
		default:
			return
		}
	}
}

// save writes a batch and drops what is over the bounds. A journal that cannot
// be written costs history only: it is said, and the node goes on.
func (j *Journal) save(b batch) {
	if lost := j.lost.Swap(0); lost > 0 {
		j.opts.Logger.Error("attempts are missing from this node's journal: more were made than could be written", "attempts", lost)
	}
	if len(b.alerts)+len(b.attempts)+len(b.usage) == 0 {
		return
	}
	err := j.update(b)
	if err != nil { // one kind shall not cost the others
		err = errors.Join(j.update(batch{alerts: b.alerts}), j.update(batch{attempts: b.attempts}), j.update(batch{usage: b.usage}))
	}
	if err != nil {
		j.opts.Logger.Error("alerts are missing from this node's journal",
			"alerts", len(b.alerts), "attempts", len(b.attempts), "usage", len(b.usage), "error", err)
	}
}

func (j *Journal) update(b batch) error {
	kept := j.kept
	err := j.db.Update(func(tx *bbolt.Tx) error {
		if len(b.alerts) > 0 {
			if err := j.putAlerts(tx, b.alerts, &kept.alerts); err != nil {
				return err
			}
		}
		if len(b.attempts) > 0 {
			if err := j.putAttempts(tx, b.attempts, &kept.attempts); err != nil {
				return err
			}
		}
		if len(b.usage) > 0 {
			return j.putUsage(tx, b.usage, &kept.usage)
		}
		return nil
	})
	if err == nil {
		j.kept = kept
	}
	return err
}
