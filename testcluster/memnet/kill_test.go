package memnet_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func TestKill(t *testing.T) {
	both(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		l, err := n.Host("b").Listen(":7001")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := a.Read(make([]byte, 1))
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer's read: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := b.Read(make([]byte, 1)); err == nil {
				t.Error("the dead host's read went on")
			}
		})
		wg.Go(func() {
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the dead host's accept: %v", err)
			}
		})
		n.Host("b").Kill()
		wg.Wait()
		_, err = a.Write([]byte("x"))
		expectErr(t, err, syscall.ECONNRESET)
		_, err = n.Host("b").Dial(t.Context(), "tcp", "b:7000")
		expectErr(t, err, syscall.ENETDOWN)
		_, err = n.Host("a").Dial(t.Context(), "tcp", "b:7000")
		expectErr(t, err, syscall.ECONNREFUSED)

		pair(t, n) // the next life
	})
}

// TestVanishTellsNobody, not even those who wait to be accepted.
func TestVanishTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		listen(t, n.Host("b"), ":7000")
		c := dial(t, n.Host("a"), "b:7000")
		n.Host("b").Vanish()
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
	})
}

// TestKillBehindACut: what cannot be heard is not known.
func TestKillBehindACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, _ := pair(t, n)
		n.Cut("a", "b")
		n.Host("b").Kill()
		if err := a.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := a.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		write(t, a, "into the void")
		n.Heal("a", "b")
		_, err = a.Read(make([]byte, 1))
		expectErr(t, err, syscall.ECONNRESET)
	})
}

func TestVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		write(t, b, "arrived")
		n.Delay(time.Second)
		write(t, b, "lost")
		n.Host("b").Vanish()
		n.Delay(0)
		expect(t, a, "arrived")
		write(t, a, "unheard")
		if err := a.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, err := a.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
		if err := a.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("the vanished host still writes")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = n.Host("a").Dial(ctx, "tcp", "b:7000")
		expectErr(t, err, context.DeadlineExceeded)

		// The next life does not know the old connections.
		listen(t, n.Host("b"), ":7000")
		_, err = a.Read(make([]byte, 1))
		expectErr(t, err, syscall.ECONNRESET)
	})
}

func TestListenerCloseResetsWaiting(t *testing.T) {
	both(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n.Host("b"), ":7000")
		c := dial(t, n.Host("a"), "b:7000")
		l.Close()
		_, err := c.Read(make([]byte, 1))
		expectErr(t, err, syscall.ECONNRESET)
		_, err = l.Accept()
		expectErr(t, err, net.ErrClosed)
	})
}
