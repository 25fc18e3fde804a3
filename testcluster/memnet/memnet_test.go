package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test in virtual and in real time. What the test waits for must
// then not take long.
func both(t *testing.T, test func(t *testing.T)) {
	t.Run("virtual", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("real", test)
}

func listen(t *testing.T, h *memnet.Host, address string) net.Listener {
	t.Helper()
	l, err := h.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, h *memnet.Host, address string) net.Conn {
	t.Helper()
	c, err := h.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair connects host a to host b, port 7000.
func pair(t *testing.T, n *memnet.Net) (a, b net.Conn) {
	t.Helper()
	l := listen(t, n.Host("b"), "b:7000")
	a = dial(t, n.Host("a"), "b:7000")
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

func write(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v, want %q", got, err, text)
	}
}

func expectErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(want, os.ErrDeadlineExceeded) && (!ok || !timeout.Timeout()) {
		t.Fatalf("%v is no timeout", err)
	}
}

func TestStream(t *testing.T) {
	both(t, func(t *testing.T) {
		a, b := pair(t, memnet.New())
		if got := a.RemoteAddr().String(); got != "b:7000" {
			t.Errorf("remote address %s", got)
		}
		if a.LocalAddr().String() != b.RemoteAddr().String() {
			t.Errorf("%s is not %s", a.LocalAddr(), b.RemoteAddr())
		}
		write(t, a, "ping")
		expect(t, b, "pi")
		expect(t, b, "ng")
		write(t, b, "pong")
		expect(t, a, "pong")
		write(t, a, "last words")
		a.Close()
		rest, err := io.ReadAll(b)
		if err != nil || string(rest) != "last words" {
			t.Fatalf("%q, %v", rest, err)
		}
		_, err = b.Write([]byte("x"))
		expectErr(t, err, syscall.EPIPE)
		_, err = a.Read(make([]byte, 1))
		expectErr(t, err, net.ErrClosed)
		expectErr(t, a.Close(), net.ErrClosed)
	})
}

// TestBulk sends more than a connection holds, both ways at a time.
func TestBulk(t *testing.T) {
	both(t, func(t *testing.T) {
		a, b := pair(t, memnet.New())
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MB
		var wg sync.WaitGroup
		for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
			wg.Go(func() {
				if _, err := ends[0].Write(data); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(data))
				if _, err := io.ReadFull(ends[1], got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("the bytes differ: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestFullBufferHoldsWritesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, memnet.New())
		block := make([]byte, 1<<20)
		total := 0
		if err := a.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			var k int
			k, err = a.Write(block)
			total += k
		}
		expectErr(t, err, os.ErrDeadlineExceeded)
		if total != 4<<20 {
			t.Errorf("held %d bytes", total)
		}
		if err := a.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := a.Write([]byte("more"))
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("wrote into a full buffer: %v", err)
		default:
		}
		expect(t, b, string(block))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, memnet.New())
		start := time.Now()
		if err := a.SetReadDeadline(start.Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := a.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		// A deadline set while a read waits is heeded, sooner or later.
		for _, limit := range []time.Duration{time.Hour, 0} {
			if err := a.SetDeadline(time.Now().Add(limit)); err != nil && limit > 0 {
				t.Fatal(err)
			}
			got := make(chan error, 1)
			go func() {
				_, err := a.Read(make([]byte, 1))
				got <- err
			}()
			synctest.Wait()
			if err := a.SetDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			expectErr(t, <-got, os.ErrDeadlineExceeded)
		}
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		write(t, b, "later")
		expect(t, a, "later")
	})
}

func TestCloseWakesItsOwnReader(t *testing.T) {
	both(t, func(t *testing.T) {
		a, _ := pair(t, memnet.New())
		got := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			got <- err
		}()
		a.Close()
		expectErr(t, <-got, net.ErrClosed)
	})
}

func TestDialErrors(t *testing.T) {
	both(t, func(t *testing.T) {
		n := memnet.New()
		h := n.Host("a")
		n.Host("b")
		_, err := h.Dial(t.Context(), "tcp", "b:7000")
		expectErr(t, err, syscall.ECONNREFUSED)
		_, err = h.Dial(t.Context(), "tcp", "nobody:7000")
		if unknown, ok := errors.AsType[*net.DNSError](err); !ok || !unknown.IsNotFound {
			t.Errorf("%v", err)
		}
		if _, err := h.Dial(t.Context(), "udp", "b:7000"); err == nil {
			t.Error("dialed packets")
		}
		for _, bad := range []string{"b", "b:x", "b:70000", "b:-1"} {
			if _, err := h.Dial(t.Context(), "tcp", bad); err == nil {
				t.Errorf("dialed %q", bad)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err = h.Dial(ctx, "tcp", "10.1.2.3:7000")
		expectErr(t, err, context.DeadlineExceeded)
	})
}

func TestAddresses(t *testing.T) {
	n := memnet.New()
	h := n.Host("b")
	one, two := listen(t, h, "b:0"), listen(t, h, ":0")
	if one.Addr().String() == two.Addr().String() {
		t.Errorf("both listen at %s", one.Addr())
	}
	if _, err := h.Listen(one.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening twice: %v", err)
	}
	if _, err := h.Listen("c:7000"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("listening for another: %v", err)
	}
	if p, err := h.ListenPacket(one.Addr().String()); err != nil {
		t.Errorf("the same port for packets: %v", err)
	} else {
		p.Close()
	}
	_, port, _ := net.SplitHostPort(one.Addr().String())
	n.Alias("b.internal.svc", "b")
	for _, host := range []string{"b", h.IP().String(), "b.internal.svc"} {
		dial(t, n.Host("a"), net.JoinHostPort(host, port))
		ips, err := n.Resolve(t.Context(), host)
		if err != nil || len(ips) != 1 || ips[0] != h.IP() {
			t.Errorf("%s resolves to %v, %v", host, ips, err)
		}
	}
	for _, host := range []string{"", "localhost", "127.0.0.1", "0.0.0.0"} {
		dial(t, h, net.JoinHostPort(host, port))
	}
	before := h.IP()
	h.Readdress()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := n.Host("a").Dial(ctx, "tcp", net.JoinHostPort(before.String(), port)); err == nil {
		t.Error("dialed an address that is no longer")
	}
	if ips, err := n.Resolve(t.Context(), "b.internal.svc"); err != nil || ips[0] == before {
		t.Errorf("%v, %v", ips, err)
	}
}

func packets(t *testing.T, h *memnet.Host) net.PacketConn {
	t.Helper()
	p, err := h.ListenPacket(":7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := packets(t, n.Host("a")), packets(t, n.Host("b"))
		send := func(text string) {
			t.Helper()
			if _, err := a.WriteTo([]byte(text), b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 64)
		send("one")
		k, from, err := b.ReadFrom(buf)
		if err != nil || string(buf[:k]) != "one" || from.String() != "a:7000" {
			t.Fatalf("%q from %v, %v", buf[:k], from, err)
		}
		n.Cut("a", "b")
		send("lost")
		n.Heal("a", "b")
		n.Delay(time.Second)
		send("late")
		start := time.Now()
		k, _, err = b.ReadFrom(buf)
		if err != nil || string(buf[:k]) != "late" || time.Since(start) != time.Second {
			t.Fatalf("%q after %v, %v", buf[:k], time.Since(start), err)
		}
		udp := &net.UDPAddr{IP: n.Host("b").IP().AsSlice(), Port: 7000}
		if _, err := a.WriteTo([]byte("by address"), udp); err != nil {
			t.Fatal(err)
		}
		if k, _, err = b.ReadFrom(buf); err != nil || string(buf[:k]) != "by address" {
			t.Fatalf("%q, %v", buf[:k], err)
		}
		if err := b.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, _, err = b.ReadFrom(buf)
		expectErr(t, err, os.ErrDeadlineExceeded)
		want := memnet.Stats{Packets: 4, PacketBytes: 3 + 4 + 4 + 10, PacketsDropped: 1}
		if got := n.Stats("a", "b"); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		n.Host("b").Kill()
		_, _, err = b.ReadFrom(buf)
		expectErr(t, err, syscall.ENETDOWN)
		send("nobody hears this")
		a.Close()
		_, err = a.WriteTo([]byte("x"), b.LocalAddr())
		expectErr(t, err, net.ErrClosed)
		_, _, err = a.ReadFrom(buf)
		expectErr(t, err, net.ErrClosed)
	})
}

func TestStats(t *testing.T) {
	n := memnet.New()
	a, b := pair(t, n)
	write(t, a, "four")
	write(t, b, "sevenup")
	if got, want := n.Stats("a", "b"), (memnet.Stats{Conns: 1, Open: 1, Bytes: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	a.Close()
	if got, want := n.Stats("a", "b"), (memnet.Stats{Conns: 1, Bytes: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := n.Stats("b", "a"), (memnet.Stats{Bytes: 7}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestManyHosts has everybody talk to everybody while links come and go. What
// was written before the last heal arrives, in order.
func TestManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Delay(5 * time.Millisecond)
		const hosts, lines = 6, 50
		name := func(k int) string { return fmt.Sprintf("h%d", k) }
		var readers, writers sync.WaitGroup
		for k := range hosts {
			l := listen(t, n.Host(name(k)), ":7000")
			readers.Go(func() {
				for range hosts - 1 {
					c, err := l.Accept()
					if err != nil {
						t.Error(err)
						return
					}
					readers.Go(func() {
						got, err := io.ReadAll(c)
						want := ""
						for line := range lines {
							want += fmt.Sprintln(line)
						}
						if err != nil || string(got) != want {
							t.Errorf("read %d bytes, %v, want %d", len(got), err, len(want))
						}
						c.Close()
					})
				}
			})
		}
		for from := range hosts {
			for to := range hosts {
				if from == to {
					continue
				}
				writers.Go(func() {
					c, err := n.Host(name(from)).Dial(t.Context(), "tcp", name(to)+":7000")
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					for line := range lines {
						write(t, c, fmt.Sprintln(line))
						<-time.After(time.Duration(from+1) * time.Millisecond)
					}
				})
			}
		}
		for k := range 20 {
			n.Cut(name(k%hosts), name((k+1)%hosts))
			<-time.After(7 * time.Millisecond)
			n.Heal(name(k%hosts), name((k+1)%hosts))
		}
		writers.Wait()
		readers.Wait()
	})
}
