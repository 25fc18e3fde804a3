package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

// demoOptions is what the command line of a demo says.
type demoOptions struct {
	duration   time.Duration // 0: until it is interrupted
	blockTime  time.Duration
	rate       float64 // token transfers per second
	reorgEvery int     // blocks; 0: never
	keep       string  // folder
	nodes      int     // more than one: a cluster of processes
	redis      bool    // with a Redis as the shared block cache
	killWatch  bool    // kill the node that watches the chain, after a while

	alerts int // ends as if duration were over once that many were received; 0: does not
}

const (
	demoTenant  = "default"
	demoNetwork = "devnet"

	minBlockTime = 100 * time.Millisecond // what a network document allows
	maxBlockTime = time.Minute
	maxDemoRate  = 1000
	reorgDepth   = 2

	hintsAfter = 3 // alerts
	// How long the blocks that were available at the end may take: for a demo
	// that proves itself, and for one that somebody wants to be over.
	settlePatience      = 30 * time.Second
	interruptedPatience = 3 * time.Second
)

func newDemo(a *app) *cobra.Command { return demoCommand(a, &demoOptions{}) }

func demoCommand(a *app, opts *demoOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a simulated chain, watched, with alerts on this terminal",
		Long: `Start a simulated Ethereum chain with token traffic, one ozmo node that watches
it and a receiver of webhooks, all on this machine and on free ports. Alerts are
shown when the receiver has them and has checked their signatures.

The time of an alert ("block-to-alert") runs from the moment the chain offered
the block that made it due until the receiver had the alert. With
confirmation_blocks 1, an alert of block N is due when block N+1 is there.

Everything is in a temporary folder that is removed at the end, or in the one
given with --keep: the configuration in OpenZeppelin Monitor's format, the
node's data, the logs. SIGHUP has the node read the configuration again.

With --nodes 3, it is a cluster of processes that judge for several tenants;
--kill-watcher kills the one that watches the chain (SIGKILL), shows how long it
was until another had taken over, and starts it again.

With --for, the demo proves itself. It exits with 0 only if alerts were received,
all signatures were right, blocks were judged, and the coverage up to the newest
block has no gap and nothing skipped; with several nodes, judging all of it again
must also find no alert that was lost.`,
		Example: `  ozmo demo
  ozmo demo --for 20s
  ozmo demo --nodes 3 --redis --kill-watcher --for 60s
  ozmo demo --keep ./demo --block-time 500ms --rate 10 --reorg-every 5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(); err != nil {
				return err
			}
			d := demo{
				opts: *opts, screen: newScreen(cmd.OutOrStdout(), os.LookupEnv), finder: newDevchainFinder(cmd.ErrOrStderr()),
				stderr: slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}),
			}
			if cmd.Flags().Changed("log-level") {
				d.stderr = a.log.Handler() // it was asked for
			}
			if opts.nodes > 1 {
				return d.runCluster(cmd.Context())
			}
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&opts.duration, "for", 0, "end after this `TIME`; 0: when interrupted")
	f.DurationVar(&opts.blockTime, "block-time", time.Second, "`TIME` between the chain's blocks")
	f.Float64Var(&opts.rate, "rate", 2, "token transfers per second (`NUMBER`)")
	f.IntVar(&opts.reorgEvery, "reorg-every", 0, fmt.Sprintf("replace up to %d blocks every `N` blocks; 0: never", reorgDepth))
	f.IntVar(&opts.nodes, "nodes", 1, "`NUMBER` of nodes, each a process of its own when there are several")
	f.BoolVar(&opts.redis, "redis", false, "with a Redis as the shared block cache (needs redis-server)")
	f.BoolVar(&opts.killWatch, "kill-watcher", false, "kill the node that watches the chain after a third of the time")
	f.StringVar(&opts.keep, "keep", "", "keep everything in this new or empty folder `DIR`")
	return cmd
}

func (o *demoOptions) check() error {
	switch {
	case o.duration < 0:
		return usagef("--for %v must not be negative", o.duration)
	case o.blockTime < minBlockTime || o.blockTime > maxBlockTime:
		return usagef("--block-time %v must lie between %v and %v", o.blockTime, minBlockTime, maxBlockTime)
	case !(o.rate > 0 && o.rate <= maxDemoRate): // also what is not a number
		return usagef("--rate %v must be more than 0 and at most %d", o.rate, maxDemoRate)
	case o.nodes < 1 || o.nodes > maxDemoNodes:
		return usagef("--nodes %d must be 1 to %d", o.nodes, maxDemoNodes)
	case o.killWatch && o.nodes < 3:
		return usagef("--kill-watcher needs --nodes 3 or more: fewer cannot do without one")
	case o.redis && o.nodes == 1:
		return usagef("--redis is for several nodes: one keeps its blocks in memory")
	case o.reorgEvery < 0:
		return usagef("--reorg-every %d must not be negative", o.reorgEvery)
	}
	return nil
}

// chainArgs are devchain's arguments.
func (o *demoOptions) chainArgs() []string {
	return []string{
		"--listen", "127.0.0.1:0",
		"--block-time", o.blockTime.String(),
		"--rate", strconv.FormatFloat(o.rate, 'f', -1, 64),
		"--reorg-every", strconv.Itoa(o.reorgEvery),
		"--reorg-depth", strconv.Itoa(reorgDepth),
	}
}

// demo is a demo while it runs.
type demo struct {
	opts   demoOptions
	screen *screen
	finder devchainFinder
	stderr slog.Handler // for the node's errors

	folder    demoFolder
	chain     *chainProcess
	heads     *headLog
	headsDone <-chan error // what ended the subscription to the heads
	receiver  *receiver
	node      *node.Node
	nodeDone  <-chan error
	places    demoPlaces
	latencies []time.Duration
	shown     int
	undo      []func() error // what has to be ended, last first
}

// run is the demo from its start to its last line.
func (d *demo) run(ctx context.Context) (err error) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	defer func() { err = errors.Join(err, d.end()) }()

	result := &demoResult{}
	err = d.start(ctx)
	if err == nil {
		err = d.watch(ctx, hup)
	}
	interrupted := ctx.Err() != nil
	if interrupted && (err == nil || errors.Is(err, context.Canceled)) {
		err = nil
		if d.node == nil {
			return nil // there is nothing to tell yet
		}
	}
	if err != nil {
		return err
	}
	if !interrupted {
		result.blocks, result.behind = d.settle(ctx, settlePatience)
		interrupted = ctx.Err() != nil
	}
	if interrupted {
		result.blocks, _ = d.settle(context.WithoutCancel(ctx), interruptedPatience)
	}
	if err := d.end(); err != nil {
		return err
	}
	d.showWaiting(context.Background())
	result.count, result.refusals = d.receiver.counts()
	result.latencies = d.latencies
	d.screen.after(&d.places)
	d.screen.show(result.String() + "\n")
	if interrupted {
		return errors.Join(d.screen.err, result.lies().err())
	}
	return errors.Join(d.screen.err, result.problems().err())
}

// start starts everything, the chain first.
func (d *demo) start(ctx context.Context) error {
	if err := d.startAround(ctx); err != nil {
		return err
	}
	err := writeDocuments(d.folder.config(), demoValues{
		RPC: d.chain.RPC, WS: d.chain.WS, ChainID: d.chain.ChainID, Token: d.chain.Token,
		BlockTimeMS: d.opts.blockTime.Milliseconds(), Receiver: d.receiver.url + demoTenant, Secret: d.receiver.secret,
	})
	if err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	if err := d.startNode(ctx); err != nil {
		return err
	}
	d.places = demoPlaces{
		chain: d.chain.chainAddress, blockTime: d.opts.blockTime, rate: d.opts.rate, node: d.node.Listen(),
		receiver: d.receiver.url + demoTenant, folder: d.folder, program: programName(exec.LookPath), pid: os.Getpid(),
	}
	d.screen.banner(&d.places)
	return nil
}

// startAround starts what the nodes work on: the chain and the receiver.
func (d *demo) startAround(ctx context.Context) error {
	program, err := d.finder.find(ctx)
	if err != nil {
		return err
	}
	if d.folder, err = newDemoFolder(d.opts.keep); err != nil {
		return err
	}
	d.onEnd(d.folder.remove)
	d.chain, err = startChain(ctx, program, d.opts.chainArgs(), d.folder.path("devchain.json"), d.folder.path("devchain.log"))
	if err != nil {
		return err
	}
	d.onEnd(d.chain.stop)
	d.heads = newHeadLog()
	subscription, unsubscribe := context.WithCancel(context.WithoutCancel(ctx))
	d.onEnd(func() error { unsubscribe(); return nil })
	if d.headsDone, err = subscribeHeads(subscription, d.chain.WS, d.heads); err != nil {
		return err
	}
	secret := rand.Text()
	if d.receiver, err = startReceiver(secret); err != nil {
		return err
	}
	d.onEnd(d.receiver.stop)
	return nil
}

func (d *demo) startNode(ctx context.Context) error {
	log, err := os.Create(d.folder.path("ozmo.log"))
	if err != nil {
		return err
	}
	d.onEnd(log.Close)
	n, err := node.New(node.Options{
		DataDir: d.folder.data(), Name: "demo", Bootstrap: true, ClusterListen: "127.0.0.1:0", Config: d.folder.config(), Listen: "127.0.0.1:0", Console: io.Discard,
		EgressAllow: demoEgress,
		Logger:      slog.New(slog.NewMultiHandler(slog.NewTextHandler(log, nil), d.stderr)),
	})
	if err != nil {
		return err
	}
	d.onEnd(n.Stop)
	if err := n.Start(ctx); err != nil {
		return err
	}
	d.node = n
	waiting, stopWaiting := context.WithCancel(context.WithoutCancel(ctx))
	d.onEnd(func() error { stopWaiting(); return nil })
	done := make(chan error, 1)
	go func() { done <- n.Wait(waiting) }()
	d.nodeDone = done
	return nil
}

func (d *demo) onEnd(f func() error) { d.undo = append(d.undo, f) }

// end ends what runs, the chain last. Calling it again does nothing.
func (d *demo) end() error {
	var errs []error
	for len(d.undo) > 0 {
		last := len(d.undo) - 1
		f := d.undo[last]
		d.undo = d.undo[:last]
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// watch shows alerts until the demo's time is over, which is no error.
func (d *demo) watch(ctx context.Context, hup <-chan os.Signal) error {
	var over <-chan time.Time
	if d.opts.duration > 0 {
		timer := time.NewTimer(d.opts.duration)
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case <-d.chain.exited:
			return d.chain.exitError()
		case err := <-d.headsDone:
			return err
		case err := <-d.nodeDone:
			return fmt.Errorf("the node stopped: %w", err)
		case <-hup:
			d.reload(ctx)
		case <-d.receiver.wake:
			d.showWaiting(ctx)
			if d.opts.alerts > 0 && d.shown >= d.opts.alerts {
				return nil
			}
		}
		if d.screen.err != nil {
			return d.screen.err
		}
	}
}

func (d *demo) reload(ctx context.Context) {
	report, err := d.node.Reload(ctx)
	switch {
	case err != nil:
		d.screen.show("The configuration was not taken over: " + err.Error() + "\n\n")
	case len(report.Refused) > 0:
		d.screen.show("The configuration was not taken over; what is wrong with it:\n")
		for _, p := range report.Problems {
			d.screen.show("  " + clean(p) + "\n")
		}
		d.screen.show("\n")
	case len(report.Changed)+len(report.Removed) == 0:
		d.screen.show("The configuration was read again: nothing has changed.\n\n")
	default:
		d.screen.show("The configuration was read again and is in force from the next block on.\n\n")
	}
}

// showWaiting shows what was received since the last call.
func (d *demo) showWaiting(ctx context.Context) {
	for _, r := range d.receiver.take() {
		took, known := d.latency(ctx, r)
		if known {
			d.latencies = append(d.latencies, took)
			d.screen.alert(r, &took)
		} else {
			d.screen.alert(r, nil)
		}
		if d.shown++; d.shown == hintsAfter {
			d.screen.while(&d.places)
		}
	}
}

// latency is the block-to-alert time. An alert can overtake the chain's word to
// the demo; it is then taken to need no time at all.
func (d *demo) latency(ctx context.Context, r receipt) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	due, known := d.heads.await(ctx, r.Height, r.BlockHash)
	return max(0, r.At.Sub(due)), known
}

// settle waits until the blocks that were available at the end are judged, so
// that "nothing skipped" says something about them too. The error says what is
// still missing when patience or ctx ends.
func (d *demo) settle(ctx context.Context, patience time.Duration) (judgedBlocks, error) {
	tip, begun := d.heads.tip()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		coverage, err := d.node.Coverage(demoTenant, demoNetwork, 0, 0)
		blocks := countBlocks(coverage.Rows)
		if err == nil && (!begun || blocks.height >= tip.number) {
			return blocks, nil
		}
		if err == nil {
			err = fmt.Errorf("the chain has offered block %d, but the node has only got to %d", tip.number, blocks.height)
		}
		select {
		case <-ctx.Done():
			return blocks, err
		case <-deadline.C:
			return blocks, err
		case <-ticker.C:
		}
	}
}
