package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	defaultTTL          = time.Hour
	defaultTimeout      = 50 * time.Millisecond
	defaultDialTimeout  = 250 * time.Millisecond
	defaultWriteTimeout = time.Second
	defaultProbe        = time.Second
	defaultConnections  = 4
	defaultQueueEntries = 1024
	defaultQueueBytes   = 64 << 20
)

// ErrOptions is what New fails with.
var ErrOptions = errors.New("redis block cache")

// Options of a Cache. URL and Cluster are required.
type Options struct {
	// URL is redis://, rediss:// (TLS) or unix://, as in
	// redis://user:password@host:port/db and unix://user:password@/path?db=1.
	// With rediss://, ?skip_verify=true accepts any certificate. One server, or a
	// proxy that looks like one: not Redis Cluster.
	URL string
	// TLS overrides what rediss:// makes: the system's roots, TLS 1.2 or newer.
	TLS *tls.Config
	// Cluster keeps apart the clusters that share a Redis. It has no colon.
	Cluster string
	// TTL is how long payloads of a network are kept, at least a second. Where it
	// says 0, and when it is nil, that is an hour.
	TTL func(network string) time.Duration

	Timeout      time.Duration // of a Get as a whole; 50 ms
	DialTimeout  time.Duration // of making a connection; 250 ms
	WriteTimeout time.Duration // of storing what was put, many at a time; 1 s
	// Probe is the time between two looks at a Redis that does not answer; 1 s.
	Probe time.Duration
	// Connections is the number of payloads asked for at the same time; 4.
	Connections int
	// QueueEntries and QueueBytes bound what is on its way to Redis; 1 024 and 64 MiB.
	QueueEntries int
	QueueBytes   int64

	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// String names the Redis without its password.
func (o Options) String() string {
	u, err := url.Parse(o.URL)
	if err != nil {
		return "redis"
	}
	return redacted(u)
}

// GoString is String: %#v must not show the password either.
func (o Options) GoString() string { return o.String() }

// LogValue is String, for log/slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

func redacted(u *url.URL) string {
	if u.Scheme == "unix" {
		return "unix://" + u.Path
	}
	return u.Scheme + "://" + u.Host
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.DialTimeout = cmp.Or(o.DialTimeout, defaultDialTimeout)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, defaultWriteTimeout)
	o.Probe = cmp.Or(o.Probe, defaultProbe)
	o.Connections = cmp.Or(o.Connections, defaultConnections)
	o.QueueEntries = cmp.Or(o.QueueEntries, defaultQueueEntries)
	o.QueueBytes = cmp.Or(o.QueueBytes, defaultQueueBytes)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// parse checks the options and makes those of the client. Its errors never quote
// the URL: where it does not parse, any part of it may be the password.
func (o Options) parse() (*goredis.Options, error) {
	if o.Cluster == "" || strings.Contains(o.Cluster, ":") {
		return nil, fmt.Errorf("%w: the cluster's name is %q: it must not be empty nor contain a colon", ErrOptions, o.Cluster)
	}
	if min(o.Timeout, o.DialTimeout, o.WriteTimeout, o.Probe) <= 0 || min(int64(o.Connections), int64(o.QueueEntries), o.QueueBytes) <= 0 {
		return nil, fmt.Errorf("%w: a limit is negative", ErrOptions)
	}
	bad := fmt.Errorf("%w: the URL cannot be used: want redis://[user:password@]host[:port][/db], rediss://… for TLS, "+
		"or unix:///path[?db=N]; write special characters of the password as %%XX", ErrOptions)
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, bad
	}
	for name := range u.Query() {
		if name != "db" && name != "skip_verify" {
			return nil, bad // what tunes the client is ours to decide
		}
	}
	client, err := goredis.ParseURL(o.URL)
	if err != nil {
		return nil, bad
	}
	if o.TLS != nil && client.TLSConfig != nil {
		client.TLSConfig = o.TLS.Clone()
		client.TLSConfig.ServerName = cmp.Or(o.TLS.ServerName, u.Hostname())
	}
	client.Protocol = 2 // replies only: nothing is pushed to us
	client.DisableIdentity = true
	client.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// One attempt each: a second one would take the time of the first again.
	client.MaxRetries = -1
	client.DialerRetries = 1
	client.DialTimeout = o.DialTimeout
	// Every request has a context with a deadline; these are upper bounds of it.
	client.ContextTimeoutEnabled = true
	client.ReadTimeout = max(o.WriteTimeout, o.Timeout+o.DialTimeout)
	client.WriteTimeout = client.ReadTimeout
	client.PoolTimeout = client.ReadTimeout
	// Of this pool the readers and the writer never hold more than all but one.
	// After as many failed dials as it has places the client would begin to dial
	// on its own; with one place more than dials that can fail before the client
	// is given up (see Cache.lose), it does not.
	client.PoolSize = o.Connections + 2
	client.PipelinePoolSize = -1 // the writer uses the same connections
	client.ConnMaxIdleTime = -1  // a connection is checked before it is used
	return client, nil
}
