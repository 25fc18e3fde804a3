package main

import (
	"context"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newTenantMigrate() *cobra.Command {
	var node reach
	var tenant string
	var all bool
	cmd := &cobra.Command{
		Use:   "migrate --to postgres|embedded (--tenant T | --all)",
		Short: "Move tenants' documents between the cluster's own state and PostgreSQL",
		Long: `Move tenants' documents between the cluster's own state (embedded) and PostgreSQL.

All nodes must have been started with --postgres-url. Each tenant is moved at once,
with all its versions, which stay what they are: judging goes on, and nothing is
judged differently. With --all, new tenants begin in the other store too. A move
that was interrupted is taken up by the same command. What is moved already is
left alone.`,
		Example: `  ozmo tenant migrate --to postgres --all
  ozmo tenant migrate --to embedded --tenant acme
  ozmo tenant migrate --to postgres --all --output json | jq '[.[] | select(.changed)] | length'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	to := newChoice("", "embedded", "postgres")
	cmd.Flags().Var(to, "to", "where the documents are moved: embedded or postgres")
	completeChoice(cmd, "to", to)
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant to be moved")
	cmd.Flags().BoolVar(&all, "all", false, "move all tenants")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case to.value == "":
			return usagef("--to is missing: embedded or postgres")
		case all == (tenant != ""):
			return usagef("give --tenant or --all, one of them")
		}
		moves := []api.Migration{{Tenant: tenant, To: to.value}}
		if all {
			moves[0].Tenant = ""
			s, err := node.status(cmd.Context())
			if err != nil {
				return err
			}
			for _, t := range s.Tenants {
				moves = append(moves, api.Migration{Tenant: t.ID, To: to.value})
			}
		}
		done := []api.Migrated{}
		for i, m := range moves {
			one, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Migrated, error) { return c.Migrate(ctx, m) })
			if err != nil {
				return fmt.Errorf("%w\n%d of %d steps are done; the same command takes it up", err, i, len(moves))
			}
			if m.Tenant != "" {
				done = append(done, one)
			}
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), done)
		}
		t := newTable("TENANT", "STORE", "VERSIONS MOVED")
		for _, m := range done {
			t.AppendRow(table.Row{clean(m.Tenant), m.To, m.Versions})
		}
		writeTable(cmd.OutOrStdout(), t)
		return nil
	}
	return cmd
}
