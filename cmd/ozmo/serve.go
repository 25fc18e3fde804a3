package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

func newServe(a *app) *cobra.Command {
	opts := node.Options{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: watch the networks, judge their blocks, deliver the alerts",
		Long: `Run a node until it is told to stop (Ctrl-C, SIGTERM).

The folder given with --config is OpenZeppelin Monitor's: networks/, monitors/,
triggers/ and filters/ are one tenant called "default". With tenants/NAME/ in it,
each of those is a tenant with the same layout, and networks/ is shared by all.
The folder is read at the start and again on SIGHUP; a tenant whose documents
have errors keeps what it had.

What the node must not forget is in the data directory. After a crash it goes on
where it stopped: no block is skipped, no alert lost.`,
		Example: `  ozmo serve --config ./config
  ozmo serve --config /etc/ozmo --data /var/lib/ozmo --listen 127.0.0.1:8080
  ozmo serve --config ./config --checkpoints ./data   # go on where OpenZeppelin Monitor left off
  kill -HUP $(pidof ozmo)                             # read the folder again`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s takes no arguments, got %q: flags begin with --", cmd.CommandPath(), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Logger = a.log
			opts.Console = cmd.OutOrStdout()
			return serve(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Config, "config", "", "folder of documents; empty: what the data directory holds")
	f.StringVar(&opts.DataDir, "data", defaultDataDir(), "data directory: log, snapshots, keys, journal, socket")
	f.StringVar(&opts.Name, "node", "", "name of this node (default: the one the data directory has, or the host's)")
	f.StringVar(&opts.Listen, "listen", "127.0.0.1:8080", "address for /livez, /readyz and /metrics; empty: none")
	f.StringVar(&opts.Checkpoints, "checkpoints", "", "state folder of OpenZeppelin Monitor whose checkpoints new networks start from")
	f.Int64Var(&opts.CacheBytes, "cache-bytes", 256<<20, "size of the block cache in memory")
	f.Float64Var(&opts.RaftMultiplier, "raft-multiplier", 1, "scales Raft's timeouts, for slow machines")
	return cmd
}

// defaultDataDir is where a node keeps its data unless it is told.
func defaultDataDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "ozmo")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "ozmo-data"
	}
	return filepath.Join(home, ".local", "state", "ozmo")
}

func serve(ctx context.Context, opts node.Options) error {
	// A file that must not grow any further is an error of that write, which
	// stops the node with a message, and not a signal that kills it.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	n, err := node.New(opts)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		if ctx.Err() != nil {
			opts.Logger.Info("stopping before the start was complete")
			return n.Stop() // it was told to: that is no failure
		}
		return errors.Join(err, n.Stop())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if _, err := n.Reload(ctx); err != nil {
					opts.Logger.Error("the folder was not taken over", "error", err)
				}
			}
		}
	}()
	failed := n.Wait(ctx)
	stop()
	<-done
	opts.Logger.Info("stopping")
	if failed != nil {
		failed = fmt.Errorf("the node stopped: %w", failed)
	}
	return errors.Join(failed, n.Stop())
}
