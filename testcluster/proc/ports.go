package proc

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// Ports of nodes that are killed and started again are taken from below the
// range from which systems choose those of outgoing connections: there, another
// connection could take a port while its node is down.
const (
	firstPort = 15000
	ports     = 15000
)

var nextPort = struct {
	sync.Mutex
	at int
}{at: os.Getpid() * 131 % ports}

// fixedAddress is an address on loopback whose port is free for streams and
// packets, and stays so while the node is down.
func fixedAddress(t testing.TB) string {
	t.Helper()
	nextPort.Lock()
	defer nextPort.Unlock()
	var last error
	for range ports {
		nextPort.at = (nextPort.at + 1) % ports
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort.at)
		if last = bindable(address); last == nil {
			return address
		}
	}
	t.Fatalf("no free port from %d on: %v", firstPort, last)
	return ""
}

func bindable(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	return p.Close()
}
