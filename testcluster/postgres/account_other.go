//go:build unix && !linux

package postgres

import "syscall"

func account() (*syscall.Credential, error) { return nil, nil }

func ownGroup(*syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
