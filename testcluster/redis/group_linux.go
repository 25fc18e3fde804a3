package redis

import "syscall"

// ownGroup keeps a terminal's signals away from the server and ties its life to
// ours: a test that is killed leaves nothing behind.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
