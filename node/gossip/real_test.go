package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

type muxStreams struct{ *mux.Mux }

func (s muxStreams) Listener() net.Listener { return s.Mux.Listener(mux.Gossip) }

func (s muxStreams) Dial(ctx context.Context, address string) (net.Conn, error) {
	return s.Mux.Dial(ctx, mux.Gossip, address)
}

// TestOverMux has real sockets on loopback, certificates and keys.
func TestOverMux(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		eventually.Nil(t, func() error { return goleak.Find(before) })
	})
	const cluster = "test"
	ca, err := pki.NewCA(cluster)
	if err != nil {
		t.Fatal(err)
	}
	var peers []*peer
	var addresses []string
	for _, name := range []string{"a", "b", "c"} {
		p, address, stop := startReal(t, ca, cluster, name)
		t.Cleanup(stop)
		peers, addresses = append(peers, p), append(addresses, address)
	}
	for _, p := range peers[1:] {
		p.join(t, addresses[0])
	}
	eventually.Nil(t, allAlive(peers))
	if got := peers[0].member("b").Address; got != addresses[1] {
		t.Errorf("b advertises %s, want %s", got, addresses[1])
	}
	if err := peers[0].SetKeys([][]byte{key(1), key(0)}); err != nil {
		t.Fatal(err)
	}

	// One of another cluster, with that one's certificates, has no way in.
	strange, err := pki.NewCA("prod")
	if err != nil {
		t.Fatal(err)
	}
	stranger, _, stop := startReal(t, strange, "prod", "d")
	t.Cleanup(stop)
	if err := stranger.Join(t.Context(), addresses[:1]); err == nil {
		t.Error("a stranger joined")
	} else {
		t.Log(err)
	}

	if err := peers[1].Leave(t.Context()); err != nil {
		t.Error(err)
	}
	eventually.Nil(t, sees(peers, "b", gossip.Left))
	peers[2].stop(t)
	eventually.Nil(t, sees(peers[:1], "c", gossip.Dead))
}

// startReal runs a node on a free port of loopback. Stop may be called twice.
func startReal(t *testing.T, ca *pki.CA, cluster, name string) (p *peer, address string, stop func()) {
	t.Helper()
	dir := t.TempDir()
	material, err := ca.Equip(cluster, name, pki.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	if err := material.Save(dir); err != nil {
		t.Fatal(err)
	}
	credentials, err := pki.LoadIn(dir, cluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, packets := listenBoth(t)
	m, err := mux.New(mux.Options{
		Listener: l, Server: credentials.ServerConfig(), Client: credentials.ClientConfig(), Cluster: cluster,
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := m.Serve(); err != nil {
			t.Errorf("serve %s: %v", name, err)
		}
	})
	g, err := gossip.New(gossip.Options{
		Name: name, Cluster: cluster, Advertise: l.Addr().String(), Meta: gossip.Meta{Server: name + "@1"},
		Streams: muxStreams{m}, Packets: packets, Keys: [][]byte{key(0), key(1)}, Multiplier: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	p = &peer{Gossip: g, name: name}
	return p, l.Addr().String(), sync.OnceFunc(func() {
		p.stop(t)
		if err := m.Close(); err != nil {
			t.Errorf("close the mux of %s: %v", name, err)
		}
		serving.Wait()
	})
}

// listenBoth finds a port that is free for streams and packets.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	var failed error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, packets
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", l.Addr(), err), l.Close())
	}
	t.Fatal(failed)
	return nil, nil
}
