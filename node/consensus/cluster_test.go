package consensus

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

// member is one server of a test's group, with what a node would give it.
type member struct {
	*Group
	t        testing.TB
	id, name string
	state    *fsm.State
	rpc      net.Listener
	dial     func(ctx context.Context, address string) (net.Conn, error)
	serving  sync.WaitGroup
	fatal    chan error
	stopOnce sync.Once
}

// place is where a member runs: two listeners, for Raft and for the calls of
// proposers, and how to reach others.
type place struct {
	raft, rpc net.Listener
	dial      func(ctx context.Context, address string) (net.Conn, error)
	rpcOf     func(server Server) string // address of a server's rpc listener
}

type testLayer struct {
	net.Listener
	dial func(ctx context.Context, address string) (net.Conn, error)
}

func (l testLayer) Dial(ctx context.Context, address string) (net.Conn, error) {
	return l.dial(ctx, address)
}

// start runs a server.
func start(t testing.TB, id string, at place, change func(*Options)) *member {
	t.Helper()
	m := &member{
		t: t, id: id, name: NameOf(id), state: fsm.New(), rpc: at.rpc, dial: at.dial, fatal: make(chan error, 1),
	}
	opts := Options{
		Server: id, Address: at.raft.Addr().String(), State: m.state, Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry(), Layer: testLayer{at.raft, at.dial},
		Fatal: func(err error) { m.fatal <- err },
		Forward: func(ctx context.Context, leader Server, entry []byte) (uint64, error) {
			return m.call(ctx, at.rpcOf(leader), call{Entry: entry})
		},
		ReadIndex: func(ctx context.Context, leader Server) (uint64, error) {
			return m.call(ctx, at.rpcOf(leader), call{})
		},
	}
	if change != nil {
		change(&opts)
	}
	g, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	m.Group = g
	m.serving.Go(m.serve)
	return m
}

func (m *member) server() Server { return Server{m.id, m.opts.Address} }

// stop ends the server in an orderly way.
func (m *member) stop() {
	m.stopOnce.Do(func() {
		if err := m.Close(); err != nil {
			m.t.Errorf("close %s: %v", m.id, err)
		}
		_ = m.rpc.Close()
		m.serving.Wait()
		select {
		case err := <-m.fatal:
			m.t.Errorf("%s stopped: %v", m.id, err)
		default:
		}
	})
}

// call is a proposal on its way to the leader, or a question for its read index.
type call struct{ Entry []byte }

type reply struct {
	Index uint64
	Error string
}

var callErrors = map[string]error{"not-leader": ErrNotLeader, "no-leader": ErrNoLeader, "gated": ErrGated, "uncertain": ErrUncertain}

func (m *member) call(ctx context.Context, address string, c call) (uint64, error) {
	conn, err := m.dial(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLeader, err) // it did not get there
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := gob.NewEncoder(conn).Encode(c); err != nil {
		return 0, err
	}
	var r reply
	if err := gob.NewDecoder(conn).Decode(&r); err != nil {
		return 0, err
	}
	if r.Error == "" {
		return r.Index, nil
	}
	if known, ok := callErrors[r.Error]; ok {
		return 0, fmt.Errorf("the leader says: %w", known)
	}
	return 0, errors.New(r.Error)
}

func (m *member) serve() {
	for {
		conn, err := m.rpc.Accept()
		if err != nil {
			return
		}
		m.serving.Go(func() {
			defer conn.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 2*holdFor)
			defer cancel()
			_ = conn.SetDeadline(time.Now().Add(2 * holdFor))
			var c call
			if gob.NewDecoder(conn).Decode(&c) != nil {
				return
			}
			// A caller that is gone is not waited for.
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				cancel()
			}()
			var r reply
			if c.Entry != nil {
				r.Index, err = m.ProposeEntry(ctx, c.Entry)
			} else {
				r.Index, err = m.ReadIndex(ctx)
			}
			if err != nil {
				r.Error = err.Error()
				for code, known := range callErrors {
					if errors.Is(err, known) {
						r.Error = code
					}
				}
			}
			_ = gob.NewEncoder(conn).Encode(r)
		})
	}
}

// world is a group over a network in memory.
type world struct {
	t       testing.TB
	net     *memnet.Net
	stores  map[string]Stores // the disks, by host
	members []*member
}

func newWorld(t testing.TB) *world {
	return &world{t: t, net: memnet.New(), stores: map[string]Stores{}}
}

// start runs a server on the host of its name.
func (w *world) start(id string, change func(*Options)) *member {
	w.t.Helper()
	host := w.net.Host(NameOf(id))
	at := place{
		dial:  func(ctx context.Context, address string) (net.Conn, error) { return host.Dial(ctx, "tcp", address) },
		rpcOf: func(s Server) string { return NameOf(s.ID) + ":7001" },
	}
	var err error
	if at.raft, err = host.Listen(":7000"); err != nil {
		w.t.Fatal(err)
	}
	if at.rpc, err = host.Listen(":7001"); err != nil {
		w.t.Fatal(err)
	}
	if _, ok := w.stores[host.Name()]; !ok {
		w.stores[host.Name()] = MemoryStores()
	}
	m := start(w.t, id, at, func(o *Options) {
		o.Address = host.Name() + ":7000"
		o.Stores = func() (Stores, error) { return w.stores[host.Name()], nil }
		if change != nil {
			change(o)
		}
	})
	w.members = append(w.members, m)
	return m
}

// group starts servers of these names and begins a group with them.
func (w *world) group(names ...string) []*member {
	w.t.Helper()
	var all []*member
	var servers []Server
	for _, n := range names {
		m := w.start(n+"@00000001", nil)
		all = append(all, m)
		servers = append(servers, m.server())
	}
	for _, m := range all {
		if err := m.Bootstrap(servers); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// stop ends every server.
func (w *world) stop() {
	w.net.HealAll()
	var all sync.WaitGroup
	for _, m := range w.members {
		all.Go(m.stop)
	}
	all.Wait()
}

// kill ends a server without a word to the others, its disk stays.
func (w *world) kill(m *member) {
	w.net.Host(m.name).Vanish()
	m.stop()
}

// leader waits until one of these servers leads and can commit.
func leader(t testing.TB, among []*member) *member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		for _, m := range among {
			if m.isLeader() {
				if _, err := m.ReadIndex(ctx); err == nil {
					return m
				}
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("none of the servers leads")
		}
	}
}

// others are the servers but one.
func others(all []*member, but *member) []*member {
	var out []*member
	for _, m := range all {
		if m != but {
			out = append(out, m)
		}
	}
	return out
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// put is a command that leaves one fact behind, and has is whether it is there.
func put(fact string) fsm.Command { return &fsm.PutBlobs{Blobs: [][]byte{[]byte(fact)}} }

func has(s *fsm.State, fact string) bool {
	_, ok := s.View().Blob(fsm.HashBlob([]byte(fact)))
	return ok
}

// same waits until the servers' states are equal.
func same(t testing.TB, all []*member) {
	t.Helper()
	lead := leader(t, all)
	for _, m := range all {
		if err := m.Barrier(t.Context()); err != nil {
			t.Fatalf("%s: %v", m.id, err)
		}
	}
	want := encoded(t, lead.state)
	for _, m := range all {
		if encoded(t, m.state) != want {
			t.Errorf("the states of %s and %s differ", lead.id, m.id)
		}
	}
}

// deadline is the test's context, for a while.
func deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}
