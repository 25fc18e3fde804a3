package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// backlog is how many connections wait to be accepted; dials wait beyond.
const backlog = 1024

// Host is one machine of the network.
type Host struct {
	net       *Net
	name      string
	ip        netip.Addr
	down      bool // killed or vanished, and not listening since
	silent    bool // vanished: it does not even refuse
	life      int
	nextPort  int
	listeners map[int]*listener
	packets   map[int]*packetConn
}

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// IP is the host's address. Addresses given anywhere may use it for the name.
func (h *Host) IP() netip.Addr {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.ip
}

// Readdress gives the host another IP address, as a pod gets one that starts
// again elsewhere. Call it between two lives.
func (h *Host) Readdress() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.address(h)
	h.net.change()
}

// Resolve is Net.Resolve.
func (h *Host) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return h.net.Resolve(ctx, host)
}

// Listen accepts connections at "name:port" or ":port"; port 0 is allotted. The
// first Listen or ListenPacket after Kill or Vanish begins the host's next life.
func (h *Host) Listen(address string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.claim("tcp", address)
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, addr: Addr{Proto: "tcp", Host: h.name, IP: h.ip, Port: port}}
	h.listeners[port] = l
	h.net.change()
	return l, nil
}

// ListenPacket is Listen for packets.
func (h *Host) ListenPacket(address string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.claim("udp", address)
	if err != nil {
		return nil, err
	}
	p := &packetConn{host: h, addr: Addr{Proto: "udp", Host: h.name, IP: h.ip, Port: port}}
	h.packets[port] = p
	h.net.change()
	return p, nil
}

// claim finds the port to listen on, and wakes a host that was down.
func (h *Host) claim(proto, address string) (int, error) {
	fail := func(err error) (int, error) {
		return 0, &net.OpError{Op: "listen", Net: proto, Addr: Addr{Proto: proto, Host: h.name}, Err: err}
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return fail(err)
	}
	if h.net.lookup(h, host) != h {
		return fail(fmt.Errorf("%s is not an address of host %s: %w", host, h.name, syscall.EADDRNOTAVAIL))
	}
	taken := func(port int) bool {
		if proto == "udp" {
			return h.packets[port] != nil
		}
		return h.listeners[port] != nil
	}
	if port == 0 {
		// Free for both, so that one number serves connections and packets.
		for h.listeners[h.nextPort] != nil || h.packets[h.nextPort] != nil {
			h.nextPort++
		}
		port = h.nextPort
		h.nextPort++
	} else if taken(port) {
		return fail(syscall.EADDRINUSE)
	}
	if h.down {
		h.down, h.silent = false, false
		h.orphans()
	}
	return port, nil
}

// orphans resets what peers still have open to an earlier life of the host: it
// does not know these connections.
func (h *Host) orphans() {
	for c := range h.net.conns {
		if c.remote.Host == h.name && c.peer.gone && !c.in.reset {
			c.in.reset, c.in.resetAt = true, time.Now().Add(h.net.delay)
			c.wake()
		}
	}
}

// Kill ends the process on this host: what it listens on and its connections
// are gone at once, its peers see a reset as soon as they can hear of it. The
// code that ran here sees errors; stop it before the host's next life.
func (h *Host) Kill() { h.end(false) }

// Vanish is Kill without a word to anybody, as when the power goes: what peers
// have open stalls, and so do new dials, until the host's next life.
func (h *Host) Vanish() { h.end(true) }

func (h *Host) end(silently bool) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	h.life++
	h.down, h.silent = true, silently
	for c := range n.conns {
		if c.local.Host != h.name || c.gone {
			continue
		}
		c.gone = true
		if silently {
			c.out.lose(now)
		} else {
			c.out.reset, c.out.resetAt = true, now.Add(n.delay)
		}
		c.wake()
		c.peer.wake()
		n.forget(c)
	}
	// After the connections: what waits to be accepted has ended like the others.
	for _, l := range h.listeners {
		l.shut()
	}
	for _, p := range h.packets {
		p.shut()
	}
	n.change()
}

// Dial connects to "name:port". It waits, until ctx ends, while the link is cut
// or the other host has vanished. The network is "tcp".
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	target := Addr{Proto: network}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: target, Err: err}
	}
	if network != "tcp" {
		return fail(net.UnknownNetworkError(network))
	}
	host, port, err := splitAddress(address)
	target.Host, target.Port = host, port
	if err != nil {
		return fail(err)
	}
	n := h.net
	n.mu.Lock()
	life := h.life
	for {
		err := ctx.Err()
		if err == nil && (h.down || h.life != life) {
			err = syscall.ENETDOWN
		}
		var c *conn
		if err == nil {
			c, err = n.connect(h, host, port)
		}
		trip := time.Now().Add(2 * n.delay)
		change := n.changed.wait()
		n.mu.Unlock()
		switch {
		case c != nil:
			return c.await(ctx, trip)
		case err != nil:
			return fail(err)
		}
		sleep(change, ctx.Done(), time.Time{})
		n.mu.Lock()
	}
}

// connect makes the connection, or returns none when the dial has to wait.
func (n *Net) connect(from *Host, host string, port int) (*conn, error) {
	to := n.lookup(from, host)
	if to == nil {
		if _, err := netip.ParseAddr(host); err == nil {
			return nil, nil // an address nobody has does not answer
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if to.silent || n.link(from.name, to.name).cut || n.link(to.name, from.name).cut {
		return nil, nil
	}
	l := to.listeners[port]
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	if len(l.queue) >= backlog {
		return nil, nil
	}
	from.nextPort++
	c := newPair(n, Addr{Proto: "tcp", Host: from.name, IP: from.ip, Port: from.nextPort}, l.addr)
	n.link(from.name, to.name).stats.Conns++
	l.queue = append(l.queue, pending{c: c.peer, at: time.Now().Add(n.delay)})
	l.moved.fire()
	return c, nil
}

// await lets the time of the handshake pass.
func (c *conn) await(ctx context.Context, trip time.Time) (net.Conn, error) {
	for time.Now().Before(trip) {
		sleep(nil, ctx.Done(), trip)
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(&net.OpError{Op: "dial", Net: "tcp", Addr: c.remote, Err: err}, c.Close())
		}
	}
	return c, nil
}
