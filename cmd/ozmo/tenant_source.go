package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

func newTenantSourceSQL() *cobra.Command {
	return &cobra.Command{
		Use:   "source-sql",
		Short: "Print SQL with which the tables of --postgres-source-url tell what changes",
		Long: `Print SQL with which the tables of --postgres-source-url tell at once what changes.
Without it, they are looked at every --postgres-source-interval. Run it once, as the
owner of the tables; again does no harm.`,
		Example: "  ozmo tenant source-sql | psql DATABASE",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), node.SourceSQL)
			return err
		},
	}
}
