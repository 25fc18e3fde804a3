package memnet

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Addr is the address of a listener, a connection or a packet connection.
type Addr struct {
	Proto string     // "tcp" or "udp"
	Host  string     // the host's name
	IP    netip.Addr // the host's address when this one was made
	Port  int
}

// Network is "tcp" or "udp".
func (a Addr) Network() string { return a.Proto }

// String is "name:port".
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("memnet: address %q: the port is not a number below 65536", address)
	}
	return host, int(number), nil
}
