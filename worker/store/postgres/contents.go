package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ozmo-dev/ozmo/fsm"
)

var errDamaged = errors.New("the database holds something else under this hash")

// Content implements fsm.Contents. What versions point to is there: where it is not,
// it was lost, and may come back like a database that does not answer.
func (s *Store) Content(hash fsm.Hash) ([]byte, error) {
	if data, ok := s.cache.get(hash); ok {
		s.metrics.reads.WithLabelValues("cache").Inc()
		return data, nil
	}
	if err := s.Prefetch([]fsm.Hash{hash}); err != nil {
		return nil, err
	}
	data, ok := s.cache.get(hash)
	if !ok {
		return nil, fmt.Errorf("content %s is missing in PostgreSQL: put the document in force again, or restore the database from a dump made after the cluster's backup: %w", hash.Short(), fsm.ErrUnreachable)
	}
	return data, nil
}

// What one question may ask for.
const (
	readBatch     = 500
	batchTimeout  = 30 * time.Second
	collectBatch  = 5000
	collectPerAsk = 1000
)

// Prefetch implements fsm.Contents.
func (s *Store) Prefetch(hashes []fsm.Hash) error {
	var missing [][]byte
	asked := map[fsm.Hash]bool{}
	for _, hash := range hashes {
		if _, ok := s.cache.get(hash); !ok && !asked[hash] {
			asked[hash] = true
			missing = append(missing, hash[:])
		}
	}
	for part := range slices.Chunk(missing, readBatch) {
		if err := s.readMissing(part); err != nil {
			return err
		}
	}
	return nil
}

// readMissing reads a batch. A node that starts is asked for the same by several who
// begin together: the second one finds what the first has read.
func (s *Store) readMissing(hashes [][]byte) error {
	if len(hashes) > 1 {
		s.batch.Lock()
		defer s.batch.Unlock()
	}
	hashes = slices.DeleteFunc(hashes, func(raw []byte) bool {
		_, ok := s.cache.get(fsm.Hash(raw))
		return ok
	})
	if len(hashes) == 0 {
		return nil
	}
	return s.read(context.Background(), hashes)
}

func (s *Store) read(ctx context.Context, hashes [][]byte) error {
	limit := readTimeout
	if len(hashes) > 1 {
		limit = batchTimeout
	}
	return s.do(ctx, limit, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, "select hash, data from ozmo.contents where hash = any($1)", hashes)
		if err != nil {
			return err
		}
		var raw, data []byte
		_, err = pgx.ForEachRow(rows, []any{&raw, &data}, func() error {
			hash := fsm.HashBlob(data)
			if string(hash[:]) != string(raw) {
				return fmt.Errorf("content %x: %w", raw, errDamaged)
			}
			s.metrics.reads.WithLabelValues("database").Inc()
			s.cache.put(hash, append([]byte(nil), data...))
			return nil
		})
		return err
	})
}

// Missing are those of the hashes whose contents are not there. Its error wraps
// fsm.ErrUnreachable.
func (s *Store) Missing(ctx context.Context, hashes []fsm.Hash) (missing []fsm.Hash, err error) {
	for part := range slices.Chunk(hashes, collectBatch) {
		raw := make([][]byte, len(part))
		for i := range part {
			raw[i] = part[i][:]
		}
		err := s.do(ctx, batchTimeout, func(ctx context.Context) error {
			rows, err := s.pool.Query(ctx, "select h from unnest($1::bytea[]) as wanted (h) where not exists (select from ozmo.contents where hash = h)", raw)
			if err != nil {
				return err
			}
			found, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
			for _, hash := range found {
				missing = append(missing, fsm.Hash(hash))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// Put stores contents before a version points to them, and has those of keep, which
// must be there, spared by Collect for as long. It is all or nothing; doing it twice
// is as good as once. Its error wraps fsm.ErrUnreachable, or fsm.ErrNotFound where
// one of keep is gone.
func (s *Store) Put(ctx context.Context, blobs [][]byte, keep []fsm.Hash) error {
	err := s.do(ctx, putTimeout(blobs, keep), func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			for rest := blobs; len(rest) > 0; {
				n, size := 0, 0
				batch := &pgx.Batch{}
				for ; n < len(rest) && n < readBatch && (n == 0 || size+len(rest[n]) <= 8<<20); n++ {
					hash := fsm.HashBlob(rest[n])
					size += len(rest[n])
					batch.Queue("insert into ozmo.contents (hash, data) values ($1, $2) on conflict (hash) do update set put_at = now()", hash[:], rest[n])
				}
				if err := tx.SendBatch(ctx, batch).Close(); err != nil {
					return err
				}
				rest = rest[n:]
			}
			if len(keep) == 0 {
				return nil
			}
			raw := make([][]byte, len(keep))
			for i := range keep {
				raw[i] = keep[i][:]
			}
			done, err := tx.Exec(ctx, "update ozmo.contents set put_at = now() where hash = any($1)", raw)
			if err == nil && done.RowsAffected() != int64(len(keep)) {
				err = fmt.Errorf("%d of %d contents are gone from PostgreSQL: %w", int64(len(keep))-done.RowsAffected(), len(keep), fsm.ErrNotFound)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, b := range blobs {
		s.cache.put(fsm.HashBlob(b), b)
	}
	return nil
}

// putTimeout is how long somebody waits for a Put: for a small one not as long as for
// the contents of many tenants.
func putTimeout(blobs [][]byte, keep []fsm.Hash) time.Duration {
	size := 0
	for _, b := range blobs {
		size += len(b)
	}
	if len(blobs)+len(keep) <= readBatch && size <= 1<<20 {
		return readTimeout
	}
	return batchTimeout
}

// Collect deletes the contents that nothing uses and that were last put before the
// age: a writer may still be between its Put and its version. view is called once
// the candidates are known, and answers what versions use by then. Collect tells how
// many it has deleted.
func (s *Store) Collect(ctx context.Context, age time.Duration, view func() (used func(fsm.Hash) bool, err error)) (int, error) {
	deleted, after := 0, []byte{}
	for {
		var idle, all [][]byte
		err := s.do(ctx, batchTimeout, func(ctx context.Context) error {
			rows, err := s.pool.Query(ctx, "select hash from ozmo.contents where put_at < now() - $1::interval and hash > $2 and now() >= (select spare_until from ozmo.cluster) order by hash limit $3", age, after, collectBatch)
			if err != nil {
				return err
			}
			all, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
			return err
		})
		if err == nil && len(all) > 0 {
			var used func(fsm.Hash) bool
			if used, err = view(); err == nil {
				after = all[len(all)-1]
				idle = slices.DeleteFunc(slices.Clone(all), func(raw []byte) bool { return used(fsm.Hash(raw)) })
			}
		}
		for err == nil && len(idle) > 0 {
			n := min(collectPerAsk, len(idle))
			err = s.do(ctx, batchTimeout, func(ctx context.Context) error {
				// Who put it again meanwhile has made it young.
				done, err := s.pool.Exec(ctx, "delete from ozmo.contents where hash = any($1) and put_at < now() - $2::interval", idle[:n], age)
				deleted += int(done.RowsAffected())
				return err
			})
			idle = idle[n:]
		}
		if err != nil || len(all) < collectBatch {
			return deleted, err
		}
	}
}
