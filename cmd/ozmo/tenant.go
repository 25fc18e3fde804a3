package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newTenant(*app) *cobra.Command {
	cmd := group("tenant", "Make, import and see tenants, and say where they are judged",
		"  ozmo tenant create acme\n  ozmo tenant import ./config --tenant acme\n  ozmo tenant list\n  ozmo tenant assign acme b",
		newTenantCreate("create"), newTenantList(), newTenantGet(), newTenantCreate("apply"), newTenantDelete(), newTenantImport(), newTenantVersions(), newTenantRestore(), newTenantQuota(),
		newTenantAssign(), newTenantUnpin(), newTenantWeight(), newTenantPriority(), newTenantMigrate(), newTenantSourceSQL())
	cmd.Long = `Tenants are made here or over the API, or by the folder of ` + "`ozmo serve`" + `. Each is judged by
one node at a time. The leader spreads tenants over the nodes; assign, unpin, weight
and priority tell it what it cannot know.`
	return cmd
}

func newTenantList() *cobra.Command {
	var node apiReach
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the tenants and where they are",
		Long: `Show the tenants and where they are.

  NODE        that judges it; "-": nobody, for the moment
  TO          the node it is being handed over to
  REASON      of its last assignment
  ASSIGNMENT  how often it was assigned
  PIN         the node that an operator has given it
  WEIGHT      what ` + "`ozmo tenant weight`" + ` has said; "-": nothing, so it counts 100, or what
              it costs where --placement is activity-based
  PRIORITY    what ` + "`ozmo tenant priority`" + ` has said; 0 is the usual one`,
		Example: `  ozmo tenant list
  ozmo tenant list --output json | jq 'group_by(.node)[] | {node: .[0].node, tenants: length}'`,
		Args: cobra.NoArgs,
	}
	node.registerWay(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Status, error) { return c.Status(ctx) })
		if err != nil {
			return err
		}
		fillLists(&s)
		if output.value == "json" {
			if err := writeJSON(cmd.OutOrStdout(), s.Tenants); err != nil {
				return err
			}
		} else {
			writeTable(cmd.OutOrStdout(), tenantTable(s.Tenants))
		}
		return standing(&s)
	}
	return cmd
}

// placing is a command that says something about one tenant's place.
func placing(cmd *cobra.Command, read func(args []string, p *api.Placement) (said string, err error), lists ...names) *cobra.Command {
	var node apiReach
	node.registerWay(cmd)
	var of []apiNames
	for _, list := range append([]names{tenantIDs}, lists...) {
		of = append(of, func(ctx context.Context, c *client.Client, _ string) ([]string, error) { return list(ctx, c) })
	}
	completeAPI(cmd, &node, of...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := api.Placement{Tenant: args[0]}
		said, err := read(args, &p)
		if err != nil {
			return err
		}
		if err := tellAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.PlaceTenant(ctx, p) }); err != nil {
			return missing(err, "%s", tenantText(args[0]))
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	}
	return cmd
}

func newTenantAssign() *cobra.Command {
	return placing(&cobra.Command{
		Use:   "assign TENANT NODE",
		Short: "Pin a tenant to a node",
		Long: `Pin a tenant to a node. It moves there within seconds, with no block skipped and
no second delivery, and stays, whatever the load. While the node is down or
drained, another one has the tenant.`,
		Example: "  ozmo tenant assign acme b",
		Args:    exactArgs("TENANT", "NODE"),
	}, func(args []string, p *api.Placement) (string, error) {
		if args[1] == "" {
			return "", usagef("NODE is empty: `ozmo tenant unpin %s` takes a pin away", args[0])
		}
		p.Pin = &args[1]
		return fmt.Sprintf("tenant %s is pinned to node %s and moves there, if it is not there yet", args[0], args[1]), nil
	}, nodeNames)
}

func newTenantUnpin() *cobra.Command {
	return placing(&cobra.Command{
		Use:     "unpin TENANT",
		Short:   "Let the cluster place a tenant again",
		Long:    "Let the cluster place a tenant again. It moves only if that evens the nodes out.",
		Example: "  ozmo tenant unpin acme",
		Args:    exactArgs("TENANT"),
	}, func(args []string, p *api.Placement) (string, error) {
		p.Pin = new(string)
		return fmt.Sprintf("tenant %s is not pinned any more", args[0]), nil
	})
}

func newTenantWeight() *cobra.Command {
	return placing(&cobra.Command{
		Use:   "weight TENANT N",
		Short: "Say how much a tenant counts when tenants are spread",
		Long: `Say how much a tenant counts when tenants are spread over the nodes, in percent of a
normal one: 100 is as much as any other, 50 half of that, 400 four times as much. 0
leaves it to the strategy of --placement, which counts every tenant 100, or by what
it costs. ` + "`ozmo tenant list`" + ` shows what was said.`,
		Example: "  ozmo tenant weight acme 50\n  ozmo tenant weight acme 0",
		Args:    exactArgs("TENANT", "N"),
	}, func(args []string, p *api.Placement) (string, error) {
		n, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return "", usagef("weight %q: want a whole number of 0 to %d; 100 is normal", args[1], uint32(math.MaxUint32))
		}
		weight := uint32(n)
		p.Weight = &weight
		if n == 0 {
			return fmt.Sprintf("the strategy decides how much tenant %s counts", args[0]), nil
		}
		return fmt.Sprintf("tenant %s has weight %d", args[0], n), nil
	})
}

func newTenantPriority() *cobra.Command {
	cmd := placing(&cobra.Command{
		Use:   "priority TENANT N",
		Short: "Say which tenants are placed first",
		Long: `Say which tenants are placed first: those of a higher priority get their place
before the others, and keep it. The usual priority is 0; one below it follows --.`,
		Example: "  ozmo tenant priority acme 10\n  ozmo tenant priority trial -- -5",
		Args:    exactArgs("TENANT", "N"),
	}, func(args []string, p *api.Placement) (string, error) {
		n, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil {
			return "", usagef("priority %q: want a whole number of %d to %d; 0 is the usual one", args[1], math.MinInt32, math.MaxInt32)
		}
		priority := int32(n)
		p.Priority = &priority
		return fmt.Sprintf("tenant %s has priority %d", args[0], n), nil
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		for digit := range 10 {
			if strings.Contains(err.Error(), fmt.Sprintf("shorthand flag: '%d'", digit)) {
				return usagef("a number below 0 follows --, like %s TENANT -- -5", cmd.CommandPath())
			}
		}
		return cmd.Root().FlagErrorFunc()(cmd, err)
	})
	return cmd
}
