package main

import (
	"context"
	"encoding/json"
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
	chainStartPatience = 60 * time.Second // on a machine that is busy with other things
	chainStopPatience  = 5 * time.Second
	logTailBytes       = 2048
)

// chainAddress is what devchain writes when it serves.
type chainAddress struct {
	RPC     string `json:"rpc"`
	WS      string `json:"ws"`
	Token   string `json:"token"`
	ChainID uint64 `json:"chain_id"`
}

// chainProcess is a running devchain.
type chainProcess struct {
	chainAddress
	cmd     *exec.Cmd
	logFile string
	exited  chan struct{}
	err     error // why it exited; read after exited is closed
}

// startChain starts devchain and returns when it serves. It ends with the
// process that started it, whichever way that ends.
func startChain(ctx context.Context, program string, args []string, readyFile, logFile string) (*chainProcess, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	p := &chainProcess{
		cmd:     exec.Command(program, append(args, "--ready-file", readyFile)...),
		logFile: logFile, exited: make(chan struct{}),
	}
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
		return nil, fmt.Errorf("start the simulated chain: %w", err)
	}
	if err := p.awaitReady(ctx, readyFile); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *chainProcess) awaitReady(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, chainStartPatience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		data, err := os.ReadFile(file)
		if err == nil {
			if err := json.Unmarshal(data, &p.chainAddress); err != nil || p.RPC == "" || p.WS == "" || p.Token == "" {
				return fmt.Errorf("%s is not the devchain of ozmo: its ready file says %q", p.cmd.Path, clean(string(data)))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the simulated chain %s does not serve after %v%s", p.cmd.Path, chainStartPatience, p.logTail())
			}
			return ctx.Err()
		case <-p.exited:
			return p.exitError()
		case <-ticker.C:
		}
	}
}

// exitError says why the process ended when nobody had asked it to.
func (p *chainProcess) exitError() error {
	reason := "exit status 0"
	if p.err != nil {
		reason = p.err.Error()
	}
	return fmt.Errorf("the simulated chain %s ended: %s%s", p.cmd.Path, reason, p.logTail())
}

// logTail is the end of what the process wrote.
func (p *chainProcess) logTail() string {
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

// stop ends the process and waits for its end.
func (p *chainProcess) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the simulated chain: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(chainStopPatience):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the simulated chain: %w", err)
	}
	<-p.exited
	return nil
}
