package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// steady is how long Redis must be used for its loss to be an accident.
	steady = 10 * time.Second
	// longestPause bounds the time for which a Redis that is lost again and again
	// is left alone.
	longestPause = 30 * time.Second
)

// connect looks for Redis until the cache is closed. It is the only one that
// does: a Redis that does not answer costs nobody else any time.
func (c *Cache) connect() {
	var said bool // that it is not used
	var hasty bool
	var pause, wary time.Duration
	for wait(c.ctx, pause) {
		client, err := c.open()
		switch {
		case err != nil:
			if c.ctx.Err() == nil && !said {
				said = true
				c.warn(err)
			}
			hasty, pause = false, c.opts.Probe
			continue
		case hasty:
			// It was lost as soon as it was used, and yet it answers: this
			// question, and little else.
			_ = client.Close()
			hasty, wary = false, longer(wary, c.opts.Probe)
			pause = wary
			continue
		}
		since := time.Now()
		if !c.use(client) {
			return
		}
		select {
		case <-c.ctx.Done():
			return
		case <-c.lost:
		}
		said, pause = true, 0 // lose said it
		if hasty = time.Since(since) < steady; !hasty {
			wary = 0
		}
	}
}

// longer is the next pause of those for which Redis is left alone.
func longer(before, probe time.Duration) time.Duration {
	return max(probe, min(2*before, longestPause))
}

// use lets everybody ask Redis, unless the cache is closed.
func (c *Cache) use(client *goredis.Client) bool {
	c.opts.Logger.Info("shared block cache is used", "redis", c.name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = client.Close()
		return false
	}
	c.metrics.up.Set(1)
	c.link.Store(client)
	return true
}

// lose ends the use of a client after it failed. Of all who noticed the same,
// and of those who still hold a client that was lost before, one has an effect.
// The others' requests end with the client.
func (c *Cache) lose(client *goredis.Client, err error) {
	if c.ctx.Err() != nil || !c.link.CompareAndSwap(client, nil) {
		return
	}
	c.metrics.up.Set(0)
	c.warn(err)
	_ = client.Close()
	c.lost <- struct{}{} // there is room: connect takes one for each use
}

func (c *Cache) warn(err error) {
	c.opts.Logger.Warn("shared block cache is not used until it answers: blocks come from the lease holder",
		"redis", c.name, "error", err)
}

// open makes a client with all its connections, so that nobody has to make one
// within the time of a request. The first one shows whether Redis answers, by a
// question like those to come: PING may be allowed where GET is not.
func (c *Cache) open() (*goredis.Client, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.DialTimeout+c.opts.Timeout)
	defer cancel()
	options := *c.client
	client := goredis.NewClient(&options)
	conns := make([]*goredis.Conn, c.opts.Connections+1)
	for i := range conns {
		conns[i] = client.Conn()
	}
	err := c.probe(ctx, conns[0])
	if err == nil {
		var rest errgroup.Group
		again, cancel := context.WithTimeout(c.ctx, c.opts.DialTimeout+c.opts.Timeout)
		defer cancel()
		for _, conn := range conns[1:] {
			rest.Go(func() error { return c.probe(again, conn) })
		}
		err = rest.Wait()
	}
	for _, conn := range conns {
		_ = conn.Close() // it goes back to the client
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

func (c *Cache) probe(ctx context.Context, conn *goredis.Conn) error {
	err := conn.Get(ctx, probeKey(c.opts.Cluster)).Err()
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	return err
}

// dialer makes connections that end with the cache, handshake included.
func (c *Cache) dialer(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: c.opts.DialTimeout}
	dial := plain.DialContext
	if config != nil {
		dial = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !c.enter() {
			return nil, net.ErrClosed
		}
		defer c.leave()
		ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		return dial(ctx, network, address)
	}
}

// wait reports whether the time passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
