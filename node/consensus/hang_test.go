package consensus

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// hungDisk does not answer writes once it hangs, until it is freed.
type hungDisk struct {
	raft.LogStore
	raft.StableStore
	hangs *atomic.Bool
	free  chan struct{}
}

func (d hungDisk) wait() {
	if d.hangs.Load() {
		<-d.free
	}
}

func (d hungDisk) StoreLogs(l []*raft.Log) error {
	d.wait()
	return d.LogStore.StoreLogs(l)
}

func (d hungDisk) Set(k, v []byte) error {
	d.wait()
	return d.StableStore.Set(k, v)
}

func (d hungDisk) SetUint64(k []byte, v uint64) error {
	d.wait()
	return d.StableStore.SetUint64(k, v)
}

func TestHungDiskStopsTheNode(t *testing.T) {
	for _, c := range []struct {
		name       string
		multiplier float64
		write      func(t *testing.T, g *Group, hang func())
		wants      string
	}{
		{"log", 1, func(t *testing.T, g *Group, hang func()) {
			if err := g.Bootstrap([]Server{{alone, alone}}); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Propose(t.Context(), put("a")); err != nil {
				t.Fatal(err)
			}
			hang()
			go func() { _, _ = g.Propose(t.Context(), put("b")) }()
		}, "no answer for 10s"},
		{"votes", 2, func(_ *testing.T, g *Group, hang func()) {
			hang()
			go func() { _ = g.Bootstrap([]Server{{alone, alone}}) }()
		}, "no answer for 20s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := MemoryStores()
				d := hungDisk{s.Log, s.Stable, &atomic.Bool{}, make(chan struct{})}
				fatal := make(chan error, 1)
				g, err := Open(bare(t, "", func(o *Options) {
					o.Stores = func() (Stores, error) { return Stores{d, d, s.Snapshots}, nil }
					o.Fatal = func(err error) { fatal <- err }
					o.Multiplier = c.multiplier
				}))
				if err != nil {
					t.Fatal(err)
				}
				c.write(t, g, func() { d.hangs.Store(true) })
				select {
				case err := <-fatal:
					if !strings.Contains(err.Error(), c.wants) || !strings.HasPrefix(err.Error(), "write the test's log: ") {
						t.Errorf("fatal: %v", err)
					}
				case <-time.After(time.Minute):
					close(d.free)
					_ = g.Close()
					t.Fatal("the node goes on with a disk that does not answer")
				}
				// Neither does the disk hold the node's end up.
				if err := g.Close(); err == nil || !strings.Contains(err.Error(), "hangs") {
					t.Errorf("closed: %v", err)
				}
				close(d.free)
			})
		})
	}
}

// A node that closes while its disk hangs does not wait for it for ever.
func TestCloseNoticesAHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := MemoryStores()
		d := hungDisk{s.Log, s.Stable, &atomic.Bool{}, make(chan struct{})}
		fatal := make(chan error, 1)
		g, err := Open(bare(t, "", func(o *Options) {
			o.Stores = func() (Stores, error) { return Stores{d, d, s.Snapshots}, nil }
			o.Fatal = func(err error) { fatal <- err }
		}))
		if err != nil {
			t.Fatal(err)
		}
		d.hangs.Store(true)
		go func() { _ = g.Bootstrap([]Server{{alone, alone}}) }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- g.Close() }()
		select {
		case err := <-closed:
			if err == nil {
				t.Error("closed files that are written to")
			}
			if err := <-fatal; !strings.Contains(err.Error(), "hangs") {
				t.Errorf("fatal: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("it waits for the disk")
		}
		close(d.free)
	})
}

// What counts is how often the same write was seen: neither many writes in a
// row nor one look after a long time.
func TestWritesUnderWay(t *testing.T) {
	w := newWrites()
	looks := func(n int) []bool {
		var out []bool
		for range n {
			out = append(out, w.look())
		}
		return out
	}
	none := make([]bool, hangTicks-1)
	if got := looks(2 * hangTicks); slices.Contains(got, true) {
		t.Errorf("no write at all: %v", got)
	}
	for range 3 {
		id := w.begin()
		if got := looks(hangTicks - 1); !slices.Equal(got, none) {
			t.Errorf("a slow write: %v", got)
		}
		w.end(id)
	}
	old := w.begin()
	if got := looks(hangTicks - 1); !slices.Equal(got, none) {
		t.Errorf("a write: %v", got)
	}
	w.end(w.begin()) // others come and go
	if !w.look() {
		t.Error("the write still hangs")
	}
	w.end(old)
	if w.look() || len(w.looks) > 0 {
		t.Error("it was answered")
	}
}
