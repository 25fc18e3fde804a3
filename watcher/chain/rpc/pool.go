package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Endpoint is one entry of a network's rpc_urls, its secret resolved.
type Endpoint struct {
	URL    string // http, https, ws or wss; may hold a key
	Weight int    // priority, higher first; 0 is never used
}

// Caller makes single calls, on whatever connection it stands for.
type Caller interface {
	Call(ctx context.Context, method string, params ...any) (*Reply, error)
}

// Gate holds calls back where somebody may make only so many.
type Gate interface {
	// Wait returns when n calls may be sent, or with the error of ctx. That it takes
	// long is no fault of an endpoint.
	Wait(ctx context.Context, n int) error
}

// Options configure a Pool. Only Network and Endpoints are required.
type Options struct {
	Network   string // key of the network, for errors, logs and metrics
	Endpoints []Endpoint

	// Verify is asked before an endpoint is used for the first time, after its
	// connection broke, and when it is switched to. An error that wraps
	// chain.ErrWrongChain excludes the endpoint for a while.
	Verify    func(ctx context.Context, endpoint string, c Caller) error
	Exclusion time.Duration // until an excluded endpoint is verified again, 1 min

	Timeout        time.Duration // of one attempt at one endpoint, 15 s
	BreakerTimeout time.Duration // how long an open breaker refuses, 5 s
	MaxBody        int64         // bytes of a response, 256 MiB
	Rate           float64       // requests a second and endpoint, 0: no limit
	Burst          int           // requests at once within Rate, at least 1

	// Gate, when set, is asked before calls are sent, at whichever endpoint.
	Gate Gate

	// Hedge asks the next endpoint as well when one has not answered for so
	// long, and takes the first good answer. 0: never.
	Hedge time.Duration

	// Idle ends a subscription on which nothing was heard for so long, 2 min.
	Idle time.Duration

	// Dial opens the connections of the default HTTPClient, websockets included;
	// no proxy of the environment is used then. A refusal of an address wraps
	// ErrForbidden. Nil: a plain dialer, and proxies as the environment says.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// HTTPClient carries all requests, websocket handshakes included. The
	// default has generous idle limits and follows no redirects.
	HTTPClient *http.Client

	Logger  *slog.Logger
	Metrics *Metrics
}

// Pool sends requests to the endpoints of one network. It is safe for
// concurrent use.
type Pool struct {
	opts   Options
	http   []*endpoint // of requests
	ws     []*endpoint // of subscriptions
	client *http.Client
	own    bool // client is ours to close
	counts counters
	ctx    context.Context // ends with Close
	close  context.CancelFunc

	mu     sync.Mutex
	active *endpoint // last to answer; for the log line of a switch
}

// NewPool checks the URLs. It connects nowhere: an endpoint that is down when
// a network starts is no different from one that goes down later.
func NewPool(opts Options) (*Pool, error) {
	setDefaults(&opts)
	p := &Pool{opts: opts, client: opts.HTTPClient}
	for i, e := range opts.Endpoints {
		u, err := url.Parse(e.URL)
		if err != nil || u.Host == "" {
			// The error of url.Parse repeats the URL.
			return nil, fmt.Errorf("network %s: rpc_urls[%d]: not a URL with a host", opts.Network, i)
		}
		if e.Weight <= 0 {
			continue
		}
		switch u.Scheme {
		case "http", "https":
			p.http = append(p.http, newEndpoint(e, u, i, &p.opts))
		case "ws", "wss":
			p.ws = append(p.ws, newEndpoint(e, u, i, &p.opts))
		default:
			return nil, fmt.Errorf("network %s: rpc_urls[%d]: scheme %q: want http, https, ws or wss", opts.Network, i, u.Scheme)
		}
	}
	if len(p.http) == 0 {
		return nil, fmt.Errorf("network %s: rpc_urls has no http(s) endpoint with a weight above 0; blocks cannot be fetched", opts.Network)
	}
	if p.client == nil {
		p.client, p.own = newHTTPClient(opts.Dial), true
	}
	p.ctx, p.close = context.WithCancel(context.Background())
	return p, nil
}

func setDefaults(o *Options) {
	orDefault(&o.Timeout, 15*time.Second)
	orDefault(&o.BreakerTimeout, 5*time.Second)
	orDefault(&o.Exclusion, time.Minute)
	orDefault(&o.MaxBody, 256<<20)
	orDefault(&o.Idle, 2*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
}

func orDefault[T int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func newHTTPClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	// Through a proxy, a guard in dial would see the proxy alone.
	var proxy func(*http.Request) (*url.URL, error)
	if dial == nil {
		proxy = http.ProxyFromEnvironment
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               proxy,
			DialContext:         dial,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        128,
			MaxIdleConnsPerHost: 32,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		},
		// A redirected POST is a misconfiguration, and following it would send
		// the key in the URL's path to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// admit waits until the gate lets n calls through.
func (p *Pool) admit(ctx context.Context, n int) error {
	if p.opts.Gate == nil {
		return nil
	}
	began := time.Now()
	err := p.opts.Gate.Wait(ctx, n)
	if waited := time.Since(began); waited > time.Millisecond {
		p.opts.Metrics.gated.WithLabelValues(p.opts.Network).Add(waited.Seconds())
	}
	return err
}

// Counters tells how many calls were sent so far.
func (p *Pool) Counters() Counters { return p.counts.snapshot() }

// Close ends subscriptions and drops idle connections.
func (p *Pool) Close() error {
	p.close()
	if p.own {
		p.client.CloseIdleConnections()
	}
	return nil
}

// Call sends one request, passing it on to other endpoints as Do does.
func (p *Pool) Call(ctx context.Context, kind Kind, method string, params ...any) (*Reply, error) {
	return Do(ctx, p, kind, method, func(ctx context.Context, c *Conn) (*Reply, error) {
		return c.Call(ctx, method, params...)
	})
}

// Survey runs f against every endpoint that may be asked now, one after the
// other, whatever it returns.
func (p *Pool) Survey(ctx context.Context, kind Kind, f func(context.Context, *Conn) error) {
	for _, ep := range order(p.http, "", time.Now()) {
		if ctx.Err() != nil || p.ctx.Err() != nil {
			return
		}
		if p.ready(ctx, ep) == nil {
			_ = f(ctx, &Conn{pool: p, ep: ep, kind: kind}) // what matters is what f saw
		}
	}
}

// answered notes which endpoint serves the network now.
func (p *Pool) answered(ep *endpoint) {
	p.mu.Lock()
	before := p.active
	p.active = ep
	p.mu.Unlock()
	if before != nil && before != ep {
		p.opts.Logger.Info("endpoint switched", "network", p.opts.Network, "from", before.redact.host, "to", ep.redact.host)
	}
}

// ready verifies an endpoint where that is due.
func (p *Pool) ready(ctx context.Context, ep *endpoint) error {
	if p.opts.Verify == nil || !ep.mustVerify(time.Now()) {
		return nil
	}
	return p.verify(ctx, ep, &Conn{pool: p, ep: ep, kind: Connect})
}

func (p *Pool) verify(ctx context.Context, ep *endpoint, c Caller) error {
	newlyWrong, err := ep.verify(ctx, func(ctx context.Context) error {
		return p.opts.Verify(ctx, ep.redact.host, c)
	})
	if newlyWrong {
		p.opts.Logger.Error("endpoint excluded: it serves another chain",
			"network", p.opts.Network, "endpoint", ep.redact.host, "error", err)
		p.opts.Metrics.errors.WithLabelValues(p.opts.Network, ep.redact.host, chain.Reason(err)).Inc()
	}
	return err
}

// unusable explains why no endpoint may be asked.
func (p *Pool) unusable() error {
	now := time.Now()
	var errs []error
	for _, ep := range p.http {
		if err := ep.obstacle(now); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return fmt.Errorf("network %s: %w", p.opts.Network, chain.ErrUnavailable)
	}
	return &allFailed{errs: errs}
}
