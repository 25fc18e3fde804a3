package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
)

func newDelivery(*app) *cobra.Command {
	cmd := group("delivery", "See deliveries, make them again, forget them",
		"  ozmo delivery list\n  ozmo delivery show 9f86d081\n  ozmo delivery redeliver --tenant acme --trigger slack-ops",
		newDeliveryList(), newDeliveryShow(), newDeliveryRedeliver(), newDeliveryPurge())
	cmd.Long = `A delivery is one state of one alert on its way to one trigger. What a receiver
does not accept at once waits in the outbox and is attempted again, for about 76
hours or as the trigger's retry_schedule says; then it is a dead letter. States
of a delivery:

  pending  still to be made
  dead     given up: refused for good, or attempted for too long, or there was no
           room for it. The newest 1 000 of a tenant are kept, of 4 MiB at most
  sent     accepted. Only the nodes' journals tell, each of what that node sent in
           the last 7 days, at most 500 000 attempts; they go with its disk

The first attempt with its quick repetitions, as the trigger's retry_policy says, is
a round, and so is each later attempt from the outbox. Lists count rounds, and "show"
has every attempt.

A delivery keeps its key whenever it is made again: receivers see the same
webhook-id, and can tell.`
	return cmd
}

// deliveryFlags choose deliveries.
type deliveryFlags struct {
	tenant, trigger, monitor, network string
	state                             string
	since, until                      string
}

// deliveryStates are the words of --state.
var deliveryStates = []string{"pending", "dead", "sent", "all"}

func (f *deliveryFlags) register(cmd *cobra.Command, node *reach, states []string, otherwise string) {
	flags := cmd.Flags()
	flags.StringVar(&f.tenant, "tenant", "", "only of this `TENANT`")
	flags.StringVar(&f.state, "state", otherwise, "only in these states, separated by commas: "+strings.Join(states, ", "))
	flags.StringVar(&f.trigger, "trigger", "", "only to this `TRIGGER`, by its id in the configuration")
	flags.StringVar(&f.monitor, "monitor", "", "only of this `MONITOR`, by id or name")
	flags.StringVar(&f.network, "network", "", "only of this `NETWORK`")
	flags.StringVar(&f.since, "since", "", "only what was handed over, given up or accepted since `TIME`: 2h or 3d ago, or like 2026-03-01T12:00:00Z")
	flags.StringVar(&f.until, "until", "", "only up to `TIME`")
	completeFlag(cmd, node, "tenant", tenantIDs)
	completeFlag(cmd, node, "network", networkKeys)
	if err := cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

// choice reads the flags and adds to wrong what is.
func (f *deliveryFlags) choice(now time.Time, states []string, wrong *mistakes) api.DeliveryChoice {
	c := api.DeliveryChoice{Tenant: f.tenant, Trigger: f.trigger, Monitor: f.monitor, Network: f.network}
	for word := range strings.SplitSeq(f.state, ",") {
		switch word = strings.TrimSpace(word); {
		case !contains(states, word):
			wrong.addf("--state %q: want %s", word, strings.Join(states, ", "))
		case word == "all":
			for _, s := range states {
				if s != "all" {
					c.Statuses = append(c.Statuses, api.DeliveryStatus(s))
				}
			}
		default:
			c.Statuses = append(c.Statuses, api.DeliveryStatus(word))
		}
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"since", f.since, &c.Since}, {"until", f.until, &c.Until}} {
		at, err := readTime(t.text, now)
		if err != nil {
			wrong.addf("--%s %q: %s", t.name, t.text, err)
		}
		*t.to = at
	}
	if !c.Since.IsZero() && !c.Until.IsZero() && c.Since.After(c.Until) {
		wrong.addf("--since %s lies after --until %s", f.since, f.until)
	}
	return c
}

// narrow reports whether the flags name anything but states.
func (f *deliveryFlags) narrow() bool {
	return f.tenant+f.trigger+f.monitor+f.network+f.since+f.until != ""
}

func newDeliveryShow() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "show KEY",
		Short: "Tell all that is known of a delivery",
		Long: `Tell all that is known of a delivery: its alert, where it goes to, and every
attempt with the answer, as far back as the journals of the nodes go. The first
digits of the key are enough where no other one begins like it. Nothing secret is
shown: of addresses, only scheme and host.`,
		Example: `  ozmo delivery show 9f86d081884c7d659a2feaa0c55ad015
  ozmo delivery show 9f86
  ozmo delivery show 9f86 --output json | jq '.history[] | {began, node, status, error}'`,
		Args: exactArgs("KEY"),
	}
	node.register(cmd)
	completeArgs(cmd, &node, deliveryKeys)
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := readKey(args[0])
		if err != nil {
			return usageError{err}
		}
		d, err := ask(cmd.Context(), &node, showDelivery(key))
		if err != nil {
			return err
		}
		fill(&d.History)
		fill(&d.Silent)
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), d)
		}
		writeDelivery(cmd.OutOrStdout(), &d, time.Now())
		return nil
	}
	return cmd
}
