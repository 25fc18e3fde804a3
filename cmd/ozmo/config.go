package main

import "github.com/spf13/cobra"

func newConfig(a *app) *cobra.Command {
	return group("config", "Work with configuration folders", "  ozmo config check ./config", newConfigCheck(a))
}
