package memnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

// layer is what raft's network transport needs of a network.
type layer struct {
	net.Listener
	host *memnet.Host
}

func (l layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.host.Dial(ctx, "tcp", string(address))
}

// counter counts what was applied.
type counter struct{ count int }

func (c *counter) Apply(*raft.Log) any {
	c.count++
	return c.count
}
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("no snapshots") }
func (c *counter) Restore(r io.ReadCloser) error       { return r.Close() }

// TestRaft elects, replicates, and elects again behind a cut.
func TestRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Delay(time.Millisecond)
		// What raft has under way ends with its timeouts.
		t.Cleanup(func() { <-time.After(time.Minute) })
		nodes := map[string]*raft.Raft{}
		var all raft.Configuration
		for _, name := range []string{"a", "b", "c"} {
			address := raft.ServerAddress(name + ":7000")
			all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(name), Address: address})
		}
		for _, s := range all.Servers {
			name := string(s.ID)
			transport := raft.NewNetworkTransport(layer{listen(t, n.Host(name), ":7000"), n.Host(name)}, 3, 10*time.Second, io.Discard)
			store := raft.NewInmemStore()
			config := raft.DefaultConfig()
			config.LocalID, config.LogOutput = s.ID, io.Discard
			snapshots := raft.NewInmemSnapshotStore()
			if err := raft.BootstrapCluster(config, store, store, snapshots, transport, all); err != nil {
				t.Fatal(err)
			}
			node, err := raft.NewRaft(config, &counter{}, store, store, snapshots, transport)
			if err != nil {
				t.Fatal(err)
			}
			nodes[name] = node
			t.Cleanup(func() {
				if err := errors.Join(node.Shutdown().Error(), transport.Close()); err != nil {
					t.Error(err)
				}
				n.Host(name).Kill() // raft closes no connection that it has accepted
			})
		}
		leader := func(but string) string {
			for range 1000 {
				for name, node := range nodes {
					if name != but && node.State() == raft.Leader && node.VerifyLeader().Error() == nil {
						return name
					}
				}
				<-time.After(10 * time.Millisecond)
			}
			t.Fatal("nobody leads")
			return ""
		}
		first := leader("")
		for k := range 100 {
			f := nodes[first].Apply([]byte(fmt.Sprint(k)), 0)
			if err := f.Error(); err != nil || f.Response() != k+1 {
				t.Fatalf("entry %d: %v, %v", k, f.Response(), err)
			}
		}
		n.Isolate(first)
		second := leader(first)
		if err := nodes[second].Apply([]byte("more"), 0).Error(); err != nil {
			t.Fatal(err)
		}
		n.HealAll()
		for range 1000 {
			if nodes[first].AppliedIndex() == nodes[second].AppliedIndex() && nodes[first].State() != raft.Leader {
				return
			}
			<-time.After(10 * time.Millisecond)
		}
		t.Fatalf("%s stays at %d of %d", first, nodes[first].AppliedIndex(), nodes[second].AppliedIndex())
	})
}
