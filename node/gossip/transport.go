package gossip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	packetsWaiting = 1024             // for the library; more are dropped
	packetBuffer   = 64 << 10         // bytes: the largest packet
	socketBuffer   = 2 << 20          // bytes the system keeps for a node that is busy
	pause          = time.Second / 10 // after a failure to read or accept
)

// transport carries the library's packets and streams over what the node has.
// It outlives the library's instance: that one's shutting it down means nothing.
type transport struct {
	o         *Options
	log       *bridge
	metrics   *metrics
	addressOf func(name, ip string) string
	exchange  time.Duration // what the library gives a full exchange

	listener net.Listener
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	own      netip.AddrPort
	open     map[*stream]struct{}
	refusals map[string]error // by ip:port: why the last stream opened by Join was of no use
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(o *Options, exchange time.Duration, own netip.AddrPort, log *bridge, m *metrics, addressOf func(name, ip string) string) *transport {
	t := &transport{
		o: o, exchange: exchange, own: own, log: log, metrics: m, addressOf: addressOf,
		listener: o.Streams.Listener(), packets: make(chan *memberlist.Packet, packetsWaiting), streams: make(chan net.Conn),
		open: map[*stream]struct{}{}, refusals: map[string]error{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if buffered, ok := o.Packets.(interface{ SetReadBuffer(bytes int) error }); ok {
		if err := buffered.SetReadBuffer(socketBuffer); err != nil {
			o.Logger.Debug("gossip packets have the system's buffer only", "error", err)
		}
	}
	t.wg.Go(t.receive)
	t.wg.Go(t.accept)
	return t
}

// close ends everything, the packet connection and the listener included.
func (t *transport) close() {
	t.cancel()
	_ = t.o.Packets.Close() // closed already, maybe
	_ = t.listener.Close()  // likewise
	t.mu.Lock()
	for s := range t.open {
		s.Conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// setOwn changes the address that the library's next instance advertises.
func (t *transport) setOwn(own netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = own
}

func (t *transport) ownAddress() netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own
}

// FinalAdvertiseAddr is the library asking for this node's address.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	own := t.ownAddress()
	return own.Addr().AsSlice(), int(own.Port()), nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// Shutdown is the library's end, not the transport's.
func (t *transport) Shutdown() error { return nil }

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet to the number that the receiver advertises.
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	addr, err := netip.ParseAddrPort(to.Addr)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	_, err = t.o.Packets.WriteTo(b, net.UDPAddrFromAddrPort(addr))
	return now, err
}

func (t *transport) receive() {
	buf := make([]byte, packetBuffer)
	for t.ctx.Err() == nil {
		k, from, err := t.o.Packets.ReadFrom(buf)
		now := time.Now()
		if err != nil {
			if !t.again("gossip packets cannot be received", err) {
				return
			}
			continue
		}
		packet, label, err := memberlist.RemoveLabelHeaderFromPacket(slices.Clone(buf[:k]))
		if err != nil || label != t.o.Cluster {
			t.metrics.dropped.WithLabelValues(dropCluster).Inc()
			t.log.say(t.ctx, slog.LevelWarn, "a packet that is not of this cluster was dropped", "from", from.String())
			continue
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: packet, From: from, Timestamp: now}:
		default:
			t.metrics.dropped.WithLabelValues(dropOverload).Inc()
		}
	}
}

func (t *transport) accept() {
	for t.ctx.Err() == nil {
		conn, err := t.listener.Accept()
		if err != nil {
			if !t.again("gossip streams cannot be accepted", err) {
				return
			}
			continue
		}
		s := t.track(&stream{Conn: conn, accepted: true})
		select {
		case t.streams <- s:
		case <-t.ctx.Done(): // close has closed it
		}
	}
}

// again waits a moment after a failure, and reports whether to go on.
func (t *transport) again(what string, err error) bool {
	if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	t.log.say(t.ctx, slog.LevelWarn, what, "error", err.Error())
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream. A member is dialed at the address that it
// advertises, a DNS name maybe, and at its number if that fails. A ping goes to
// the number alone: the name may lead to the same node restarted elsewhere,
// whose answer would keep the old number alive for ever.
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	address := to.Addr
	if timeout >= t.exchange { // pings have less
		address = t.addressOf(to.Name, to.Addr)
	}
	conn, err := t.o.Streams.Dial(ctx, address)
	if err != nil && address != to.Addr && ctx.Err() == nil {
		conn, err = t.o.Streams.Dial(ctx, to.Addr)
	}
	if err != nil {
		if to.Name == "" { // whom Join looks for has no name yet
			t.refuse(to.Addr, err)
		}
		return nil, err
	}
	return t.track(&stream{Conn: conn, peer: to.Addr}), nil
}

func (t *transport) track(s *stream) *stream {
	s.t = t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		s.Conn.Close() // reading from it will say so
	}
	t.open[s] = struct{}{}
	return s
}

func (t *transport) untrack(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, s)
}

// refuse remembers why a stream was of no use: the library's errors are text.
func (t *transport) refuse(peer string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusals[peer] = err
}

// refusal takes back what refuse remembered.
func (t *transport) refusal(peer string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.refusals[peer]
	delete(t.refusals, peer)
	return err
}
