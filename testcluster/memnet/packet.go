package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	packetQueue = 8192  // packets that wait to be read; more are dropped
	packetMax   = 65507 // bytes in one packet
)

type packetConn struct {
	host   *Host
	addr   Addr
	queue  []packet
	closed bool
	gone   bool
	readBy time.Time
	moved  signal
}

type packet struct {
	data []byte
	from Addr
	at   time.Time
}

func (p *packetConn) LocalAddr() net.Addr { return p.addr }

// Resolve lets who has nothing but this connection find addresses by name.
func (p *packetConn) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return p.host.net.Resolve(ctx, host)
}

func (p *packetConn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Addr: p.addr, Err: err}
}

func (p *packetConn) unusable() error {
	if p.gone {
		return syscall.ENETDOWN
	}
	if p.closed {
		return net.ErrClosed
	}
	return nil
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n := p.host.net
	n.mu.Lock()
	for {
		now := time.Now()
		err := p.unusable()
		if err == nil && due(p.readBy, now) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			n.mu.Unlock()
			return 0, nil, p.fail("read", err)
		}
		next := p.readBy
		if len(p.queue) > 0 {
			head := p.queue[0]
			if due(head.at, now) {
				p.queue = p.queue[1:]
				n.mu.Unlock()
				return copy(b, head.data), head.from, nil
			}
			next = earlier(next, head.at)
		}
		change := p.moved.wait()
		n.mu.Unlock()
		sleep(change, nil, next)
		n.mu.Lock()
	}
}

// WriteTo sends one packet to an address of the form "name:port" or "ip:port".
// What cannot be delivered is lost without a word.
func (p *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	host, port, err := splitAddress(addr.String())
	if err != nil {
		return 0, p.fail("write", err)
	}
	if len(b) > packetMax {
		return 0, p.fail("write", syscall.EMSGSIZE)
	}
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := p.unusable(); err != nil {
		return 0, p.fail("write", err)
	}
	to := n.lookup(p.host, host)
	if to == nil {
		return len(b), nil
	}
	l := n.link(p.host.name, to.name)
	l.stats.Packets++
	l.stats.PacketBytes += int64(len(b))
	q := to.packets[port]
	if l.cut || q == nil || len(q.queue) >= packetQueue {
		l.stats.PacketsDropped++
		return len(b), nil
	}
	at := time.Now().Add(n.delay)
	if k := len(q.queue); k > 0 && q.queue[k-1].at.After(at) {
		at = q.queue[k-1].at
	}
	q.queue = append(q.queue, packet{data: append([]byte(nil), b...), from: p.addr, at: at})
	q.moved.fire()
	return len(b), nil
}

func (p *packetConn) Close() error {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.closed {
		return p.fail("close", net.ErrClosed)
	}
	gone := p.gone
	p.shut()
	p.gone = gone
	return nil
}

// shut ends it with its host.
func (p *packetConn) shut() {
	if !p.closed && p.host.packets[p.addr.Port] == p {
		delete(p.host.packets, p.addr.Port)
	}
	p.closed, p.gone, p.queue = true, true, nil
	p.moved.fire()
}

func (p *packetConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *packetConn) SetReadDeadline(t time.Time) error {
	p.host.net.mu.Lock()
	defer p.host.net.mu.Unlock()
	p.readBy = t
	p.moved.fire()
	return nil
}

// SetWriteDeadline does nothing: writing never waits.
func (p *packetConn) SetWriteDeadline(time.Time) error { return nil }
