package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// Layer carries Raft's streams between the members. The group that it is given
// to closes it.
type Layer interface {
	net.Listener
	// Dial opens a stream to the member at an address.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

const (
	greetTimeout = 5 * time.Second // for the first words on a stream
	maxServerID  = 512             // bytes
)

var errPreamble = errors.New("not a raft stream")

// appendPreamble writes what every stream begins with: the id of the server it
// is meant for. An address alone does not say who answers there: a node that
// lost its disk has the address of the voter it was, and must not be taken for it.
func appendPreamble(b []byte, server string) []byte {
	b = binary.AppendUvarint(b, uint64(len(server)))
	return append(b, server...)
}

// readPreamble reads no byte more than the preamble has: the rest is Raft's.
func readPreamble(r io.Reader) (string, error) {
	length, err := binary.ReadUvarint(oneByte{r})
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPreamble, err)
	}
	if length == 0 || length > maxServerID {
		return "", fmt.Errorf("%w: it begins with a server id of %d bytes", errPreamble, length)
	}
	id := make([]byte, length)
	if _, err := io.ReadFull(r, id); err != nil {
		return "", fmt.Errorf("%w: %w", errPreamble, err)
	}
	return string(id), nil
}

type oneByte struct{ r io.Reader }

// ReadByte reads one byte, never ahead.
func (o oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(o.r, b[:])
	return b[0], err
}

// streams is the raft.StreamLayer: a Layer whose streams name whom they are
// meant for. Closing it ends every stream, whoever opened it.
type streams struct {
	layer   Layer
	server  string // this node's id
	address string // where the others reach it
	log     *slog.Logger
	refused prometheus.Counter

	ctx       context.Context
	cancel    context.CancelFunc
	greeted   chan net.Conn
	listening sync.WaitGroup

	mu   sync.Mutex
	open map[*stream]struct{}
}

func newStreams(layer Layer, server, address string, log *slog.Logger, refused prometheus.Counter) *streams {
	s := &streams{
		layer: layer, server: server, address: address, log: log, refused: refused,
		greeted: make(chan net.Conn), open: map[*stream]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.listening.Go(s.listen)
	return s
}

func (s *streams) listen() {
	for s.ctx.Err() == nil {
		c, err := s.layer.Accept()
		if err == nil {
			s.listening.Go(func() { s.greet(s.track(c)) })
			continue
		}
		if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Warn("raft streams cannot be accepted", "error", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.ctx.Done():
		}
	}
}

// greet finds out whom a stream is meant for.
func (s *streams) greet(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(greetTimeout))
	id, err := readPreamble(c)
	if err == nil && id != s.server {
		err = fmt.Errorf("it is meant for server %q; this is %q", id, s.server)
	}
	if err != nil {
		if s.ctx.Err() == nil {
			s.refused.Inc()
			s.log.Debug("raft stream closed", "from", c.RemoteAddr().String(), "error", err)
		}
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	select {
	case s.greeted <- c:
	case <-s.ctx.Done():
		_ = c.Close()
	}
}

// Accept gives the next stream that is meant for this server.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.greeted:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial opens a stream to a target as target makes them.
func (s *streams) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, address, ok := strings.Cut(string(target), " ")
	if !ok {
		return nil, fmt.Errorf("dial %q: no server id", target)
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	raw, err := s.layer.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := s.track(raw)
	_ = c.SetDeadline(time.Now().Add(greetTimeout))
	if _, err := c.Write(appendPreamble(nil, id)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// Addr is the address that the others know this server by.
func (s *streams) Addr() net.Addr { return advertised(s.address) }

// Close ends every stream and the listener.
func (s *streams) Close() error {
	s.cancel()
	err := s.layer.Close()
	s.mu.Lock()
	all := make([]*stream, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
	s.listening.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// track remembers a stream until it is closed.
func (s *streams) track(c net.Conn) net.Conn {
	t := &stream{Conn: c, of: s}
	s.mu.Lock()
	s.open[t] = struct{}{}
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		_ = t.Close()
	}
	return t
}

type stream struct {
	net.Conn
	of *streams
}

// Close closes the stream.
func (c *stream) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

type advertised string

// Network is always tcp.
func (advertised) Network() string { return "tcp" }

// String is the address.
func (a advertised) String() string { return string(a) }
