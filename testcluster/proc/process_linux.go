package proc

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts a process into a group of its own and ties its life to ours: a
// test that is killed leaves nothing behind.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// LimitFiles keeps the process from growing any file beyond size bytes, as a
// full disk would.
func (p *Process) LimitFiles(size uint64) error {
	limit := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		return fmt.Errorf("limit the file size of process %d: %w", p.Pid(), err)
	}
	return nil
}
