package main

import "github.com/spf13/cobra"

func newMonitor(a *app) *cobra.Command {
	return group("monitor", "Work with monitors",
		"  ozmo monitor apply usdc --tenant acme -f usdc.json\n"+
			"  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000\n"+
			"  ozmo monitor replay --tenant acme --monitor usdc --network mainnet --from 19000000 --to 19000100",
		append(monitorKind.commands(), newMonitorTest(a), newMonitorReplay())...)
}
