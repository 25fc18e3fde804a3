package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Alert is what the journal keeps of a fired alert.
type Alert struct {
	ID          string            `json:"id"`
	Tenant      string            `json:"tenant"`
	MonitorID   string            `json:"monitor_id"`
	MonitorName string            `json:"monitor"`
	Network     string            `json:"network"`
	Block       fsm.BlockRef      `json:"block"`
	Tx          string            `json:"transaction"`
	State       string            `json:"state"`
	Version     uint64            `json:"version"`
	Position    uint64            `json:"position"`
	FiredAt     time.Time         `json:"fired_at"`
	Deliveries  []Delivery        `json:"deliveries"`
	Variables   map[string]string `json:"variables,omitempty"`
}

// Delivery is what became of one delivery when the alert was recorded.
type Delivery struct {
	Key     string `json:"key"`
	Trigger string `json:"trigger"`
	Outcome string `json:"outcome"` // sent, outbox or dead
}

// Options bound a journal.
type Options struct {
	Path      string
	Logger    *slog.Logger
	KeepFor   time.Duration // 0 means 30 days
	KeepCount int           // 0 means 1 000 000 alerts
}

// Journal is the history of one node. Writing is done aside: Record never
// waits for the disk.
type Journal struct {
	opts Options
	db   *bbolt.DB

	queue   chan []Alert
	flush   chan chan struct{}
	done    chan struct{}
	writing sync.WaitGroup
	once    sync.Once
	count   int // alerts kept; the writer's own
}

var (
	bucketAlerts = []byte("alerts") // tenant, network, height, position, id -> Alert
	bucketOrder  = []byte("order")  // time, key -> nothing; oldest first
	bucketGone   = []byte("gone")   // tenant, network -> the greatest height of an alert that was dropped
)

// queueLength is how many batches wait to be written before Record waits too.
const queueLength = 1024

// Open opens or makes a journal.
func Open(opts Options) (*Journal, error) {
	if opts.KeepFor == 0 {
		opts.KeepFor = 30 * 24 * time.Hour
	}
	if opts.KeepCount == 0 {
		opts.KeepCount = 1_000_000
	}
	db, err := bbolt.Open(opts.Path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use: another ozmo runs on this data directory", opts.Path)
	case err != nil:
		return nil, fmt.Errorf("open the journal %s: %w", opts.Path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketAlerts)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(bucketOrder)
		}
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(bucketGone)
		}
		return err
	})
	var count int
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) error {
			count = tx.Bucket(bucketOrder).Stats().KeyN
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal %s: %w", opts.Path, err), db.Close())
	}
	j := &Journal{
		opts: opts, db: db, count: count,
		queue: make(chan []Alert, queueLength), flush: make(chan chan struct{}), done: make(chan struct{}),
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

// Record keeps alerts. One recorded again replaces what was kept of it.
func (j *Journal) Record(alerts []Alert) {
	select {
	case j.queue <- alerts:
	case <-j.done:
	}
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

// write puts what is queued on disk, all that waits in one transaction.
func (j *Journal) write() {
	for {
		var batch []Alert
		var ack chan struct{}
		select {
		case alerts := <-j.queue:
			batch = alerts
		case ack = <-j.flush:
		case <-j.done:
			j.save(j.drain(nil))
			return
		}
		j.save(j.drain(batch))
		if ack != nil {
			close(ack)
		}
	}
}

func (j *Journal) drain(batch []Alert) []Alert {
	for {
		select {
		case more := <-j.queue:
			batch = append(batch, more...)
		default:
			return batch
		}
	}
}

// save writes a batch and drops what is over the bounds. A journal that cannot
// be written costs history only: it is said, and the node goes on.
func (j *Journal) save(batch []Alert) {
	if len(batch) == 0 {
		return
	}
	count := j.count
	err := j.db.Update(func(tx *bbolt.Tx) error {
		for i := range batch {
			added, err := put(tx, &batch[i])
			if err != nil {
				return err
			}
			if added {
				count++
			}
		}
		dropped, err := j.trim(tx, count)
		count -= dropped
		return err
	})
	if err == nil {
		j.count = count
	} else {
		j.opts.Logger.Error("alerts are missing from this node's journal", "alerts", len(batch), "error", err)
	}
}

// put keeps one alert and reports whether it is a new one.
func put(tx *bbolt.Tx, a *Alert) (added bool, err error) {
	key := alertKey(a)
	value, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	if tx.Bucket(bucketAlerts).Get(key) == nil {
		added = true
		order := append(binary.BigEndian.AppendUint64(nil, uint64(a.FiredAt.UnixMilli())), key...)
		if err := tx.Bucket(bucketOrder).Put(order, nil); err != nil {
			return false, err
		}
	}
	return added, tx.Bucket(bucketAlerts).Put(key, value)
}

// trimStep bounds what one batch drops, so that writing never stalls for long.
const trimStep = 4096

// trim drops the oldest alerts that are over age or over the count.
func (j *Journal) trim(tx *bbolt.Tx, count int) (dropped int, err error) {
	oldest := uint64(time.Now().Add(-j.opts.KeepFor).UnixMilli())
	c := tx.Bucket(bucketOrder).Cursor()
	for dropped < trimStep {
		k, _ := c.First()
		if k == nil || count-dropped <= j.opts.KeepCount && binary.BigEndian.Uint64(k) >= oldest {
			return dropped, nil
		}
		if err := noteGone(tx, k[8:]); err != nil {
			return dropped, err
		}
		if err := tx.Bucket(bucketAlerts).Delete(k[8:]); err != nil {
			return dropped, err
		}
		if err := c.Delete(); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// noteGone remembers up to which height a tenant's alerts on a network are no
// longer all there.
func noteGone(tx *bbolt.Tx, key []byte) error {
	value := tx.Bucket(bucketAlerts).Get(key)
	var a Alert
	if value == nil || json.Unmarshal(value, &a) != nil {
		return nil // dropped before
	}
	gone := tx.Bucket(bucketGone)
	p := prefix(a.Tenant, a.Network)
	if old := gone.Get(p); old != nil && binary.BigEndian.Uint64(old) >= a.Block.Height {
		return nil
	}
	return gone.Put(p, binary.BigEndian.AppendUint64(nil, a.Block.Height))
}

// GoneUpTo is the greatest height whose alerts the journal may have dropped for
// its bounds; ok is false while it has dropped none.
func (j *Journal) GoneUpTo(tenant, network string) (height uint64, ok bool) {
	_ = j.db.View(func(tx *bbolt.Tx) error { // a closed file has nothing to tell
		if v := tx.Bucket(bucketGone).Get(prefix(tenant, network)); v != nil {
			height, ok = binary.BigEndian.Uint64(v), true
		}
		return nil
	})
	return height, ok
}

func prefix(tenant, network string) []byte {
	var key []byte
	key = append(key, tenant...)
	key = append(key, 0)
	key = append(key, network...)
	return append(key, 0)
}

func alertKey(a *Alert) []byte {
	key := binary.BigEndian.AppendUint64(prefix(a.Tenant, a.Network), a.Block.Height)
	key = append(key, a.Block.Hash[:]...)
	return append(key, a.ID...)
}

// Alerts yields what a tenant's monitors fired on a network for blocks of the
// heights given, both included, in the order of heights.
func (j *Journal) Alerts(tenant, network string, from, to uint64) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		j.Flush()
		p := prefix(tenant, network)
		err := j.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketAlerts).Cursor()
			for k, v := c.Seek(binary.BigEndian.AppendUint64(bytes.Clone(p), from)); bytes.HasPrefix(k, p); k, v = c.Next() {
				var a Alert
				if err := json.Unmarshal(v, &a); err != nil {
					return fmt.Errorf("journal: %w", err)
				}
				if a.Block.Height > to || !yield(a, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Alert{}, err)
		}
	}
}

// Has reports whether an alert of a block is in the journal.
func (j *Journal) Has(a *Alert) bool {
	found := false
	_ = j.db.View(func(tx *bbolt.Tx) error {
		found = tx.Bucket(bucketAlerts).Get(alertKey(a)) != nil
		return nil
	})
	return found
}
