package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits; see the package's documentation.
const (
	openingTimeout = 5 * time.Second // from accepting a connection to its tag
	maxOpening     = 256
	backlog        = 128 // connections of a stream that wait to be accepted
)

// Options are what a Mux is made of.
type Options struct {
	Listener net.Listener // closed by the Mux
	// Server and Client are pki.Credentials' ServerConfig and ClientConfig; both
	// nil: plaintext.
	Server  *tls.Config
	Client  *tls.Config
	Cluster string // whose certificates are accepted; not needed in plaintext
	// Dial connects to an address; nil: a net.Dialer does.
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	Logger     *slog.Logger          // nil: discards
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Mux is one node's end of all streams.
type Mux struct {
	listener net.Listener
	server   *tls.Config
	cluster  string
	dialer   Dialer
	metrics  *metrics
	warnings *warnings

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // Serve, and connections being opened

	// mu guards what follows, and is never held while anything is waited for.
	mu      sync.Mutex
	closed  bool
	opening []*opening // oldest first
	conns   map[*conn]struct{}
	streams map[Tag]*stream
}

// New makes a Mux; it accepts nothing before Serve.
func New(o Options) (*Mux, error) {
	switch {
	case o.Listener == nil:
		return nil, errors.New("mux: a listener is required")
	case (o.Server == nil) != (o.Client == nil):
		return nil, errors.New("mux: TLS is needed for both directions or for none")
	case o.Server != nil && (o.Server.VerifyConnection == nil || o.Client.VerifyConnection == nil):
		return nil, errors.New("mux: the TLS configuration verifies no peers: take that of pki.Credentials")
	case o.Server != nil && o.Cluster == "":
		return nil, errors.New("mux: the cluster's name is required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Mux{
		listener: o.Listener, server: o.Server, cluster: o.Cluster,
		dialer:   Dialer{TLS: o.Client, Cluster: o.Cluster, Dial: o.Dial},
		warnings: newWarnings(o.Logger),
		conns:    map[*conn]struct{}{},
		streams:  map[Tag]*stream{},
	}
	m.metrics = newMetrics(o.Registerer)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Serve accepts connections until Close, and then returns nil. Any other end of
// the listener is an error.
func (m *Mux) Serve() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.work.Add(1) // under the lock: never while Close waits
	m.mu.Unlock()
	defer m.work.Done()
	const firstPause, longestPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		raw, err := m.listener.Accept()
		switch {
		case err == nil:
			pause = firstPause
			m.open(raw)
			continue
		case m.ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		// Mostly: too many open files. It passes, or people have to act.
		m.warnings.warn(reasonAccept, "connections cannot be accepted at the moment", "error", err)
		m.metrics.rejected.WithLabelValues(reasonAccept).Inc()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-m.ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, longestPause)
	}
}

// Listener accepts the connections of one stream. Until it is asked for,
// connections of that stream are refused. There is one listener per stream:
// asking again returns the same, or a new one once the first has been closed.
func (m *Mux) Listener(tag Tag) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.streams[tag]; s != nil {
		return s
	}
	s := &stream{mux: m, tag: tag, queue: make(chan *conn, backlog), done: make(chan struct{})}
	if m.closed || !tag.known() {
		close(s.done)
		return s
	}
	m.streams[tag] = s
	return s
}

// Dial connects to a stream of the node at an address. It takes 5 s at most.
// Every error is a *net.OpError whose Op is "dial": nothing has been said to the
// other side yet. It wraps one of pki's errors where it is the certificate that
// is wrong, and net.ErrClosed once the Mux is closed. Close ends the connection.
func (m *Mux) Dial(ctx context.Context, tag Tag, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	c, err := m.dialer.dial(ctx, tag, address)
	if err == nil && !m.track(c) {
		_ = c.raw.Close()
		err = net.ErrClosed
	}
	if err != nil {
		if m.ctx.Err() != nil {
			err = net.ErrClosed
		}
		m.metrics.dialFailures.WithLabelValues(tag.String()).Inc()
		return nil, dialError(err)
	}
	return c, nil
}

// Close ends everything: listeners return net.ErrClosed, and every connection
// that was accepted or dialled is closed, without a word to the peer. It returns
// when no goroutine of the Mux is left, and may be called again.
func (m *Mux) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	opening := slices.Clone(m.opening)
	conns := slices.Collect(maps.Keys(m.conns))
	streams := slices.Collect(maps.Values(m.streams))
	m.mu.Unlock()

	m.cancel()
	var err error
	if first {
		err = m.listener.Close()
	}
	for _, o := range opening {
		_ = o.raw.Close()
	}
	for _, s := range streams {
		_ = s.Close()
	}
	// Closing the TLS connection would wait for peers that do not read.
	for _, c := range conns {
		_ = c.raw.Close()
		m.untrack(c)
	}
	m.work.Wait()
	return err
}

// track makes a connection one that Close ends; false: the Mux is closed.
func (m *Mux) track(c *conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	c.mux = m
	m.conns[c] = struct{}{}
	m.metrics.connections.Set(float64(len(m.conns)))
	return true
}

func (m *Mux) untrack(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
	m.metrics.connections.Set(float64(len(m.conns)))
}
