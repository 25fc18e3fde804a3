package mux

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// opening is a connection that has not said yet which stream it is.
type opening struct {
	raw       net.Conn
	displaced bool // guarded by Mux.mu
}

// open begins to open a connection, displacing the oldest if there are too many
// already. One that says nothing is always older than the one that comes.
func (m *Mux) open(raw net.Conn) {
	o := &opening{raw: raw}
	var oldest *opening
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = raw.Close()
		return
	}
	if len(m.opening) >= maxOpening {
		oldest = m.opening[0]
		oldest.displaced = true
		m.opening = slices.Delete(m.opening, 0, 1)
	}
	m.opening = append(m.opening, o)
	m.work.Add(1) // under the lock: never while Close waits
	m.mu.Unlock()
	if oldest != nil {
		_ = oldest.raw.Close()
	}
	go func() {
		defer m.work.Done()
		c, err := m.greet(raw)
		if m.opened(o) {
			err = errDisplaced
		}
		if err == nil {
			err = m.deliver(c)
		}
		if err != nil {
			m.reject(raw, err)
		}
	}()
}

// opened ends the time in which a connection may be displaced, and says whether
// it was.
func (m *Mux) opened(o *opening) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.opening, o); i >= 0 {
		m.opening = slices.Delete(m.opening, i, i+1)
	}
	return o.displaced
}

// greet does the handshake, reads the tag, and checks that the peer may open
// that stream.
func (m *Mux) greet(raw net.Conn) (*conn, error) {
	if err := raw.SetDeadline(time.Now().Add(openingTimeout)); err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw}
	var shown bool
	if m.server != nil {
		secure := tls.Server(raw, m.server)
		if err := secure.Handshake(); err != nil {
			return nil, err
		}
		c.Conn = secure
		if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
			id, err := pki.IdentityOf(certs[0], m.cluster) // verified in the handshake
			if err != nil {
				return nil, err
			}
			c.peer, shown = id, true
		}
	}
	var first [1]byte
	if _, err := io.ReadFull(c.Conn, first[:]); err != nil {
		return nil, err
	}
	c.tag = Tag(first[0])
	switch {
	case !c.tag.known():
		return nil, &tagError{tag: c.tag, plaintext: m.server == nil}
	case m.server == nil || c.tag.allows(c.peer.Role):
	case !shown:
		return nil, &pki.PeerError{What: "presented no certificate, which only enrolment may: wanted " + c.tag.String(), Kind: pki.ErrNoCertificate}
	default:
		return nil, &pki.PeerError{What: "may not open this stream: its certificate makes it " + c.peer.Role.String() + " " + c.peer.Name + ", and " + c.tag.String() + " is for nodes", Kind: pki.ErrRole}
	}
	return c, raw.SetDeadline(time.Time{})
}

// deliver hands a connection to who accepts its stream.
func (m *Mux) deliver(c *conn) error {
	if !m.track(c) {
		return net.ErrClosed
	}
	m.mu.Lock()
	s := m.streams[c.tag]
	var err error
	switch {
	case s == nil:
		err = errUnserved
	default:
		select { // never waits
		case s.queue <- c:
		default:
			err = errBacklog
		}
	}
	m.mu.Unlock()
	if err != nil {
		m.untrack(c)
		return err
	}
	m.metrics.accepted.WithLabelValues(c.tag.String()).Inc()
	return nil
}

// reject closes a connection and says why.
func (m *Mux) reject(raw net.Conn, err error) {
	_ = raw.Close()
	if m.ctx.Err() != nil {
		return // Close did this
	}
	remote := "unknown"
	if a := raw.RemoteAddr(); a != nil {
		remote = a.String()
	}
	reason, text := classify("the peer at "+remote, err)
	if reason == reasonGone {
		// Health checks and port scans do this all day.
		m.warnings.logger.Debug("a connection ended before it said what it wanted", "remote", remote)
	} else {
		m.warnings.warn(reason, "connection to the cluster port refused", "remote", remote, "reason", reason, "error", text)
	}
	m.metrics.rejected.WithLabelValues(reason).Inc()
}
