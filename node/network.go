package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Network is how a node listens and dials. The zero value of Options uses the
// system's; tests give one in memory.
type Network interface {
	Listen(address string) (net.Listener, error)
	ListenPacket(address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

type systemNetwork struct{}

// Listen opens a TCP port.
func (systemNetwork) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// ListenPacket opens a UDP port.
func (systemNetwork) ListenPacket(address string) (net.PacketConn, error) {
	return net.ListenPacket("udp", address)
}

// Dial connects.
func (systemNetwork) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// samePortTries is how often a free port is sought that is free for both.
const samePortTries = 20

// listenCluster opens the cluster port for streams and packets: one number for
// both, also where the system chooses it.
func listenCluster(n Network, address string) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("--cluster-listen %q: want HOST:PORT", address)
	}
	for try := 1; ; try++ {
		l, err := n.Listen(address)
		if err != nil {
			return nil, nil, fmt.Errorf("cluster port: %w (another address can be given with --cluster-listen)", err)
		}
		_, chosen, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
		p, err := n.ListenPacket(net.JoinHostPort(host, chosen))
		if err == nil {
			return l, p, nil
		}
		if closing := l.Close(); port != "0" || try == samePortTries || closing != nil {
			return nil, nil, errors.Join(fmt.Errorf("cluster port, UDP: %w", err), closing)
		}
	}
}

// advertised is the address that others reach this node at.
func advertised(given string, listener net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return "", err
	}
	if given != "" {
		if h, p, err := net.SplitHostPort(given); err == nil {
			if p == "0" {
				p = port
			}
			return net.JoinHostPort(h, p), nil
		}
		return net.JoinHostPort(given, port), nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return net.JoinHostPort(host, port), nil
	}
	ip, err := outwardIP()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ip, port), nil
}

// outwardIP is the first address of this machine that others can reach, or
// else the loopback one.
func outwardIP() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find this machine's address: %w (give it with --advertise)", err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "127.0.0.1", nil
}

// isLoopback reports whether only this machine reaches a listening address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkAddress refuses what is not HOST:PORT.
func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT, like 10.0.0.1:7000", flag, address)
	}
	return nil
}
