package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newBacktest(*app) *cobra.Command {
	cmd := group("backtest", "Judge blocks of the past with a monitor, without sending anything",
		"  ozmo backtest create --tenant acme --monitor usdc --last 7200 --watch\n  ozmo backtest list --tenant acme\n  ozmo backtest show --tenant acme 4ksj2pq7xw3a",
		newBacktestCreate(), newBacktestList(), newBacktestShow(), newBacktestWatch(), newBacktestCancel(), newBacktestDelete())
	cmd.Long = `Have the cluster judge a range of blocks of the past with a tenant's monitor, or with
one that is not stored yet: what would it have matched, what came near and why it did
not match, how many notifications would that have been, and what did it take? Nothing
is sent. The blocks are fetched beside what the network's watcher fetches, which
always comes first.`
	return cmd
}

// ofTenant is what all commands about backtests have.
type ofTenant struct {
	node   apiReach
	tenant string // known once the command runs
}

func (o *ofTenant) register(cmd *cobra.Command) {
	o.node.register(cmd)
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := before(cmd, args); err != nil {
			return err
		}
		o.tenant, err = o.node.tenant(cmd)
		return err
	}
}

// backtestIDs are those of a tenant's backtests.
func backtestIDs(ctx context.Context, c *client.Client, tenant string) (out []string, err error) {
	list, err := c.Backtests(ctx, tenant)
	for _, b := range list {
		out = append(out, b.ID)
	}
	return out, err
}

func newBacktestCreate() *cobra.Command {
	var of ofTenant
	var request v1.BacktestRequest
	var file string
	var from, to uint64
	var watch bool
	cmd := &cobra.Command{
		Use:   "create {--monitor ID | -f FILE}",
		Short: "Begin a backtest",
		Long: `Begin a backtest of a stored monitor, or of one in a file, which is checked as if it
were to be stored. The range ends at the last block that the monitor judges by now,
and has at most 100 000 blocks, unless the tenant's quota says otherwise. A tenant may
have two at a time; the last 20 are kept.

With --watch it is watched until it is over; see ozmo backtest watch.`,
		Example: `  # what would yesterday have given?
  ozmo backtest create --tenant acme --monitor usdc --last 7200 --watch

  # a draft
  ozmo backtest create --tenant acme -f usdc.json --network ethereum_mainnet \
      --from 19000000 --to 19010000`,
		Args: cobra.NoArgs,
	}
	of.register(cmd)
	f := cmd.Flags()
	f.StringVar(&request.Monitor, "monitor", "", "`ID` of a stored monitor")
	f.StringVarP(&file, "file", "f", "", "`FILE` with a monitor's document; -: standard input")
	f.StringVar(&request.Network, "network", "", "network, as the monitor calls it (default: the only one it has)")
	f.Uint64Var(&from, "from", 0, "first block height")
	f.Uint64Var(&to, "to", 0, "last block height (default: the last one that the monitor judges by now)")
	f.Uint64Var(&request.Last, "last", 0, "the last so many blocks, instead of --from and --to")
	f.BoolVar(&watch, "watch", false, "watch it until it is over")
	completeAPIFlag(cmd, "monitor", &of.node, idsOf(monitorKind))
	completeAPIFlag(cmd, "network", &of.node, idsOf(networkKind))
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given := cmd.Flags().Changed
		var wrong mistakes
		if (request.Monitor == "") == (file == "") {
			wrong.addf("give either the monitor, with --monitor ID, or its document, with -f FILE")
		}
		if given("last") == given("from") || given("last") && given("to") {
			wrong.addf("say which blocks: --from A, perhaps with --to B, or --last N")
		}
		if given("from") && given("to") && from > to {
			wrong.addf("--from %d lies above --to %d", from, to)
		}
		if err := wrong.err(); err != nil {
			return usageError{err}
		}
		if given("from") {
			request.From = &from
		}
		if given("to") {
			request.To = &to
		}
		if file != "" {
			var err error
			if request.Document, err = readDraft(cmd.InOrStdin(), file); err != nil {
				return err
			}
		}
		b, err := askAPI(cmd.Context(), &of.node, func(ctx context.Context, c *client.Client) (v1.BacktestDetail, error) {
			return c.CreateBacktest(ctx, of.tenant, request)
		})
		if err != nil {
			return missing(err, "%s", tenantText(of.tenant))
		}
		if watch {
			return watchBacktest(cmd, &of, b.ID, output.value)
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), b)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "backtest %s of %s on %s, blocks %s, has begun; see `ozmo backtest watch --tenant %s %s`\n",
			b.ID, clean(b.Name), clean(b.Network), heightsText(b.From, b.To), of.tenant, b.ID)
		return err
	}
	return cmd
}

// readDraft reads a document, which the node looks into.
func readDraft(stdin io.Reader, file string) (json.RawMessage, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	var anything any
	if err := json.Unmarshal(data, &anything); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w", file, err)
	}
	return data, nil
}

func newBacktestList() *cobra.Command {
	var of ofTenant
	cmd := &cobra.Command{
		Use: "list", Short: "Show which backtests there are", Long: "Show which backtests a tenant has, the newest first.",
		Example: "  ozmo backtest list --tenant acme", Args: cobra.NoArgs,
	}
	of.register(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := askAPI(cmd.Context(), &of.node, func(ctx context.Context, c *client.Client) ([]v1.Backtest, error) { return c.Backtests(ctx, of.tenant) })
		if err != nil {
			return missing(err, "%s", tenantText(of.tenant))
		}
		fill(&list)
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		return listBacktests(cmd.OutOrStdout(), of.tenant, list)
	}
	return cmd
}

func newBacktestShow() *cobra.Command {
	var of ofTenant
	cmd := &cobra.Command{
		Use: "show ID", Aliases: []string{"get"}, Short: "Show what a backtest has found so far",
		Long:    "Show what a backtest has found so far: matches, near misses with what is in their\nway, the notifications that would have been sent, and what it took.",
		Example: "  ozmo backtest show --tenant acme 4ksj2pq7xw3a\n  ozmo backtest show --tenant acme 4ksj2pq7xw3a --output json", Args: exactArgs("ID"),
	}
	of.register(cmd)
	output := addOutput(cmd, "text", "json")
	completeAPI(cmd, &of.node, backtestIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := of.backtest(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return showBacktest(cmd.OutOrStdout(), &b, output.value)
	}
	return cmd
}

func (o *ofTenant) backtest(ctx context.Context, id string) (v1.BacktestDetail, error) {
	b, err := askAPI(ctx, &o.node, func(ctx context.Context, c *client.Client) (v1.BacktestDetail, error) {
		return c.Backtest(ctx, o.tenant, id)
	})
	return b, missing(err, "backtest %q of %s", id, tenantText(o.tenant))
}

func newBacktestWatch() *cobra.Command {
	var of ofTenant
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Watch a backtest until it is over, and show what it has found",
		Long:    "Watch a backtest until it is over, and show what it has found. Exit status 1: it has\nfailed, or was cancelled. It goes on without being watched.",
		Example: "  ozmo backtest watch --tenant acme 4ksj2pq7xw3a", Args: exactArgs("ID"),
	}
	of.register(cmd)
	output := addOutput(cmd, "text", "json")
	completeAPI(cmd, &of.node, backtestIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return watchBacktest(cmd, &of, args[0], output.value) }
	return cmd
}

// watchEvery is how often a backtest is looked at.
const watchEvery = time.Second

func watchBacktest(cmd *cobra.Command, of *ofTenant, id, format string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bar := newProgress(cmd.ErrOrStderr(), "judging the past")
	defer bar.finish()
	for {
		b, err := of.backtest(ctx, id)
		if err != nil && ctx.Err() != nil && cmd.Context().Err() == nil {
			return fmt.Errorf("interrupted; the backtest goes on: see `ozmo backtest watch --tenant %s %s`, or cancel it", of.tenant, id)
		}
		if err != nil {
			return err
		}
		bar.set(b.Progress.Done, b.Progress.Total)
		if !b.Ended.IsZero() {
			bar.finish()
			if err := showBacktest(cmd.OutOrStdout(), &b, format); err != nil {
				return err
			}
			if b.State != "done" {
				return errFindings
			}
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}

func newBacktestCancel() *cobra.Command {
	return newBacktestEnd("cancel", "Cancel a backtest", "Cancel a backtest that is not over. What it has found so far is kept.", "cancelled", true)
}

func newBacktestDelete() *cobra.Command {
	return newBacktestEnd("delete", "Forget a backtest that is over", "Forget a backtest that is over, with what it has found. One that is not is cancelled.", "deleted", false)
}

func newBacktestEnd(use, short, long, done string, cancel bool) *cobra.Command {
	var of ofTenant
	var confirm deletion
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Long: long, Example: "  ozmo backtest " + use + " --tenant acme 4ksj2pq7xw3a", Args: exactArgs("ID"),
	}
	of.register(cmd)
	if !cancel {
		confirm.register(cmd, false)
	}
	completeAPI(cmd, &of.node, backtestIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		was, err := of.backtest(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if !cancel {
			if err := confirm.agree(cmd, fmt.Sprintf("The backtest %q of %s will be deleted, with what it has found.", args[0], tenantText(of.tenant))); err != nil {
				return err
			}
		}
		err = tellAPI(cmd.Context(), &of.node, func(ctx context.Context, c *client.Client) error {
			return c.DeleteBacktest(ctx, of.tenant, args[0], cancel)
		})
		if err != nil {
			return err
		}
		what := done
		if was.Ended.IsZero() {
			what = "cancelled"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "backtest %s of tenant %s is %s\n", args[0], of.tenant, what)
		return err
	}
	return cmd
}
