package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code, 2 for a wrong
// command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	opts, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		log.Error("the command line is wrong", "error", err)
		return 2
	}
	if err := serve(ctx, opts, stdout, log); err != nil {
		log.Error("devchain stopped", "error", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, opts options, stdout io.Writer, log *slog.Logger) (err error) {
	if opts.readyFile != "" {
		if err := removeReadyFile(opts.readyFile); err != nil {
			return err
		}
	}
	s, err := newServer(opts, log)
	if err != nil {
		return err
	}
	if err := announce(s, stdout); err != nil {
		return errors.Join(err, s.chain.Close())
	}
	if opts.readyFile != "" {
		defer func() { err = errors.Join(err, removeReadyFile(opts.readyFile)) }()
	}
	ready := s.readiness()
	log.Info("serving", "rpc", ready.RPC, "ws", ready.WS, "token", ready.Token, "chain_id", ready.ChainID,
		"block_time", opts.blockTime, "rate", opts.rate)
	err = s.run(ctx)
	log.Info("stopped")
	return err
}

// announce tells those who asked for it how to reach the chain.
func announce(s *server, stdout io.Writer) error {
	if s.opts.json {
		line, err := s.readiness().line()
		if err != nil {
			return err
		}
		if _, err := stdout.Write(line); err != nil {
			return err
		}
	}
	if s.opts.readyFile != "" {
		return writeReadyFile(s.opts.readyFile, s.readiness())
	}
	return nil
}
