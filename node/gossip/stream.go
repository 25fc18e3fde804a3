package gossip

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrOtherCluster: the node that was to be joined belongs to another cluster.
var ErrOtherCluster = errors.New("a node of another cluster")

var errStranger = errors.New("the stream is not of this cluster")

const (
	drainFor   = time.Second // how long a stranger has to read the answer
	drainBytes = 1 << 20
)

// stream is a connection of the library. The side that dialed names its cluster
// first; the other side names its own, and nothing else, if that is another
// one. The library's answers never begin like that.
type stream struct {
	net.Conn
	t        *transport
	accepted bool
	peer     string   // ip:port that was dialed
	in       net.Conn // what follows the name; nil until something was read
	told     bool     // a stranger was told
}

func (s *stream) Read(p []byte) (int, error) {
	if s.in == nil {
		in, label, err := memberlist.RemoveLabelHeaderFromStream(s.Conn)
		if err != nil {
			return 0, err
		}
		if err := s.check(label); err != nil {
			return 0, err
		}
		s.in = in
	}
	return s.in.Read(p)
}

func (s *stream) check(label string) error {
	ours := s.t.o.Cluster
	if s.accepted && label != ours {
		s.t.log.say(s.t.ctx, slog.LevelWarn, "a stream that is not of this cluster was refused", "from", s.RemoteAddr().String())
	}
	switch {
	case s.accepted && label == "":
		return errStranger
	case s.accepted && label != ours:
		s.told = true
		return errors.Join(errStranger, memberlist.AddLabelHeaderToStream(s.Conn, ours))
	case !s.accepted && label != "":
		err := fmt.Errorf("%w: %s belongs to cluster %q, this node to %q; check the address and the cluster's name", ErrOtherCluster, s.peer, label, ours)
		s.t.refuse(s.peer, err)
		return err
	}
	return nil
}

func (s *stream) Close() error {
	s.t.untrack(s)
	if s.told {
		// Closing with bytes unread would reset the connection and take the
		// answer with it.
		if err := s.SetReadDeadline(time.Now().Add(drainFor)); err == nil {
			_, _ = io.CopyN(io.Discard, s.Conn, drainBytes) // until the stranger has gone
		}
	}
	return s.Conn.Close()
}
