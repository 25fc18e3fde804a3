package mux

import (
	"fmt"
	"net"
	"sync"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// conn is a connection of one stream.
type conn struct {
	net.Conn          // what the stream is read from and written to
	raw      net.Conn // below TLS
	mux      *Mux     // that tracks it; nil: none does
	peer     pki.Identity
	tag      Tag
	dialled  string // address; empty: accepted

	once sync.Once
	err  error
}

// PeerOf is who is at the other end of a connection that was accepted from a
// Listener or dialled. It is zero without a certificate, and in plaintext.
func PeerOf(c net.Conn) pki.Identity {
	if c, ok := c.(*conn); ok {
		return c.peer
	}
	return pki.Identity{}
}

// Read explains the peer's refusal of our certificate: in TLS 1.3 the one who
// connects hears of it only after the handshake.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.dialled != "" && refusal(err) {
		err = fmt.Errorf("the node at %s refused this node's certificate: its log says why (%w)", c.dialled, err)
	}
	return n, err
}

// Close ends the connection; a second call does nothing.
func (c *conn) Close() error {
	c.once.Do(func() {
		if c.mux != nil {
			c.mux.untrack(c)
		}
		c.err = c.Conn.Close()
	})
	return c.err
}

// stream is the listener of one tag.
type stream struct {
	mux   *Mux
	tag   Tag
	queue chan *conn    // sent to under Mux.mu, while this is the tag's stream
	done  chan struct{} // closed by Close
}

// Accept waits for a connection. After Close it returns net.ErrClosed.
func (s *stream) Accept() (net.Conn, error) {
	select {
	case <-s.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-s.queue:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close refuses further connections and ends those that nobody has accepted.
func (s *stream) Close() error {
	s.mux.mu.Lock()
	if s.mux.streams[s.tag] == s {
		delete(s.mux.streams, s.tag)
		close(s.done)
	}
	s.mux.mu.Unlock()
	for {
		select {
		case c := <-s.queue:
			_ = c.raw.Close()
			s.mux.untrack(c)
		default:
			return nil
		}
	}
}

// Addr is the address of the port.
func (s *stream) Addr() net.Addr { return s.mux.listener.Addr() }
