package consensus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func FuzzReadPreamble(f *testing.F) {
	f.Add(appendPreamble(nil, "a@00000001"))
	f.Add(appendPreamble(nil, ""))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{5, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		id, err := readPreamble(r)
		if err != nil {
			if !errors.Is(err, errPreamble) {
				t.Fatalf("%v", err)
			}
			return
		}
		if id == "" || len(id) > maxServerID {
			t.Fatalf("took an id of %d bytes", len(id))
		}
		again, err := readPreamble(io.MultiReader(bytes.NewReader(appendPreamble(nil, id)), r))
		if err != nil || again != id {
			t.Fatalf("%q came back as %q, %v", id, again, err)
		}
	})
}

func TestPreambleIsReadToItsEndAndNoFurther(t *testing.T) {
	r := strings.NewReader(string(appendPreamble(nil, "a@1")) + "rest")
	if id, err := readPreamble(r); err != nil || id != "a@1" {
		t.Fatalf("%q, %v", id, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Fatalf("left %q", rest)
	}
}

// testStreams are the streams of server b@1, and how host a reaches them.
func testStreams(t *testing.T) (*streams, func() net.Conn) {
	n := memnet.New()
	b := n.Host("b")
	l, err := b.Listen(":7000")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, address string) (net.Conn, error) { return b.Dial(ctx, "tcp", address) }
	refused := prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"})
	s := newStreams(testLayer{l, dial}, "b@1", "b:7000", slog.New(slog.DiscardHandler), refused)
	return s, func() net.Conn {
		c, err := n.Host("a").Dial(t.Context(), "tcp", "b:7000")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reach := testStreams(t)
		// A stream that says nothing holds nobody up.
		silent := reach()
		wrong := reach()
		if _, err := wrong.Write(appendPreamble(nil, "b@0")); err != nil {
			t.Fatal(err)
		}
		if _, err := wrong.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("a stream for another server: %v", err)
		}
		out, err := s.Dial("b@1 b:7000", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		in, err := s.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(in, b); err != nil || b[0] != 'x' {
			t.Fatalf("read %q, %v", b, err)
		}
		begin := time.Now()
		if _, err := silent.Read(b); !errors.Is(err, io.EOF) {
			t.Fatalf("a silent stream: %v", err)
		}
		if took := time.Since(begin); took != greetTimeout {
			t.Fatalf("a silent stream was closed after %v", took)
		}
		if got := testutil.ToFloat64(s.refused); got != 2 {
			t.Fatalf("%v streams refused, want 2", got)
		}
		if _, err := s.Dial("b:7000", time.Second); err == nil {
			t.Fatal("dialled without a server id")
		}
		waiting := reach()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{in, out, waiting} {
			if _, err := c.Read(b); err == nil {
				t.Fatal("a stream outlived the layer")
			}
			_ = c.Close()
		}
		if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("accept after close: %v", err)
		}
		if _, err := s.Dial("b@1 b:7000", time.Second); err == nil {
			t.Fatal("dialled after close")
		}
		_, _ = silent.Close(), wrong.Close()
	})
}

func TestLogLevels(t *testing.T) {
	peers := false
	s := &sink{slog.New(slog.DiscardHandler), func() bool { return peers }}
	check := func(want slog.Level, level hclog.Level, msg string) {
		t.Helper()
		if got := s.level(level, msg); got != want {
			t.Errorf("%q: %v, want %v", msg, got, want)
		}
	}
	const election = "heartbeat timeout reached, starting election"
	check(slog.LevelInfo, hclog.Warn, election)
	peers = true
	check(slog.LevelWarn, hclog.Warn, election)
	check(slog.LevelDebug, hclog.Error, "failed to heartbeat to")
	check(slog.LevelError, hclog.Error, "failed to restore snapshot")
	check(slog.LevelDebug, hclog.Info, "entering leader state")
	check(slog.LevelInfo, hclog.Warn, "no known peers, aborting election")
}
