package main

import "github.com/spf13/cobra"

func newMonitor(a *app) *cobra.Command {
	return group("monitor", "Work with monitors",
		"  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000", newMonitorTest(a))
}
