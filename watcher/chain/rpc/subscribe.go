package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coder/websocket"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

const (
	wsConnectTimeout = 10 * time.Second
	wsPingEvery      = 20 * time.Second
	wsPingTimeout    = 10 * time.Second
	wsReadLimit      = 4 << 20 // bytes of a message; headers are a few KB
	wsBackoffFirst   = 250 * time.Millisecond
	wsBackoffMost    = 15 * time.Second
)

// Subscribe keeps a subscription open over the network's websocket endpoints
// and delivers the result member of its notifications. It connects again
// whenever the connection ends, to the next endpoint when one does not work;
// what happened meanwhile is not delivered, polling finds it. The channel is
// closed when ctx or the pool ends; the caller must read it until then.
// The error is chain.ErrNoHeadSource without a ws(s) endpoint.
func (p *Pool) Subscribe(ctx context.Context, method string, params ...any) (<-chan json.RawMessage, error) {
	if len(p.ws) == 0 {
		return nil, fmt.Errorf("network %s: %w", p.opts.Network, chain.ErrNoHeadSource)
	}
	request, err := appendRequest(nil, 2, method, params)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(p.ctx, cancel)
	out := make(chan json.RawMessage)
	go func() {
		defer close(out)
		defer cancel()
		defer unhook()
		p.subscribe(ctx, method, request, out)
	}()
	return out, nil
}

func (p *Pool) subscribe(ctx context.Context, method string, request []byte, out chan<- json.RawMessage) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = wsBackoffFirst, wsBackoffMost
	failing := false
	for ctx.Err() == nil {
		queue := order(p.ws, "", time.Now())
		var err error
		for _, ep := range queue {
			s := &session{pool: p, ep: ep, method: method, request: request, out: out}
			err = s.run(ctx)
			if ctx.Err() != nil {
				return
			}
			if s.delivered {
				wait.Reset()
				failing = false
			} else {
				ep.fault(time.Now())
			}
			p.opts.Metrics.errors.WithLabelValues(p.opts.Network, ep.redact.host, chain.Reason(err)).Inc()
			if !failing {
				failing = true
				p.opts.Logger.Warn("head subscription ended, polling goes on",
					"network", p.opts.Network, "endpoint", ep.redact.host, "error", err)
			}
			if s.delivered {
				break // from the heaviest again
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// session is one websocket connection.
type session struct {
	pool      *Pool
	ep        *endpoint
	method    string
	request   []byte
	out       chan<- json.RawMessage
	conn      *websocket.Conn
	delivered bool
}

// run returns when the connection is of no use any more.
func (s *session) run(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	calls := 1
	if s.pool.opts.Verify != nil {
		calls++
	}
	if err := s.pool.admit(ctx, calls); err != nil { // before the clock runs
		return err
	}
	dialing, stop := context.WithTimeout(ctx, wsConnectTimeout)
	defer stop()
	conn, resp, err := websocket.Dial(dialing, s.ep.url, &websocket.DialOptions{HTTPClient: s.pool.client})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return transportError(s.ep.redact, err)
	}
	s.conn = conn
	defer conn.CloseNow()
	conn.SetReadLimit(wsReadLimit)

	if s.pool.opts.Verify != nil {
		s.ep.disconnected()
		if err := s.pool.verify(dialing, s.ep, s); err != nil {
			return err
		}
	}
	id, err := s.ask(dialing, s.method, s.request, `2`)
	if err != nil {
		return err
	}
	stop()

	broken := make(chan error, 1)
	pinging := make(chan struct{})
	go func() {
		defer close(pinging)
		if err := s.ping(ctx); err != nil {
			broken <- err
			cancel()
		}
	}()
	err = s.read(ctx, id)
	cancel()
	<-pinging
	select {
	case err = <-broken:
	default:
	}
	return err
}

// Call makes a single call over the connection, before the subscription.
func (s *session) Call(ctx context.Context, method string, params ...any) (*Reply, error) {
	request, err := appendRequest(nil, 1, method, params)
	if err != nil {
		return nil, err
	}
	result, err := s.ask(ctx, method, request, `1`)
	if err != nil {
		return nil, err
	}
	return &Reply{Result: result}, nil
}

func (s *session) ask(ctx context.Context, method string, request []byte, id string) (json.RawMessage, error) {
	s.pool.counts.add(Connect, 1)
	s.pool.opts.Metrics.calls.WithLabelValues(s.pool.opts.Network, Connect.String(), method).Inc()
	if err := s.conn.Write(ctx, websocket.MessageText, request); err != nil {
		return nil, transportError(s.ep.redact, err)
	}
	for {
		env, err := s.receive(ctx)
		if err != nil {
			return nil, err
		}
		if string(env.id) != id {
			continue
		}
		if err := outcome(s.ep.redact, env); err != nil {
			if e, ok := errors.AsType[*Error](err); ok {
				e.Method = method
			}
			return nil, err
		}
		return env.result, nil
	}
}

func (s *session) receive(ctx context.Context) (envelope, error) {
	_, message, err := s.conn.Read(ctx)
	if err != nil {
		return envelope{}, transportError(s.ep.redact, err)
	}
	env, err := parseEnvelope(message)
	if err != nil {
		return envelope{}, malformed(s.ep.redact, message, err)
	}
	return env, nil
}

// read passes notifications on until the connection ends or stays silent.
func (s *session) read(ctx context.Context, subscription json.RawMessage) error {
	for {
		waiting, stop := context.WithTimeout(ctx, s.pool.opts.Idle)
		env, err := s.receive(waiting)
		stop()
		if err != nil {
			return err
		}
		var params struct {
			Subscription json.RawMessage `json:"subscription"`
			Result       json.RawMessage `json:"result"`
		}
		if env.params == nil || json.Unmarshal(env.params, &params) != nil || !bytes.Equal(params.Subscription, subscription) {
			continue
		}
		s.pool.opts.Metrics.heads.WithLabelValues(s.pool.opts.Network).Inc()
		select {
		case s.out <- params.Result:
			s.delivered = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ping finds connections that died without a word.
func (s *session) ping(ctx context.Context) error {
	tick := time.NewTicker(wsPingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		waiting, stop := context.WithTimeout(ctx, wsPingTimeout)
		err := s.conn.Ping(waiting)
		stop()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return transportError(s.ep.redact, err)
		}
	}
}
