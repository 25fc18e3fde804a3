package proc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// canTellOwner: streams can be told by the node that opened them, so that a node
// can be cut off both ways.
const canTellOwner = true

// ownerOf is the process, of those given, that has the local end of a loopback
// connection; 0 when none has.
func ownerOf(local, remote net.Addr, pids map[int]string) int {
	inode := inodeOf(local, remote)
	if inode == "" {
		return 0
	}
	want := "socket:[" + inode + "]"
	for pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, f := range files {
			if target, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && target == want {
				return pid
			}
		}
	}
	return 0
}

// inodeOf finds a connection in the system's table.
func inodeOf(local, remote net.Addr) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	a, b := hexAddress(local), hexAddress(remote)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == a && f[2] == b {
			return f[9]
		}
	}
	return ""
}

func hexAddress(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return ""
	}
	ip := tcp.IP.To4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], tcp.Port)
}
