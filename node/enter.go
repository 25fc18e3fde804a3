package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

const gossipAlive = gossip.Alive

// enter opens the cluster port and takes up this node's part in the cluster.
func (n *Node) enter(ctx context.Context) error {
	key, err := secrets.LoadKey(n.opts.DataDir)
	if err != nil {
		return err
	}
	n.keeper = secrets.New(key)
	if err := n.openCache(); err != nil {
		return err
	}
	packets, err := n.openMux()
	if err != nil {
		return err
	}
	n.peers = rpcTransport(n.mux)
	n.clean.push(func() error { n.peers.CloseIdleConnections(); return nil })
	n.serveRPC(n.mux.Listener(mux.RPC), n.rpcHandler())
	n.serveEnrolment(n.mux.Listener(mux.Enrol))

	dir := filepath.Join(n.opts.DataDir, "raft")
	has, err := consensus.HasState(dir)
	if n.opts.Stores != nil {
		has, err = holdsLog(n.opts.Stores)
	}
	if err != nil {
		return err
	}
	n.begun.Store(has)
	if err := n.disown(has); err != nil {
		return err
	}
	together := false
	if len(n.opts.Founders) > 0 && !has {
		if together, err = n.foundTogether(ctx); err != nil {
			return err
		}
	}
	if err := n.instantiate(); err != nil {
		return err
	}
	if err := n.openGossip(packets); err != nil {
		return err
	}
	if err := n.openGroup(dir); errors.Is(err, consensus.ErrDiverged) {
		return n.startAnew(dir, err)
	} else if err != nil {
		return err
	}
	n.contact = newContact(n.ttl(), n.group.Applied)
	n.certainty = newCertainty(n.ttl(), func(ctx context.Context) error {
		_, err := n.group.ReadIndex(ctx)
		return err
	})
	n.entered.Store(true)
	switch {
	case has:
		return nil
	case together:
		err = n.group.Bootstrap(n.founderServers())
	case n.opts.Bootstrap && len(n.opts.Founders) == 0 && len(n.knownPeers()) == 0:
		// With peers it had a cluster before: that one it joins again.
		err = n.group.Bootstrap([]consensus.Server{{ID: serverID(n.opts.Name, n.instance), Address: n.address}})
	}
	if errors.Is(err, consensus.ErrBootstrapped) {
		return nil
	}
	return err
}

// holdsLog is HasState for the stores of a test.
func holdsLog(open func() (consensus.Stores, error)) (bool, error) {
	stores, err := open()
	if err != nil {
		return false, err
	}
	last, err := stores.Log.LastIndex()
	return last > 0, err
}

// startAnew gives up a log that has come apart from the others'. The node ends,
// and comes back as another instance that gets everything from them.
func (n *Node) startAnew(dir string, why error) error {
	aside := dir + time.Now().UTC().Format(".diverged-20060102T150405")
	if err := os.Rename(dir, aside); err != nil {
		return errors.Join(why, err)
	}
	if err := n.disown(false); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("%w: its log was put aside as %s; start the node again, and it gets everything from the others", why, aside)
}

// disown gives up an instance whose log is gone: it may have voted.
func (n *Node) disown(has bool) error {
	id, err := n.opts.readIdentity()
	if err != nil || has || !id.Begun {
		return err
	}
	n.log.Warn("the log of this node is gone: it comes back as another instance", "was", serverID(id.Name, id.Instance))
	return n.opts.writeIdentity(identity{Name: id.Name, Instance: newInstance()})
}

// openMux opens the cluster port.
func (n *Node) openMux() (net.PacketConn, error) {
	listener, packets, err := listenCluster(n.opts.Network, n.opts.ClusterListen)
	if err != nil {
		return nil, err
	}
	n.clean.push(func() error { return ignoreClosed(packets.Close()) })
	if n.address, err = advertised(n.opts.Advertise, listener.Addr()); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	o := mux.Options{Listener: listener, Cluster: n.membership.Cluster, Dial: n.opts.Network.Dial, Logger: n.log, Registerer: n.opts.Registry}
	if !n.membership.Insecure {
		if n.credentials, err = n.membership.credentials(&n.opts); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		o.Server, o.Client = n.credentials.ServerConfig(), n.credentials.ClientConfig()
	}
	if n.mux, err = mux.New(o); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := n.mux.Serve(); err != nil && !errors.Is(err, net.ErrClosed) {
			n.die(fmt.Errorf("cluster port: %w", err))
		}
	}()
	n.clean.push(func() error {
		err := n.mux.Close()
		<-served
		return ignoreClosed(err)
	})
	return packets, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (n *Node) openGroup(dir string) (err error) {
	n.group, err = consensus.Open(consensus.Options{
		Dir: dir, Server: serverID(n.opts.Name, n.instance), Address: n.address, State: n.state, Logger: n.log,
		Registerer: n.opts.Registry, Multiplier: n.opts.RaftMultiplier, Fatal: n.die, Stores: n.opts.Stores,
		Layer: raftLayer{n.mux.Listener(mux.Raft), n.mux}, Locate: n.locate, Forward: n.forward, ReadIndex: n.readIndex, Gate: n.gate,
	})
	if err != nil {
		return err
	}
	n.clean.push(n.group.Close)
	return nil
}

// raftLayer carries Raft over the cluster port.
type raftLayer struct {
	net.Listener
	mux *mux.Mux
}

// Dial connects to another node's Raft.
func (l raftLayer) Dial(ctx context.Context, address string) (net.Conn, error) {
	return l.mux.Dial(ctx, mux.Raft, address)
}

// gossipStreams carries gossip's streams over the cluster port.
type gossipStreams struct {
	listener net.Listener
	mux      *mux.Mux
}

// Listener accepts gossip's streams.
func (s gossipStreams) Listener() net.Listener { return s.listener }

// Dial connects to another node's gossip.
func (s gossipStreams) Dial(ctx context.Context, address string) (net.Conn, error) {
	return s.mux.Dial(ctx, mux.Gossip, address)
}

func (n *Node) openGossip(packets net.PacketConn) (err error) {
	_, highest := fsm.CommandRange()
	n.gossip, err = gossip.New(gossip.Options{
		Name: n.opts.Name, Cluster: n.membership.Cluster, Advertise: n.address,
		Meta: gossip.Meta{
			Server: serverID(n.opts.Name, n.instance), Version: n.opts.Version, Commands: uint8(highest),
			Roles: uint8(n.opts.roles), HTTP: n.opts.Listen,
		},
		Streams: gossipStreams{n.mux.Listener(mux.Gossip), n.mux}, Packets: packets, Keys: n.membership.Keys,
		Profile: n.opts.Profile, Multiplier: n.opts.RaftMultiplier, Known: n.knownPeers, Logger: n.log, Registerer: n.opts.Registry,
	})
	if err != nil {
		return err
	}
	n.clean.push(n.gossip.Close)
	// The loop that looks for missing peers comes later; who starts wants to be
	// seen at once.
	n.loops.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if known := n.knownPeers(); len(known) > 0 {
			_ = n.gossip.Join(ctx, known) // those that are not there yet join in turn
		}
	})
	return nil
}

// knownPeers are the addresses where other nodes should be.
func (n *Node) knownPeers() []string {
	var out []string
	for node := range n.state.View().Nodes() {
		if node.Name != n.opts.Name {
			out = append(out, node.Address)
		}
	}
	for name, address := range n.membership.Peers {
		if name != n.opts.Name {
			out = append(out, address)
		}
	}
	for _, address := range n.opts.Join {
		if address != n.address {
			out = append(out, address)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// locate is where a server is now, as gossip, or else the state, knows.
func (n *Node) locate(server string) (string, bool) {
	if n.gossip != nil {
		for _, m := range n.gossip.Members() {
			if m.Server == server && m.Address != "" {
				return m.Address, true
			}
		}
	}
	if node, ok := n.state.View().Node(consensus.NameOf(server)); ok && node.Server == server {
		return node.Address, true
	}
	return "", false
}

// gate refuses commands that some living node would not understand.
func (n *Node) gate(t fsm.Type) error {
	if n.restoring.Load() {
		return errRestoring
	}
	if t&fsm.Ignorable != 0 {
		return nil
	}
	for _, m := range n.gossip.Members() {
		if m.State == gossip.Alive && m.Commands < uint8(t) {
			return fmt.Errorf("node %q (version %s) does not know this command yet: upgrade it first", m.Name, m.Version)
		}
	}
	return nil
}

// keepUp keeps what the data directory says of the cluster in line with the
// state: the peers to look for after a restart, and the gossip keys.
func (n *Node) keepUp(ctx context.Context) {
	for {
		leases, cluster := n.state.Changed(fsm.TopicLeases), n.state.Changed(fsm.TopicCluster)
		if err := n.takeOverRecord(n.state.View()); err != nil {
			n.log.Error("what the cluster says of itself could not be kept", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-leases:
		case <-cluster:
		}
	}
}

func (n *Node) takeOverRecord(v *fsm.View) error {
	next := *n.membership
	next.Peers = map[string]string{}
	for node := range v.Nodes() {
		next.Peers[node.Name] = node.Address
	}
	if len(next.Peers) == 0 {
		return nil
	}
	keys, err := openKeys(v.Cluster(), n.keeper)
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		next.Keys = keys
	}
	if err := n.gossip.SetKeys(next.Keys); err != nil {
		return err
	}
	if n.kept != nil && reflect.DeepEqual(*n.kept, next) {
		return nil
	}
	if err := next.write(); err != nil {
		return err
	}
	n.kept = &next
	return nil
}
