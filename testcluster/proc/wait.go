package proc

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// Patience is how long a test waits for anything, on a machine that may have
// much else to do.
const Patience = 2 * time.Minute

// ErrInVain ends a wait at once: what is waited for cannot come any more.
var ErrInVain = errors.New("waiting is in vain")

// Eventually waits until check returns nil, and fails the test with its last
// error when that takes longer than Patience.
func Eventually(t testing.TB, what string, check func(ctx context.Context) error) {
	t.Helper()
	within(t, Patience, what, check)
}

// within is Eventually with a limit of its own.
func within(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrInVain):
			t.Fatalf("%s: %v", what, err)
		case ctx.Err() == nil || last == nil:
			last = err // not the one that only says that time is up
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v, last: %v", what, limit, last)
		case <-ticker.C:
		}
	}
}

// Dir makes a directory, with a short name: the path of a socket may have no
// more than about a hundred bytes. It stays when the test fails, or when OZMO_TEST_KEEP is
// set.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ozmo-proc-") //nolint:usetesting // t.TempDir has a long name and is always removed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("OZMO_TEST_KEEP") != "" {
			t.Logf("everything is kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// FreeAddress is an address on loopback that nobody listens on now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
