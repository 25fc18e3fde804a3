//go:build unix && !linux

package proc

import (
	"errors"
	"fmt"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// LimitFiles is possible on Linux only.
func (*Process) LimitFiles(uint64) error {
	return fmt.Errorf("limit the file size of a process: %w", errors.ErrUnsupported)
}
