//go:build !linux

package main

import "syscall"

// childAttributes put a child out of Ctrl-C's reach, so that it ends after the
// node that uses it. This system cannot end it when its parent is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
