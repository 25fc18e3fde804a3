package memnet

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Net is a network of named hosts.
type Net struct {
	// mu guards everything below, and all state of hosts, listeners and
	// connections. It is held for moments only, never while something waits.
	mu       sync.Mutex
	hosts    map[string]*Host
	byIP     map[netip.Addr]*Host
	aliases  map[string][]string
	links    map[[2]string]*link
	isolated map[string]bool
	conns    map[*conn]struct{}
	delay    time.Duration
	ips      uint16
	changed  signal // links, listeners or hosts have changed
}

// link is one direction between two hosts.
type link struct {
	cut   bool
	stats Stats
}

// Stats says what went from one host to another.
type Stats struct {
	Conns          int   // connections dialed and accepted, ever
	Open           int   // of these, neither side has closed
	Bytes          int64 // written to connections, whoever dialed them
	Packets        int   // sent, the dropped ones included
	PacketBytes    int64
	PacketsDropped int // for a cut link, a full queue, or because nobody listens
}

// New makes an empty network. Make it inside the bubble that uses it.
func New() *Net {
	return &Net{
		hosts: map[string]*Host{}, byIP: map[netip.Addr]*Host{}, aliases: map[string][]string{},
		links: map[[2]string]*link{}, isolated: map[string]bool{}, conns: map[*conn]struct{}{},
	}
}

// Host is the host of this name; it is made when there is none yet.
func (n *Net) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		return h
	}
	h := &Host{net: n, name: name, listeners: map[int]*listener{}, packets: map[int]*packetConn{}, nextPort: 40000}
	n.hosts[name] = h
	n.address(h)
	for other := range n.isolated {
		n.cutBoth(name, other)
	}
	n.change()
	return h
}

// Range holds the addresses of all hosts of a network.
const Range = "10.77.0.0/16"

// address gives the host an IP address nobody had before.
func (n *Net) address(h *Host) {
	n.ips++
	delete(n.byIP, h.ip)
	h.ip = netip.AddrFrom4([4]byte{10, 77, byte(n.ips >> 8), byte(n.ips)})
	n.byIP[h.ip] = h
}

// Alias makes a further name, as in DNS, for one host or several.
func (n *Net) Alias(alias string, hosts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.aliases[alias] = hosts
	n.change()
}

// Resolve is the DNS of this network: the addresses of a host or an alias. An
// address is its own answer.
func (n *Net) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var answer []netip.Addr
	for _, name := range append([]string{host}, n.aliases[host]...) {
		if h := n.hosts[name]; h != nil {
			answer = append(answer, h.ip)
		}
	}
	if len(answer) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return answer, nil
}

// lookup finds a host by name, alias or address, as seen from another host.
func (n *Net) lookup(from *Host, host string) *Host {
	if host == "" || host == "localhost" {
		return from
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsLoopback() || ip.IsUnspecified() {
			return from
		}
		return n.byIP[ip.Unmap()]
	}
	if h := n.hosts[host]; h != nil {
		return h
	}
	for _, name := range n.aliases[host] {
		if h := n.hosts[name]; h != nil {
			return h
		}
	}
	return nil
}

// Cut stops everything between two hosts, in both directions.
func (n *Net) Cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cutBoth(a, b)
	n.change()
}

// CutOneWay stops what goes from one host to the other. Connections between
// them can then be made in neither direction, since a handshake needs both.
func (n *Net) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).cut = from != to
	n.change()
}

// Isolate cuts a host off from all others, those still to come included. Heal
// and HealHost bring links back.
func (n *Net) Isolate(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolated[host] = true
	for other := range n.hosts {
		n.cutBoth(host, other)
	}
	n.change()
}

// Heal ends what Cut, CutOneWay or Isolate did between two hosts.
func (n *Net) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(a, b).cut = false
	n.link(b, a).cut = false
	n.change()
}

// HealHost heals every link of a host.
func (n *Net) HealHost(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.isolated, host)
	for pair, l := range n.links {
		if slices.Contains(pair[:], host) {
			l.cut = false
		}
	}
	n.change()
}

// HealAll heals every link.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.isolated)
	for _, l := range n.links {
		l.cut = false
	}
	n.change()
}

// Delay makes every delivery from now on come later by d. Dialing takes twice
// as long.
func (n *Net) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Stats says what went from one host to another so far.
func (n *Net) Stats(from, to string) Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	stats := n.link(from, to).stats
	for c := range n.conns {
		if c.dialed && !c.closed && !c.peer.closed && c.local.Host == from && c.remote.Host == to {
			stats.Open++
		}
	}
	return stats
}

func (n *Net) link(from, to string) *link {
	pair := [2]string{from, to}
	l := n.links[pair]
	if l == nil {
		l = &link{}
		n.links[pair] = l
	}
	return l
}

func (n *Net) cutBoth(a, b string) {
	if a != b {
		n.link(a, b).cut = true
		n.link(b, a).cut = true
	}
}

// change wakes everyone who may see the network differently now.
func (n *Net) change() {
	n.changed.fire()
	for c := range n.conns {
		c.in.moved.fire()
	}
}
