package proc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// hangOn does not answer for a monitor until a channel is closed.
func hangOn(monitor string, until <-chan struct{}) func(*http.Request, Delivery) int {
	return func(req *http.Request, d Delivery) int {
		if d.Monitor != monitor {
			return 0
		}
		select {
		case <-until:
			return 0
		case <-req.Context().Done():
			return http.StatusServiceUnavailable
		}
	}
}

// TestDiskFull lets the files of a node grow no further: it must end by itself
// and say why, and have lost nothing once there is room again.
func TestDiskFull(t *testing.T) {
	s := newStandard(t, "transfers", "calls")
	s.start(t)
	s.blocks(t, 5)
	s.node.AwaitCaughtUp(t, s.chain)
	log, err := os.Stat(filepath.Join(s.node.Data, "raft", "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	switch err := s.node.LimitFiles(uint64(log.Size())); {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	mark := s.node.Log.Mark()
	Eventually(t, "the end of the node", func(context.Context) error {
		if s.node.Running() != nil {
			return nil
		}
		s.blocks(t, 1)
		return fmt.Errorf("it runs with a log of %d bytes that cannot grow", log.Size())
	})
	if code := s.node.Exit(t, time.Minute); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if line, err := s.node.Log.Line(mark, "ozmo:", "raft.db", "is the disk full"); err != nil {
		t.Error(err)
	} else {
		t.Log(line)
	}
	s.blocks(t, 5)
	s.start(t)
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	s.node.Terminate(t, Patience)
}
