package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that was started.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *Log
	done chan struct{}
}

// Start runs one of this module's programs in a process group of its own. It is
// killed when the test ends, if it has not ended by then.
func Start(t testing.TB, log *Log, name string, args ...string) *Process {
	t.Helper()
	return startUnder(t, log, nil, name, args...)
}

// egressAllow lets nodes reach tenants' receivers and chains where tests have
// them: on this machine, and in the world of the partition test. It is a variable
// of the environment, so that builds which know nothing of it start as well.
const egressAllow = "127.0.0.0/8,::1,198.18.78.0/24"

// startUnder is Start by way of another command, which must become the program.
func startUnder(t testing.TB, log *Log, by []string, name string, args ...string) *Process {
	t.Helper()
	path, err := Binary(name)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{name: name, log: log, done: make(chan struct{})}
	command := append(append(slices.Clone(by), path), args...)
	p.cmd = exec.Command(command[0], command[1:]...)
	// Not the file itself: what limits the size of the program's files must not
	// keep it from saying why it stops.
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.Env = append(os.Environ(), "OZMO_EGRESS_ALLOW="+egressAllow)
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.notef("%s started, process %d: %s", name, p.Pid(), strings.Join(args, " "))
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its outcome is in ProcessState
		log.notef("%s: %v", name, p.cmd.ProcessState)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Pid is the id of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running is nil, or tells how the process ended: waiting for it is in vain.
func (p *Process) Running() error {
	select {
	case <-p.done:
		return fmt.Errorf("%w: %s has ended (%v)", ErrInVain, p.name, p.cmd.ProcessState)
	default:
		return nil
	}
}

// Kill ends the process and its children with SIGKILL and waits for that.
func (p *Process) Kill() {
	if p.Running() == nil {
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // it may have ended just now
	}
	<-p.done
}

// Signal sends a signal to the process itself.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("%v to %s: %v", s, p.name, err)
	}
}

// Exit waits for the process to end by itself and returns its exit code, -1
// when a signal ended it.
func (p *Process) Exit(t testing.TB, limit time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		// The goroutines of a Go program are the best account of why it hangs.
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
		t.Fatalf("%s did not end within %v", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}
