package memnet

import (
	"net"
	"syscall"
	"time"
)

type listener struct {
	host   *Host
	addr   Addr
	queue  []pending
	closed bool
	moved  signal
}

// pending is a connection nobody has accepted yet.
type pending struct {
	c  *conn
	at time.Time
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Accept() (net.Conn, error) {
	n := l.host.net
	n.mu.Lock()
	for {
		if l.closed {
			n.mu.Unlock()
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
		}
		var next time.Time
		if len(l.queue) > 0 {
			head := l.queue[0]
			if due(head.at, time.Now()) {
				if l.queue = l.queue[1:]; len(l.queue) == backlog-1 {
					n.changed.fire()
				}
				n.mu.Unlock()
				return head.c, nil
			}
			next = head.at
		}
		change := l.moved.wait()
		n.mu.Unlock()
		sleep(change, nil, next)
		n.mu.Lock()
	}
}

// Close ends the listening, and resets what was not accepted.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.shut()
	n.change()
	return nil
}

func (l *listener) shut() {
	l.closed = true
	delete(l.host.listeners, l.addr.Port)
	for _, waiting := range l.queue {
		waiting.c.abort(syscall.ECONNRESET)
	}
	l.queue = nil
	l.moved.fire()
}
