package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

// change is what can be done with many deliveries at once.
type change struct {
	path      string // of the API
	otherwise string // the states without --state
	question  string // of count and tenants
	would     string
	did       string
}

// changeStates are the words of --state for what is still kept.
var changeStates = []string{"pending", "dead", "all"}

func newDeliveryRedeliver() *cobra.Command {
	return changing(&cobra.Command{
		Use:   "redeliver KEY... | --tenant TENANT | --all",
		Short: "Have deliveries made at once",
		Long: `Have deliveries made at once: dead letters go back to the outbox as if they were
never attempted, pending ones do not wait for their time any more. They keep
their keys, so that a receiver which got one after all can tell.

Name deliveries by their keys, or the first digits of these; or choose those of a
tenant, or with --all of all tenants: dead letters, unless --state says
otherwise. More than one is asked for first. What the outbox has no room for
stays a dead letter: repeat the command later.`,
		Example: `  ozmo delivery redeliver 9f86d081
  ozmo delivery redeliver --tenant acme --trigger slack-ops --since 6h
  ozmo delivery redeliver --tenant acme --dry-run
  ozmo delivery redeliver --all --state all --yes`,
	}, change{
		path: "redeliver", otherwise: "dead", question: "%s of %s will be made again at once.",
		would: "would be made again at once", did: "due at once",
	})
}

func newDeliveryPurge() *cobra.Command {
	return changing(&cobra.Command{
		Use:   "purge KEY... | --tenant TENANT | --all",
		Short: "Forget deliveries for good",
		Long: `Forget deliveries for good: they are neither made nor kept. One that waits for a
purged one is made next.

Name deliveries by their keys, or the first digits of these; or choose those of a
tenant, or with --all of all tenants: dead letters, unless --state says
otherwise. More than one is asked for first.`,
		Example: `  ozmo delivery purge 9f86d081
  ozmo delivery purge --tenant acme --until 3d
  ozmo delivery purge --tenant acme --trigger old-hook --state all --dry-run`,
	}, change{
		path: "purge", otherwise: "dead", question: "%s of %s will be forgotten for good.",
		would: "would be forgotten", did: "forgotten",
	})
}

// changing is a command that changes what becomes of deliveries.
func changing(cmd *cobra.Command, ch change) *cobra.Command {
	var node reach
	var flags deliveryFlags
	var confirm confirmation
	var all, dry bool
	node.register(cmd)
	flags.register(cmd, &node, changeStates, ch.otherwise)
	cmd.Flags().BoolVar(&all, "all", false, "of all tenants")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count them")
	confirm.register(cmd)
	cmd.Flags().Lookup("yes").Usage = "go on without being asked; required for more than one where there is no terminal"
	output := addOutput(cmd, "text", "json")
	cmd.Args = cobra.ArbitraryArgs
	completeArgs(cmd, &node, deliveryKeys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order, err := readOrder(cmd, args, &flags, all, time.Now())
		if err != nil {
			return usageError{err}
		}
		many := order.Choice != nil || len(order.Keys) > 1
		if many && !dry {
			if err := confirm.check(cmd, cmd.InOrStdin()); err != nil {
				return err
			}
		}
		put := func(o api.DeliveryOrder) (api.DeliveriesChanged, error) {
			return ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.DeliveriesChanged, error) {
				return c.ChangeDeliveries(ctx, ch.path, o)
			})
		}
		var done api.DeliveriesChanged
		if many || dry {
			order.DryRun = true
			if done, err = put(order); err != nil {
				return err
			}
		}
		if !dry {
			if meant := done.Found - done.Retracted; meant > 1 {
				text := count(meant, "delivery") + foundText(&done)
				if err := confirm.ask(cmd, strings.TrimSpace(fmt.Sprintf(ch.question, text, count(done.Tenants, "tenant"))+" "+retractedText(&done))); err != nil {
					return err
				}
			}
			order.DryRun = false
			if !many || done.Found > 0 {
				if done, err = put(order); err != nil {
					return err
				}
			}
			done.DryRun = false
		}
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), done)
		} else {
			writeChanged(cmd, &done, &ch)
		}
		if err == nil && done.Left > 0 {
			return errFindings
		}
		return err
	}
	return cmd
}

// readOrder reads which deliveries are meant; the error tells all that is wrong.
func readOrder(cmd *cobra.Command, args []string, flags *deliveryFlags, all bool, now time.Time) (api.DeliveryOrder, error) {
	var wrong mistakes
	var o api.DeliveryOrder
	for _, arg := range args {
		key, err := readKey(arg)
		if err != nil {
			wrong.add(err)
		}
		if !slices.Contains(o.Keys, key) {
			o.Keys = append(o.Keys, key)
		}
	}
	choice := flags.choice(now, changeStates, &wrong)
	chosen := all || flags.narrow() || cmd.Flags().Changed("state")
	switch {
	case len(args) > 0 && chosen:
		wrong.addf("keys name deliveries, flags choose them: give one of them")
	case all && flags.tenant != "":
		wrong.addf("--all and --tenant %s: give one of them", flags.tenant)
	case len(args) == 0 && !all && flags.tenant == "":
		wrong.addf("%s needs keys of deliveries, or --tenant TENANT, or --all", cmd.CommandPath())
	case len(args) == 0:
		if choice.Until.IsZero() {
			choice.Until = now // what comes while the question is asked is not meant
		}
		o.Choice = &choice
	}
	return o, wrong.err()
}

// foundText says what was found, where there is more than one kind.
func foundText(d *api.DeliveriesChanged) string {
	if d.Pending == 0 || d.Dead == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d pending, %d dead)", d.Pending, d.Dead)
}

// retractedText says what is not made again; empty where all is.
func retractedText(d *api.DeliveriesChanged) string {
	if d.Retracted == 0 {
		return ""
	}
	return count(d.Retracted, "delivery") + " retracted since: not made again."
}

func writeChanged(cmd *cobra.Command, d *api.DeliveriesChanged, ch *change) {
	w := cmd.OutOrStdout()
	meant := d.Found - d.Retracted
	found := count(meant, "delivery") + foundText(d)
	switch {
	case d.Found == 0:
		fmt.Fprintln(w, "no deliveries")
	case meant == 0:
	case d.DryRun:
		fmt.Fprintf(w, "%s of %s %s; nothing was changed\n", found, count(d.Tenants, "tenant"), ch.would)
	default:
		fmt.Fprintf(w, "%s of %s: %d %s\n", found, count(d.Tenants, "tenant"), d.Done, ch.did)
	}
	if d.Retracted > 0 {
		fmt.Fprintln(w, strings.TrimSuffix(retractedText(d), "."))
	}
	if d.Held > 0 {
		fmt.Fprintf(w, "%d of them wait until about %s at most, since their destination keeps failing: if it works again, `ozmo trigger test` finds out at once; then redeliver\n",
			d.Held, d.HeldUntil.UTC().Format(time.RFC3339))
	}
	if left := d.Left - d.Retracted; left > 0 && !d.DryRun {
		reasons := []string{"they were settled meanwhile"}
		if ch.path == "redeliver" {
			reasons = append(reasons, "the outbox has no room for them", "their content was too large to be kept")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%d are as they were: %s\n", left, strings.Join(reasons, ", or "))
	}
}
