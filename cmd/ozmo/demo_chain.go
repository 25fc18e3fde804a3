package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	chainStartPatience = 60 * time.Second // on a machine that is busy with other things
)

// chainAddress is what devchain writes when it serves.
type chainAddress struct {
	RPC     string `json:"rpc"`
	WS      string `json:"ws"`
	Token   string `json:"token"`
	ChainID uint64 `json:"chain_id"`
}

// chainProcess is devchain while it runs.
type chainProcess struct {
	*child
	chainAddress
}

// startChain starts devchain and waits until it serves.
func startChain(ctx context.Context, program string, args []string, readyFile, logFile string) (*chainProcess, error) {
	c, err := startChild("the simulated chain", logFile, program, append(args, "--ready-file", readyFile)...)
	if err != nil {
		return nil, err
	}
	p := &chainProcess{child: c}
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
