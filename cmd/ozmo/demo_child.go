package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	childStopPatience = 15 * time.Second
	logTailBytes      = 2048
)

// child is a process of the demo.
type child struct {
	name    string // in messages
	cmd     *exec.Cmd
	logFile string
	exited  chan struct{}
	err     error // why it exited; read after exited is closed
}

// startChild starts a process whose output is added to a file. It ends with the
// demo, however that ends.
func startChild(name, logFile, program string, args ...string) (*child, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	p := &child{name: name, cmd: exec.Command(program, args...), logFile: logFile, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		// Linux ends the child with the thread that started it, so the thread has
		// to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// exitError says why the process ended, with the end of its log.
func (p *child) exitError() error {
	reason := "exit status 0"
	if p.err != nil {
		reason = p.err.Error()
	}
	return fmt.Errorf("%s %s ended: %s%s", p.name, p.cmd.Path, reason, p.logTail())
}

func (p *child) logTail() string {
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return ""
	}
	data = data[max(0, len(data)-logTailBytes):]
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(string(data))) {
		b.WriteString("\n  " + clean(strings.TrimSpace(line)))
	}
	return b.String()
}

// kill ends the process at once, as a crash would.
func (p *child) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

// stop asks the process to end, and kills it if it takes too long.
func (p *child) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(childStopPatience):
		return p.kill()
	}
}
