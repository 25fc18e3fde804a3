package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Options are what a store is made of.
type Options struct {
	URL     string // postgres://user:password@host:port/database; never told to anybody
	Cluster string // name of the cluster
	// Identity waits until it is known which cluster this is, of all those that may
	// have its name. The database of another one is refused.
	Identity func(context.Context) (string, error)
	Cache    int64 // bytes of contents that are kept in memory; 0: 256 MiB

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Store is a connection to the database. It works as soon as the database does, and
// again whenever that comes back.
type Store struct {
	opts    Options
	pool    *pgxpool.Pool
	log     *slog.Logger
	metrics *metrics
	cache   *cache

	identity  string        // of the cluster; known from the first attempt to prepare on
	preparing chan struct{} // holds a token while the schema is brought up to date: that takes two connections

	batch sync.Mutex // held while many contents are read

	mu    sync.Mutex
	ready bool      // the schema is up to date
	why   error     // what failed last; nil while it answers
	since time.Time // when it began to fail
	retry time.Time // nobody asks before
}

const (
	defaultCache   = 256 << 20
	connectTimeout = 3 * time.Second
	readTimeout    = 5 * time.Second
	restTime       = time.Second // after a failure, in which nobody else waits for one
	pingInterval   = time.Second
	pingTimeout    = 2 * time.Second
)

// ErrForeign: the database is another cluster's.
var ErrForeign = errors.New("the PostgreSQL database is of another cluster: give each cluster a database of its own")

// errUntold: it is not known yet which cluster this is. That says nothing of the
// database.
var errUntold = errors.New("the cluster's record is not known yet")

// CheckURL refuses what is no URL of a database, without telling it.
func CheckURL(url string) error {
	if _, err := pgxpool.ParseConfig(url); err != nil {
		return errors.New("want one like postgres://user:password@host:5432/database?sslmode=verify-full (it is not shown here: it may hold a password)")
	}
	return nil
}

// New makes a store, whether the database answers or not.
func New(opts Options) (*Store, error) {
	pool, err := connect(opts.URL)
	if err != nil {
		return nil, err
	}
	if opts.Cache == 0 {
		opts.Cache = defaultCache
	}
	s := &Store{opts: opts, pool: pool, log: opts.Logger, cache: newCache(opts.Cache), preparing: make(chan struct{}, 1)}
	s.metrics = newMetrics(opts.Registerer, s)
	return s, nil
}

func connect(url string) (*pgxpool.Pool, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	config, _ := pgxpool.ParseConfig(url) // was read a moment ago
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "ozmo"
	if t := config.ConnConfig.TLSConfig; t != nil {
		t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	}
	return pgxpool.NewWithConfig(context.Background(), config)
}

// Close ends all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Run brings the schema up to date and finds out whether the database answers, and is
// still this cluster's, until ctx ends. It returns only what makes going on pointless.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		err := s.do(ctx, pingTimeout, func(ctx context.Context) error {
			return s.claim(ctx, s.pool)
		})
		if errors.Is(err, ErrForeign) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Err is why the database does not answer at the moment; nil if it does. It is for
// operators: the reason names hosts and users.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		return nil
	}
	return fmt.Errorf("the tenant store in PostgreSQL does not answer since %s: running tenants go on, changes are refused, what moves here waits: %w",
		s.since.UTC().Format(time.RFC3339), s.why)
}

// do asks the database within a limit, unless it has failed a moment ago. Errors
// wrap fsm.ErrUnreachable, or are of the question itself.
func (s *Store) do(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	s.mu.Lock()
	rests, ready := time.Now().Before(s.retry), s.ready
	s.mu.Unlock()
	if rests {
		return fsm.ErrUnreachable
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	if !ready {
		err = s.prepare(limited)
	}
	if err == nil {
		err = f(limited)
	}
	if errors.Is(err, errUntold) {
		return fmt.Errorf("%w: %w", fsm.ErrUnreachable, err)
	}
	if err == nil || errors.Is(err, ErrForeign) || answered(err) {
		s.note(nil)
		return err
	}
	if ctx.Err() != nil { // the caller has gone: that says nothing of the database
		return errors.Join(fsm.ErrUnreachable, ctx.Err())
	}
	s.note(err)
	return fsm.ErrUnreachable
}

// answered reports whether an error is the database's answer to a question, and not
// the lack of one.
func answered(err error) bool {
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, errDamaged) || errors.Is(err, fsm.ErrNotFound) {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(e.Code) != 5 {
		return false
	}
	switch e.Code[:2] {
	case "08", "28", "3D", "42", "53", "55", "57", "58", "25": // connection, login, no database, rights, resources, locks, shut down, read-only
		return false
	}
	return true
}

func (s *Store) note(err error) {
	s.mu.Lock()
	was := s.why
	s.why = err
	if err != nil {
		s.retry = time.Now().Add(restTime)
		if was == nil {
			s.since = time.Now()
		}
	}
	s.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.log.Error("the tenant store in PostgreSQL does not answer: running tenants go on, changes are refused, what moves here waits", "error", err)
	case err == nil && was != nil:
		s.log.Info("the tenant store in PostgreSQL answers again")
	}
}
