package memnet_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Delay(30 * time.Millisecond)
		start := time.Now()
		a, b := pair(t, n)
		if took := time.Since(start); took != 60*time.Millisecond {
			t.Errorf("dialing took %v", took)
		}
		start = time.Now()
		write(t, a, "one")
		n.Delay(0) // what is sent later does not overtake
		write(t, a, "two")
		expect(t, b, "onetwo")
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("delivery took %v", took)
		}
	})
}

func TestCutHoldsBytesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		n.Cut("a", "b")
		write(t, a, "one ")
		write(t, a, "two")
		if err := b.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := b.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
		if err := b.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		read := make(chan []byte)
		go func() {
			got := make([]byte, 7)
			_, _ = io.ReadFull(b, got)
			read <- got
		}()
		synctest.Wait()
		n.Heal("b", "a")
		if got := <-read; string(got) != "one two" {
			t.Fatalf("%q", got)
		}
	})
}

func TestCutOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		n.CutOneWay("a", "b")
		write(t, b, "hello")
		expect(t, a, "hello")
		write(t, a, "held")
		a.Close()
		if err := b.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := b.Read(make([]byte, 1))
		expectErr(t, err, os.ErrDeadlineExceeded)
		if err := b.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		n.HealAll()
		rest, err := io.ReadAll(b)
		if err != nil || string(rest) != "held" {
			t.Fatalf("%q, %v", rest, err)
		}
	})
}

func TestDialWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n.Host("b"), ":7000")
		for _, cut := range []func(){
			func() { n.Cut("a", "b") }, func() { n.CutOneWay("a", "b") }, func() { n.CutOneWay("b", "a") },
			func() { n.Isolate("b") }, func() { n.Isolate("a") },
		} {
			cut()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := n.Host("a").Dial(ctx, "tcp", "b:7000")
			expectErr(t, err, context.DeadlineExceeded)
			cancel()
			dialed := make(chan net.Conn, 1)
			go func() {
				c, err := n.Host("a").Dial(t.Context(), "tcp", "b:7000")
				if err != nil {
					t.Error(err)
				}
				dialed <- c
			}()
			synctest.Wait()
			if len(dialed) > 0 {
				t.Fatal("dialed over a cut link")
			}
			n.HealAll()
			c := <-dialed
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			accepted.Close()
		}
	})
}

func TestIsolate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Isolate("a")
		listen(t, n.Host("a"), ":7000")
		listen(t, n.Host("b"), ":7000")
		reaches := func(from, to string) bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := n.Host(from).Dial(ctx, "tcp", to+":7000")
			if err == nil {
				c.Close()
			}
			return err == nil
		}
		if reaches("a", "b") || reaches("b", "a") || !reaches("a", "a") || !reaches("c", "b") {
			t.Error("an isolated host reaches itself alone")
		}
		n.HealHost("a")
		if !reaches("a", "b") || !reaches("b", "a") || !reaches("d", "a") {
			t.Error("a healed host reaches everybody")
		}
	})
}
