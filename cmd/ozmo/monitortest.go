package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// testOptions are the flags of monitor test.
type testOptions struct {
	monitors, triggers []string
	network            string

	block, from, to                  uint64
	blockFile, receiptsFile, logFile string
	parallel                         int

	explain, send bool
}

func newMonitorTest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Try monitors on blocks without delivering anything",
		Long: `Judges blocks with monitors and shows what matches. Nothing is stored, and
nothing is sent unless --send is given.

The blocks are fetched from the network's endpoints, or read from files that hold
what a node answered: the whole JSON-RPC response, or its result alone.

A monitor that is given by its file is judged even if it is paused or does not
list the network. Of a folder, the monitors that list the network are judged.

With --output json the matches are an array in the shape that OpenZeppelin
Monitor hands to scripts; with --explain or --send it is an object with the keys
matches, near_misses and deliveries. With ndjson each match is a line of its own,
near misses and deliveries are lines with the keys near_miss and delivery.`,
		Example: `  # one block
  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000

  # why does it not match?
  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000 --explain

  # a range, all monitors of a folder, for another program
  ozmo monitor test --monitor config/monitors --network config/networks/mainnet.json \
      --from 19000000 --to 19000100 --output ndjson

  # without a connection
  ozmo monitor test --monitor usdc.json --network mainnet.json \
      --block-file block.json --receipts-file receipts.json

  # deliver the matches for real
  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000 \
      --trigger config/triggers/webhooks.json --send`,
		Args: cobra.NoArgs,
	}
	o := &testOptions{}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.monitors, "monitor", nil, "monitor `FILE`, or a folder of them; may be repeated")
	f.StringVar(&o.network, "network", "", "network `FILE`")
	f.Uint64Var(&o.block, "block", 0, "height of the block to judge")
	f.Uint64Var(&o.from, "from", 0, "first height of a range")
	f.Uint64Var(&o.to, "to", 0, "last height of a range")
	f.StringVar(&o.blockFile, "block-file", "", "`FILE` with the answer of eth_getBlockByNumber (full transactions)")
	f.StringVar(&o.receiptsFile, "receipts-file", "", "`FILE` with the answer of eth_getBlockReceipts")
	f.StringVar(&o.logFile, "logs-file", "", "`FILE` with the answer of eth_getLogs for the block, instead of the receipts' logs")
	f.BoolVar(&o.explain, "explain", false, "show for each near miss which condition failed, and with which values")
	f.StringArrayVar(&o.triggers, "trigger", nil, "trigger `FILE` for --send; may be repeated")
	f.BoolVar(&o.send, "send", false, "deliver the matches for real")
	f.IntVar(&o.parallel, "parallel", 4, "blocks of a range fetched at a time")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "triggers" {
			name = "trigger"
		}
		return pflag.NormalizedName(name)
	})
	output := addOutput(cmd, "table", "json", "ndjson")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags().Changed) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.testMonitors(cmd.Context(), o, newPrinter(cmd.OutOrStdout(), cmd.ErrOrStderr(), output.value, o))
	}
	return cmd
}

// check reports all that is wrong with the flags.
func (o *testOptions) check(given func(flag string) bool) error {
	var wrong mistakes
	if len(o.monitors) == 0 {
		wrong.addf("give the monitor to test: --monitor FILE")
	}
	if o.network == "" {
		wrong.addf("give the network it is for: --network FILE")
	}
	sources := 0
	for _, is := range []bool{given("block"), given("from") || given("to"), o.fromFiles()} {
		if is {
			sources++
		}
	}
	switch {
	case sources == 0:
		wrong.addf("say which blocks to judge: --block N, or --from A --to B, or --block-file F --receipts-file F")
	case sources > 1:
		wrong.addf("--block, --from with --to, and --block-file exclude each other")
	case given("from") != given("to"):
		wrong.addf("--from and --to belong together")
	case o.from > o.to:
		wrong.addf("--from %d lies behind --to %d", o.from, o.to)
	case o.fromFiles() && o.blockFile == "":
		wrong.addf("--receipts-file and --logs-file need the block they belong to: --block-file F")
	case o.fromFiles() && o.receiptsFile == "" && o.logFile == "":
		wrong.addf("--block-file needs --receipts-file F, or at least --logs-file F: a block alone has no events")
	}
	if o.parallel < 1 || o.parallel > maxParallel {
		wrong.addf("--parallel %d: want 1 to %d", o.parallel, maxParallel)
	}
	if o.send && len(o.triggers) == 0 {
		wrong.addf("--send needs the triggers to send through: --trigger FILE")
	}
	if err := wrong.err(); err != nil {
		return usageError{err}
	}
	if given("block") {
		o.from, o.to = o.block, o.block
	}
	return nil
}

// maxParallel keeps a range from flooding an endpoint, and memory.
const maxParallel = 64

func (o *testOptions) fromFiles() bool {
	return o.blockFile != "" || o.receiptsFile != "" || o.logFile != ""
}
