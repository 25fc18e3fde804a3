package main

import "github.com/spf13/cobra"

func newTrigger(a *app) *cobra.Command {
	return group("trigger", "Work with triggers",
		"  ozmo trigger test --tenant acme ops", newTriggerTest(a))
}
