package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

func splitHostPort(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q: want HOST:PORT", address)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 || host == "" {
		return "", 0, fmt.Errorf("%q: want HOST:PORT, the port from 1 to 65535", address)
	}
	return host, uint16(number), nil
}

// resolve finds the addresses of host:port.
func (o *Options) resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, port, err := splitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	ips, err := o.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), port))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return out, nil
}

// pick chooses one of several addresses of a host: an IPv4 one where there is.
func pick(addresses []netip.AddrPort) netip.AddrPort {
	for _, a := range addresses {
		if a.Addr().Is4() {
			return a
		}
	}
	return addresses[0]
}

// ownAddress is where packets for this node go: what the advertised address
// resolves to, or else where it listens, with the advertised port.
func (o *Options) ownAddress(ctx context.Context) (netip.AddrPort, error) {
	found, err := o.resolve(ctx, o.Advertise)
	if err == nil && !pick(found).Addr().IsUnspecified() {
		return pick(found), nil
	}
	_, port, splitErr := splitHostPort(o.Advertise)
	if splitErr != nil {
		return netip.AddrPort{}, splitErr
	}
	local, localErr := o.resolve(ctx, o.Packets.LocalAddr().String())
	if localErr == nil && !pick(local).Addr().IsUnspecified() {
		return netip.AddrPortFrom(pick(local).Addr(), port), nil
	}
	ip, ipErr := outwardIP()
	if ipErr != nil {
		return netip.AddrPort{}, fmt.Errorf("gossip: the advertised address %s cannot be resolved (%w), and no other was found: %w", o.Advertise, err, ipErr)
	}
	return netip.AddrPortFrom(ip, port), nil
}

// outwardIP is the first address of this machine that others can reach, or
// else the loopback one.
func outwardIP() (netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			return p.Addr().Unmap(), nil
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
}
