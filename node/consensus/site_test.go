package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
)

// site is a group over TCP on this machine, with files.
type site struct {
	t       testing.TB
	dirs    map[string]string
	rpc     sync.Map // server id -> address
	members []*member
}

func newSite(t testing.TB) *site {
	s := &site{t: t, dirs: map[string]string{}}
	t.Cleanup(func() {
		for _, m := range s.members {
			m.stop()
		}
	})
	return s
}

func (s *site) listen() net.Listener {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *site) start(id string) *member { return s.startOn(id, s.listen()) }

func (s *site) startOn(id string, l net.Listener) *member {
	s.t.Helper()
	rpc := s.listen()
	if s.dirs[id] == "" {
		s.dirs[id] = s.t.TempDir()
	}
	s.rpc.Store(id, rpc.Addr().String())
	var d net.Dialer
	m := start(s.t, id, place{
		raft: l, rpc: rpc, dial: func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) },
		rpcOf: func(server Server) string {
			address, _ := s.rpc.Load(server.ID)
			at, _ := address.(string)
			return at
		},
	}, func(o *Options) { o.Dir = s.dirs[id] })
	s.members = append(s.members, m)
	return m
}

func (s *site) group(names ...string) []*member {
	s.t.Helper()
	var all []*member
	var servers []Server
	for _, n := range names {
		m := s.start(n + "@00000001")
		all, servers = append(all, m), append(servers, m.server())
	}
	for _, m := range all {
		if err := m.Bootstrap(servers); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

func TestGroupsOverTCP(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"a", "b", "c"}, {"a", "b", "c", "d", "e"}} {
		t.Run(fmt.Sprint(len(names), " servers"), func(t *testing.T) {
			s := newSite(t)
			all := s.group(names...)
			first := leader(t, all)
			var proposers sync.WaitGroup
			for _, m := range all {
				for i := range 5 {
					proposers.Go(func() {
						fact := fmt.Sprint(m.id, i)
						if _, err := m.Propose(t.Context(), put(fact)); err != nil || !has(m.state, fact) {
							t.Errorf("%s: %v", m.id, err)
						}
					})
				}
			}
			proposers.Wait()
			same(t, all)
			// The leader goes; the others elect another, and it catches up later.
			first.stop()
			rest := others(all, first)
			for _, m := range rest {
				if _, err := m.Propose(t.Context(), put("without "+first.id)); err != nil {
					t.Errorf("%s: %v", m.id, err)
				}
			}
			back := s.start(first.id)
			second := leader(t, rest)
			if err := second.AddNonvoter(back.server()); err != nil { // it has another address now
				t.Fatal(err)
			}
			same(t, append(rest, back))
		})
	}
}
