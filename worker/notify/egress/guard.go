package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Resolver finds the addresses of a host name.
type Resolver interface {
	Resolve(ctx context.Context, host string) ([]netip.Addr, error)
}

// Options configure a Guard.
type Options struct {
	// Allow are exceptions from what is refused by default, Deny is refused
	// whatever is allowed: CIDR ranges, addresses, host names or "*.suffix". A
	// host name that is allowed may resolve to anything but a metadata service,
	// which only an entry with its very address allows.
	Allow, Deny []string
	// Own are the cluster's own listeners. Their ports are never dialled; other
	// ports of their addresses are where Allow has the address. It is called for
	// every connection and must not wait. Nil: none.
	Own func() []netip.AddrPort

	Resolver   Resolver              // nil: the system's
	Dialer     notify.DialFunc       // dials "tcp" and an address; nil: a net.Dialer
	Registerer prometheus.Registerer // nil: nothing is registered
}

// Guard connects to what is allowed. It is safe for concurrent use.
type Guard struct {
	allow, deny list
	own         func() []netip.AddrPort
	resolver    Resolver
	dial        notify.DialFunc
	refused     *prometheus.CounterVec
}

// New makes a guard; errors name the entry that cannot be read.
func New(o Options) (*Guard, error) {
	g := &Guard{own: o.Own, resolver: o.Resolver, dial: o.Dialer, refused: newMetrics(o.Registerer)}
	var err error
	if g.allow, err = parseList("--egress-allow", o.Allow); err != nil {
		return nil, err
	}
	if g.deny, err = parseList("--egress-deny", o.Deny); err != nil {
		return nil, err
	}
	if g.own == nil {
		g.own = func() []netip.AddrPort { return nil }
	}
	if g.resolver == nil {
		g.resolver = systemResolver{}
	}
	if g.dial == nil {
		g.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return g, nil
}

func newMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ozmo_egress_refused_total",
		Help: "Connections to a tenant's destination that were not made, by the rule that forbids them.",
	}, []string{"rule"})
	if reg != nil {
		reg.MustRegister(refused)
	}
	return refused
}

type systemResolver struct{}

// Resolve asks the system.
func (systemResolver) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

const (
	dialTimeout = 10 * time.Second // of one address
	stagger     = 300 * time.Millisecond
	maxTried    = 8 // addresses of one name
)

// Dial connects to host:port over "tcp", "tcp4" or "tcp6". The host is resolved
// once; of its addresses those are tried that may be connected to. A refusal
// wraps notify.ErrForbidden and says which rule it is and what the operator
// would have to allow; it does not tell which addresses a name has.
func (g *Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, g.refuse(address, ruleMalformed)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 || network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, g.refuse(address, ruleMalformed)
	}
	candidates, err := g.candidates(ctx, host)
	if err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	why := rule("")
	for _, a := range candidates {
		if v4 := a.Unmap().Is4(); network == "tcp4" && !v4 || network == "tcp6" && v4 {
			continue
		}
		if r := g.judge(host, a, uint16(port)); r != "" {
			why = r
		} else {
			allowed = append(allowed, a)
		}
	}
	switch {
	case len(allowed) > 0:
		return g.connect(ctx, allowed[:min(len(allowed), maxTried)], uint16(port))
	case why != "":
		return nil, g.refuse(host, why)
	default:
		return nil, &net.DNSError{Err: "no suitable address", Name: host, IsNotFound: true}
	}
}

// candidates are the addresses that a host stands for.
func (g *Guard) candidates(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if err := g.checkName(host); err != nil {
		return nil, err
	}
	return g.resolver.Resolve(ctx, host)
}

// Check refuses a host that could not be connected to whatever it resolves to,
// so that a mistake can be told early. It resolves nothing: what it lets pass
// may yet be refused by Dial.
func (g *Guard) Check(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		if r := g.judge(host, a, 0); r != "" {
			return g.refusal(host, r)
		}
		return nil
	}
	if r := g.judgeName(host); r != "" {
		return g.refusal(host, r)
	}
	return nil
}

func (g *Guard) checkName(host string) error {
	if r := g.judgeName(host); r != "" {
		return g.refuse(host, r)
	}
	return nil
}

func (g *Guard) judgeName(host string) rule {
	name := plainName(host)
	switch {
	case badName(name) != "":
		return ruleMalformed
	case g.deny.named(name):
		return ruleDenied
	case metadataNames[name] && !g.allow.names[name]:
		return ruleMetadata
	}
	return ""
}

// judge says why a host's address is refused; port 0 means any. Of an address
// that carries others, each must pass by itself.
func (g *Guard) judge(host string, a netip.Addr, port uint16) rule {
	listeners := g.own()
	all := forms(a)
	for _, f := range all {
		if g.deny.contains(f) {
			return ruleDenied
		}
		if listens(listeners, f, port) {
			return ruleOwn
		}
	}
	for _, f := range all {
		if r := byRange(f); r != "" && !g.excepted(host, f, r) {
			return r
		}
		for _, l := range listeners {
			if plainAddr(l) == f && !g.allows(host, f) {
				return ruleOwn
			}
		}
	}
	return ""
}

// listens reports whether one of the listeners takes connections to an address
// and port.
func listens(listeners []netip.AddrPort, a netip.Addr, port uint16) bool {
	for _, l := range listeners {
		// A listener at all addresses takes those to loopback, too.
		own := plainAddr(l)
		if l.Port() == port && (own == a || own.IsUnspecified() && a.IsLoopback()) {
			return true
		}
	}
	return false
}

func plainAddr(l netip.AddrPort) netip.Addr { return l.Addr().Unmap().WithZone("") }

func (g *Guard) excepted(host string, a netip.Addr, r rule) bool {
	switch r {
	case ruleMetadata:
		return g.allow.single[a]
	case ruleUnset: // systems take it for loopback
		return false
	default:
		return g.allows(host, a)
	}
}

func (g *Guard) allows(host string, a netip.Addr) bool {
	return g.allow.contains(a) || g.allow.named(plainName(host))
}

// refuse counts and explains a connection that is not made.
func (g *Guard) refuse(host string, r rule) error {
	g.refused.WithLabelValues(string(r)).Inc()
	return g.refusal(host, r)
}

func (g *Guard) refusal(host string, r rule) error {
	_, literal := netip.ParseAddr(host)
	is := " is "
	if literal != nil && r != ruleDenied && r != ruleMalformed {
		is = " has an address that is not to be connected to: "
	}
	text := strconv.Quote(host) + is + words[r]
	switch r {
	case ruleMalformed:
		if why := badName(plainName(host)); why != "" {
			text += " (" + why + ")"
		}
	case ruleDenied, ruleOwn, ruleUnset: // nothing allows it
	case ruleMetadata:
		text += " (an operator allows it only by its very address, with --egress-allow)"
	default:
		text += " (an operator allows it with --egress-allow " + host + ")"
	}
	return fmt.Errorf("%w: %s", notify.ErrForbidden, text)
}

// connect dials addresses that were judged: the next one begins when the one
// before has failed, or keeps us waiting. The first connection counts.
func (g *Guard) connect(ctx context.Context, addresses []netip.Addr, port uint16) (net.Conn, error) {
	one := func(ctx context.Context, a netip.Addr) (net.Conn, error) {
		return g.dial(ctx, "tcp", netip.AddrPortFrom(a.Unmap(), port).String())
	}
	if len(addresses) == 1 {
		return one(ctx, addresses[0])
	}
	type result struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(addresses))
	running := 0
	begin := func() {
		a := addresses[0]
		addresses = addresses[1:]
		running++
		go func() {
			conn, err := one(ctx, a)
			results <- result{conn, err}
		}()
	}
	begin()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var first error
	for running > 0 {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				go func() { // those that were too late
					for range running {
						if r := <-results; r.err == nil {
							_ = r.conn.Close() // nothing was said over it
						}
					}
				}()
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			if len(addresses) > 0 && ctx.Err() == nil {
				begin()
				timer.Reset(stagger)
			}
		case <-timer.C:
			if len(addresses) > 0 {
				begin()
				timer.Reset(stagger)
			}
		}
	}
	return nil, first
}
