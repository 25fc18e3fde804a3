package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
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
	out   *Outage   // nil while it answers, and takes changes
	retry time.Time // nobody but Run asks before
}

const (
	defaultCache   = 256 << 20
	connectTimeout = 3 * time.Second
	readTimeout    = 5 * time.Second
	restTime       = time.Second // after a failure, in which nobody else waits for one
	pingInterval   = time.Second
	pingTimeout    = 2 * time.Second
	prepareTimeout = time.Minute
)

// ErrForeign: the database is another cluster's.
var ErrForeign = errors.New("the PostgreSQL database is of another cluster: give each cluster a database of its own")

// errUntold: it is not known yet which cluster this is. That says nothing of the
// database.
var errUntold = errors.New("the cluster's record is not known yet")

// CheckURL refuses what is no URL of a database, without telling it.
func CheckURL(url string) error {
	_, err := pgxpool.ParseConfig(url)
	if err == nil {
		return nil
	}
	// What is wrong with TLS names files and modes, and nothing else of the URL.
	const ofTLS = "failed to configure TLS ("
	if text := err.Error(); strings.Contains(text, ofTLS) {
		return fmt.Errorf("its TLS parameters: %s", strings.TrimSuffix(text[strings.LastIndex(text, ofTLS)+len(ofTLS):], ")"))
	}
	return errors.New("want one like postgres://user:password@host:5432/database?sslmode=verify-full (it is not shown here: it may hold a password)")
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
	if exposed(&pool.Config().ConnConfig.Config) {
		s.log.Warn("the way to the tenant store in PostgreSQL is not safe: it may be read or answered by others; add sslmode=verify-full to its URL")
	}
	return s, nil
}

// exposed reports whether a connection may go over a network unencrypted, or to whoever
// answers there.
func exposed(c *pgconn.Config) bool {
	weak := func(host string, t *tls.Config) bool {
		ip := net.ParseIP(host)
		local := strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
		return !local && (t == nil || t.InsecureSkipVerify && t.VerifyPeerCertificate == nil)
	}
	return weak(c.Host, c.TLSConfig) || slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return weak(f.Host, f.TLSConfig) })
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
