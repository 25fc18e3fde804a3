package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func contains(words []string, word string) bool { return slices.Contains(words, word) }

// readKey reads a delivery's key, or the beginning of one.
func readKey(text string) (string, error) {
	key := strings.ToLower(strings.TrimSpace(text))
	if api.CheckDeliveryKey(key) != nil {
		return "", fmt.Errorf("%q: want the key of a delivery, 32 hexadecimal digits, or the first of them", text)
	}
	return key, nil
}

// readTime reads a point in time, or how long ago it was; empty: none.
func readTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, errors.New("want how long ago, like 90m, 2h or 3d, or a time like 2026-03-01T12:00:00Z")
	}
	return now.Add(-d), nil
}

// completeFlag lets shells complete the value of a flag.
func completeFlag(cmd *cobra.Command, r *reach, flag string, list names) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		if err := applySettings(cmd, os.LookupEnv); err != nil { // --data may come from there
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		words, err := list(ctx, r.client())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

// deliveryKeys lists what is pending and dead.
func deliveryKeys(ctx context.Context, c *client.Client) (out []string, err error) {
	list, err := c.ListDeliveries(ctx, api.DeliveryChoice{Limit: 100})
	for _, d := range list.Deliveries {
		out = append(out, d.Key)
	}
	return out, err
}

func showDelivery(key string) func(context.Context, *client.Client) (api.DeliveryDetail, error) {
	return func(ctx context.Context, c *client.Client) (api.DeliveryDetail, error) {
		return c.ShowDelivery(ctx, key)
	}
}

func newDeliveryList() *cobra.Command {
	var node reach
	var flags deliveryFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show deliveries, the newest first",
		Long: `Show deliveries, the newest first: those in the outbox and dead letters, unless
--state says otherwise.

  ALERT STATE  what it tells: fired, confirmed, retracted or reinstated
  STATUS       pending, dead or sent
  ATTEMPTS     made so far, since it was handed over or redelivered
  NEXT         when the next one is due; "after KEY": not before that one is
               settled; "held": due, but the destination keeps failing and is left
               alone for so long
  LAST ERROR   why the last one failed; of what was held from the first, why the
               last one at its trigger did

What was sent is known from the nodes' journals: the last 7 days, 500 000
attempts a node. Nodes that do not answer are named. A trigger, monitor or network
that nothing is known of is an error.`,
		Example: `  ozmo delivery list
  ozmo delivery list --tenant acme --state dead --since 2h
  ozmo delivery list --state sent --monitor "Large transfers" --limit 20
  ozmo delivery list --state all --limit 0 --output json | jq 'group_by(.trigger)[] | {trigger: .[0].trigger, count: length}'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	flags.register(cmd, &node, deliveryStates, "pending,dead")
	cmd.Flags().IntVar(&limit, "limit", 100, "show so `MANY`; 0: all")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong mistakes
		now := time.Now()
		choice := flags.choice(now, deliveryStates, &wrong)
		if limit < 0 {
			wrong.addf("--limit %d: want 0, for all, or more", limit)
		}
		choice.Limit = limit
		if err := wrong.err(); err != nil {
			return usageError{err}
		}
		list, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.DeliveryList, error) {
			return c.ListDeliveries(ctx, choice)
		})
		if err != nil {
			return err
		}
		fill(&list.Deliveries)
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), list.Deliveries)
		} else {
			writeDeliveries(cmd.OutOrStdout(), list.Deliveries, now)
		}
		if list.More {
			fmt.Fprintf(cmd.ErrOrStderr(), "there are more than %d: --limit shows more, or choose by tenant, trigger, monitor or time\n", limit)
		}
		warnSilent(cmd, list.Silent)
		return err
	}
	return cmd
}

// warnSilent names the nodes that could not be asked.
func warnSilent(cmd *cobra.Command, silent []string) {
	if len(silent) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "what these nodes have sent is missing, they do not answer: %s\n", strings.Join(silent, ", "))
	}
}
