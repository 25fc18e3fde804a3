package proc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Cut is what becomes of what one node sends to another.
type Cut uint8

// The kinds of cuts.
const (
	Whole Cut = iota // everything passes
	Hold             // streams stall, packets are lost: what dropped packets look like
	Reset            // streams break and new ones are refused, packets are lost
)

// Wires are forwarders in front of the cluster ports of all nodes, for streams
// and packets. The nodes advertise them, so that everything between nodes passes
// here, where it can be cut by direction. It needs no privileges.
type Wires struct {
	mu      sync.Mutex
	ends    map[string]*end
	cuts    map[[2]string]Cut
	changed chan struct{} // closed at every change of cuts
	conns   map[*pair]struct{}
	closed  bool
	running sync.WaitGroup
}

// end is one node's forwarder.
type end struct {
	name  string
	at    string // where the node listens
	pid   func() int
	tcp   net.Listener
	udp   net.PacketConn
	atUDP *net.UDPAddr
}

// pair is a stream and what it is forwarded to.
type pair struct {
	from, to string
	a, b     net.Conn
}

// NewWires makes forwarders that end with the test.
func NewWires(t testing.TB) *Wires {
	w := &Wires{ends: map[string]*end{}, cuts: map[[2]string]Cut{}, changed: make(chan struct{}), conns: map[*pair]struct{}{}}
	t.Cleanup(w.close)
	return w
}

// Add puts a forwarder in front of a node that listens at an address, and
// returns the one to advertise. pid tells the node's process: by it, streams that the
// node opens are recognised.
func (w *Wires) Add(t testing.TB, name, at string, pid func() int) string {
	t.Helper()
	address := fixedAddress(t)
	e := &end{name: name, at: at, pid: pid}
	var err error
	if e.tcp, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	if e.udp, err = net.ListenPacket("udp", address); err != nil {
		t.Fatal(err)
	}
	if e.atUDP, err = net.ResolveUDPAddr("udp", at); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.ends[name] = e
	w.mu.Unlock()
	w.running.Go(func() { w.accept(e) })
	w.running.Go(func() { w.packets(e) })
	return address
}

func (w *Wires) close() {
	w.mu.Lock()
	w.closed = true
	for _, e := range w.ends {
		_ = e.tcp.Close()
		_ = e.udp.Close()
	}
	for p := range w.conns {
		p.close()
	}
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	w.running.Wait()
}

func (p *pair) close() {
	_ = p.a.Close()
	if p.b != nil {
		_ = p.b.Close()
	}
}

// CutOff changes what becomes of what from sends to the node to.
func (w *Wires) CutOff(from, to string, c Cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts[[2]string{from, to}] = c
	if c == Reset {
		for p := range w.conns {
			if p.from == from && p.to == to || p.from == to && p.to == from {
				p.reset()
			}
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (p *pair) reset() {
	for _, c := range []net.Conn{p.a, p.b} {
		if tcp, ok := c.(*net.TCPConn); ok && tcp != nil {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
}

// Isolate cuts a node off from all others, both ways.
func (w *Wires) Isolate(name string, c Cut) {
	for _, other := range w.others(name) {
		w.CutOff(name, other, c)
		w.CutOff(other, name, c)
	}
}

// Mute cuts what a node sends; it still hears the others.
func (w *Wires) Mute(name string, c Cut) {
	for _, other := range w.others(name) {
		w.CutOff(name, other, c)
	}
}

// Deafen cuts what is sent to a node; the others still hear it.
func (w *Wires) Deafen(name string, c Cut) {
	for _, other := range w.others(name) {
		w.CutOff(other, name, c)
	}
}

// Heal undoes all cuts.
func (w *Wires) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cuts)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Wires) others(name string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.ends {
		if other != name {
			out = append(out, other)
		}
	}
	return out
}

func (w *Wires) cut(from, to string) (c Cut, changed <-chan struct{}, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts[[2]string{from, to}], w.changed, w.closed
}

// pass waits until something may go from one node to another.
func (w *Wires) pass(from, to string) error {
	for {
		c, changed, closed := w.cut(from, to)
		switch {
		case closed, c == Reset:
			return net.ErrClosed
		case c == Whole:
			return nil
		}
		<-changed
	}
}

func (w *Wires) accept(e *end) {
	for {
		c, err := e.tcp.Accept()
		if err != nil {
			return // the test ends
		}
		w.running.Go(func() { w.forward(e, c) })
	}
}

// forward carries one stream.
func (w *Wires) forward(e *end, c net.Conn) {
	p := &pair{from: w.opener(c), to: e.name, a: c}
	defer p.close()
	if cut, _, _ := w.cut(p.from, p.to); cut == Reset {
		p.reset()
		return
	}
	if w.pass(p.from, p.to) != nil {
		return
	}
	b, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", e.at)
	if err != nil {
		p.reset() // the node is down: a connection to it would have been refused
		return
	}
	p.b = b
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.conns[p] = struct{}{}
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.copy(p.b, p.a, p.from, p.to) })
	both.Go(func() { w.copy(p.a, p.b, p.to, p.from) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, p)
	w.mu.Unlock()
}

// copy carries one direction of a stream until its end, and passes the end on.
func (w *Wires) copy(dst, src net.Conn, from, to string) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if w.pass(from, to) != nil {
			err = net.ErrClosed
		}
		if err == nil {
			_, err = dst.Write(buf[:n])
		}
		if err == nil {
			continue
		}
		if tcp, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
			_ = tcp.CloseWrite()
			return
		}
		_ = dst.Close()
		_ = src.Close()
		return
	}
}

// opener is the node that opened a stream; empty when it was none.
func (w *Wires) opener(c net.Conn) string {
	w.mu.Lock()
	pids := map[int]string{}
	for _, e := range w.ends {
		if pid := e.pid(); pid > 0 {
			pids[pid] = e.name
		}
	}
	w.mu.Unlock()
	return pids[ownerOf(c.RemoteAddr(), c.LocalAddr(), pids)]
}

// packets carries the packets for one node. What a node sends comes from the
// port it listens at; it goes on from the sender's forwarder, so that the
// receiver sees the address that the sender advertises.
func (w *Wires) packets(e *end) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := e.udp.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // a port that answered "unreachable" before
		}
		w.mu.Lock()
		var sender *end
		for _, other := range w.ends {
			if other.at == from.String() {
				sender = other
			}
		}
		drop := sender == nil || w.cuts[[2]string{sender.name, e.name}] != Whole
		w.mu.Unlock()
		if !drop {
			_, _ = sender.udp.WriteTo(buf[:n], e.atUDP) // like any packet, it may get lost
		}
	}
}
