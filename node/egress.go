package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/egress"
)

// newGuard makes what stands between tenants' addresses and the network.
func (n *Node) newGuard() (*egress.Guard, error) {
	return egress.New(egress.Options{
		Allow: n.opts.EgressAllow, Deny: n.opts.EgressDeny, Own: n.ownListeners,
		Resolver: n.resolver(), Dialer: n.opts.Network.Dial, Registerer: n.opts.Registry,
	})
}

// checkEgress lists what is wrong with the guard's lists.
func (o *Options) checkEgress() (errs []error) {
	if _, err := egress.New(egress.Options{Allow: o.EgressAllow, Deny: o.EgressDeny}); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// resolver is where names are looked up: in the network that tests give, else
// with the system; the guard knows how.
func (n *Node) resolver() egress.Resolver {
	r, _ := n.opts.Network.(egress.Resolver)
	return r
}

// tenantDial is for the endpoints of a network, if a tenant chose them; nil for
// those of shared networks, which are the operator's.
func (n *Node) tenantDial(network string) func(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.Contains(network, "/") {
		return nil
	}
	return func(ctx context.Context, proto, address string) (net.Conn, error) {
		conn, err := n.guard.Dial(ctx, proto, address)
		if errors.Is(err, notify.ErrForbidden) {
			return nil, forbidden{err}
		}
		return conn, err
	}
}

// forbidden makes a refusal of the guard what a watcher understands.
type forbidden struct{ error }

func (f forbidden) Unwrap() []error { return []error{f.error, rpc.ErrForbidden} }

// ownRefresh is how often the cluster's own addresses are looked up again; a
// change of members is seen at once.
const ownRefresh = 30 * time.Second

// ownListeners are the addresses and ports of the cluster and its services.
func (n *Node) ownListeners() []netip.AddrPort {
	if list := n.own.Load(); list != nil {
		return *list
	}
	return nil
}

// learnOwn keeps ownListeners up to date.
func (n *Node) learnOwn(ctx context.Context) {
	names := map[string][]netip.Addr{}
	ticker := time.NewTicker(ownRefresh)
	defer ticker.Stop()
	for {
		changed, met := n.state.Changed(fsm.TopicCluster), n.gossip.Changed()
		n.lookUpOwn(ctx, names)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			clear(names)
		case <-changed:
		case <-met:
		}
	}
}

// lookUpOwn finds what the cluster listens at; names as in resolveOwn.
func (n *Node) lookUpOwn(ctx context.Context, names map[string][]netip.Addr) {
	n.resolveOwn(ctx, names, ownHosts(&n.opts, n.address, n.state.View(), n.gossip.Members()))
}

// resolveOwn resolves HOST:PORT and keeps what comes of it for ownListeners.
// names has what was found before. While a name cannot be resolved, whatever was
// known is kept.
func (n *Node) resolveOwn(ctx context.Context, names map[string][]netip.Addr, hosts []string) {
	const patience = 2 * time.Second
	last := n.ownListeners()
	var out []netip.AddrPort
	for _, hostPort := range hosts {
		host, service, err := net.SplitHostPort(hostPort)
		if err != nil {
			continue
		}
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			continue
		}
		if a, err := netip.ParseAddr(host); err == nil {
			out = append(out, netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port)))
			continue
		}
		found, known := names[host]
		if !known {
			ctx, cancel := context.WithTimeout(ctx, patience)
			found, err = n.lookUp(ctx, host)
			cancel()
			if err != nil {
				out = append(out, last...) // better too many than one too few
				continue
			}
			names[host] = found
		}
		for _, a := range found {
			out = append(out, netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port)))
		}
	}
	out = append(out, n.everywhere(out)...)
	slices.SortFunc(out, netip.AddrPort.Compare)
	out = slices.Compact(out)
	n.own.Store(&out)
}

func (n *Node) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if r := n.resolver(); r != nil {
		return r.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// everywhere are this machine's addresses with the ports that it listens at on
// all of them.
func (n *Node) everywhere(listeners []netip.AddrPort) (out []netip.AddrPort) {
	for _, l := range listeners {
		if !l.Addr().IsUnspecified() {
			continue
		}
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			n.log.Warn("the egress guard cannot tell this machine's addresses", "error", err)
			return out
		}
		for _, a := range addresses {
			if prefix, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(prefix.IP); ok {
					out = append(out, netip.AddrPortFrom(ip.Unmap(), l.Port()))
				}
			}
		}
	}
	return out
}

// ownHosts are the cluster's listeners as they are called: HOST:PORT. address is
// where this node is reached.
func ownHosts(o *Options, address string, v *fsm.View, members []gossip.Member) []string {
	out := []string{address, o.Listen, redisHost(o.RedisURL)}
	if _, port, err := net.SplitHostPort(address); err == nil {
		if host, given, err := net.SplitHostPort(o.ClusterListen); err == nil {
			if given == "0" {
				given = port
			}
			if host == "" {
				host = "::"
			}
			out = append(out, net.JoinHostPort(host, given))
		}
	}
	for m := range v.Nodes() {
		out = append(out, m.Address)
	}
	for _, m := range members {
		out = append(out, m.Address, apiOf(m.Address, m.HTTP))
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// apiOf is where a node's API is reached, given its cluster address and how the
// API listens.
func apiOf(address, listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return listen
	}
	machine, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(machine, port)
}

// redisHost is where the shared block cache is, if it is not a socket.
func redisHost(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
