package memnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// capacity is how many bytes a connection holds in one direction before writes
// wait, in bytes.
const capacity = 4 << 20

// half carries the bytes of one direction.
type half struct {
	link    *link
	queue   []segment
	size    int // bytes in queue
	fin     bool
	finAt   time.Time
	reset   bool
	resetAt time.Time
	moved   signal // something changed for either side
}

// segment is what one write sent, readable from a time on.
type segment struct {
	data []byte
	at   time.Time
}

// put appends a copy of data. What is sent later never arrives earlier.
func (h *half) put(data []byte, at time.Time) {
	if k := len(h.queue); k > 0 && h.queue[k-1].at.After(at) {
		at = h.queue[k-1].at
	}
	h.queue = append(h.queue, segment{data: append([]byte(nil), data...), at: at})
	h.size += len(data)
	h.link.stats.Bytes += int64(len(data))
	h.moved.fire()
}

// take moves what has arrived into p.
func (h *half) take(p []byte, now time.Time) int {
	total := 0
	for total < len(p) && len(h.queue) > 0 && due(h.queue[0].at, now) {
		k := copy(p[total:], h.queue[0].data)
		total += k
		if h.queue[0].data = h.queue[0].data[k:]; len(h.queue[0].data) == 0 {
			h.queue = h.queue[1:]
		}
	}
	if h.size -= total; len(h.queue) == 0 {
		h.queue = nil
	}
	return total
}

// lose drops what is still under way.
func (h *half) lose(now time.Time) {
	for k, s := range h.queue {
		if h.link.cut || !due(s.at, now) {
			for _, lost := range h.queue[k:] {
				h.size -= len(lost.data)
			}
			h.queue = h.queue[:k]
			return
		}
	}
}

// conn is one side of a connection.
type conn struct {
	net           *Net
	peer          *conn
	local, remote Addr
	in, out       *half
	dialed        bool
	closed        bool // by its own side
	gone          bool // with its host
	failed        error
	readBy        time.Time
	writeBy       time.Time
}

// newPair makes both sides and returns the dialing one.
func newPair(n *Net, from, to Addr) *conn {
	there := &half{link: n.link(from.Host, to.Host)}
	back := &half{link: n.link(to.Host, from.Host)}
	c := &conn{net: n, local: from, remote: to, in: back, out: there, dialed: true}
	c.peer = &conn{net: n, local: to, remote: from, in: there, out: back, peer: c}
	n.conns[c] = struct{}{}
	n.conns[c.peer] = struct{}{}
	return c
}

func (n *Net) forget(c *conn) {
	if over := func(c *conn) bool { return c.closed || c.gone }; over(c) && over(c.peer) {
		delete(n.conns, c)
		delete(n.conns, c.peer)
	}
}

func (c *conn) wake() {
	c.in.moved.fire()
	c.out.moved.fire()
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// unusable says why nothing can be done with this side any more, or when the
// caller has to look again.
func (c *conn) unusable(by, now time.Time) (next time.Time, err error) {
	switch {
	case c.closed:
		return next, net.ErrClosed
	case c.gone:
		return next, syscall.ENETDOWN
	case c.failed != nil:
		return next, c.failed
	case due(by, now):
		return next, os.ErrDeadlineExceeded
	case c.in.reset && !c.in.link.cut:
		if due(c.in.resetAt, now) {
			c.failed = syscall.ECONNRESET
			return next, c.failed
		}
		next = c.in.resetAt
	}
	return earlier(next, by), nil
}

func (c *conn) Read(p []byte) (int, error) {
	n := c.net
	n.mu.Lock()
	for {
		now := time.Now()
		next, err := c.unusable(c.readBy, now)
		if err != nil {
			n.mu.Unlock()
			return 0, c.fail("read", err)
		}
		if len(p) == 0 {
			n.mu.Unlock()
			return 0, nil
		}
		if !c.in.link.cut {
			if k := c.in.take(p, now); k > 0 {
				c.in.moved.fire()
				n.mu.Unlock()
				return k, nil
			}
			if len(c.in.queue) > 0 {
				next = earlier(next, c.in.queue[0].at)
			} else if c.in.fin {
				if due(c.in.finAt, now) {
					n.mu.Unlock()
					return 0, io.EOF
				}
				next = earlier(next, c.in.finAt)
			}
		}
		change := c.in.moved.wait()
		n.mu.Unlock()
		sleep(change, nil, next)
		n.mu.Lock()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	n := c.net
	n.mu.Lock()
	written := 0
	for {
		now := time.Now()
		next, err := c.unusable(c.writeBy, now)
		if err == nil && c.in.fin && !c.in.link.cut {
			// The other side has closed: as soon as that is known here.
			if due(c.in.finAt, now) {
				err = syscall.EPIPE
			}
			next = earlier(next, c.in.finAt)
		}
		if err != nil {
			n.mu.Unlock()
			return written, c.fail("write", err)
		}
		if k := min(capacity-c.out.size, len(p)-written); k > 0 {
			c.out.put(p[written:written+k], now.Add(n.delay))
			written += k
		}
		if written == len(p) {
			n.mu.Unlock()
			return written, nil
		}
		room, news := c.out.moved.wait(), c.in.moved.wait()
		n.mu.Unlock()
		sleep(room, news, next)
		n.mu.Lock()
	}
}

// Close ends this side. What was written is still delivered.
func (c *conn) Close() error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	if !c.gone {
		at := time.Now().Add(n.delay)
		if k := len(c.out.queue); k > 0 && c.out.queue[k-1].at.After(at) {
			at = c.out.queue[k-1].at
		}
		c.out.fin, c.out.finAt = true, at
	}
	c.wake()
	n.forget(c)
	return nil
}

// abort ends this side with a reset for the other.
func (c *conn) abort(err error) {
	if c.closed || c.gone {
		return
	}
	c.closed, c.failed = true, err
	c.out.reset, c.out.resetAt = true, time.Now().Add(c.net.delay)
	c.wake()
	c.net.forget(c)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error      { return c.deadlines(&t, &t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.deadlines(&t, nil) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadlines(nil, &t) }

func (c *conn) deadlines(read, write *time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	if read != nil {
		c.readBy = *read
	}
	if write != nil {
		c.writeBy = *write
	}
	c.wake()
	return nil
}
