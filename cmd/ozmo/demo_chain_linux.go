package main

import "syscall"

// childAttributes put a child out of Ctrl-C's reach, so that it ends after the
// node that uses it, and have the kernel end it when its parent is gone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
