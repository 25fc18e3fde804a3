package main

import "github.com/spf13/cobra"

func newTrigger(a *app) *cobra.Command {
	return group("trigger", "Work with triggers",
		"  ozmo trigger apply slack --tenant acme -f slack.json\n  ozmo trigger test --tenant acme ops",
		append(triggerKind.commands(), newTriggerTest(a))...)
}
