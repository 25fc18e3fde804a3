package main

import (
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func newOpenAPI(*app) *cobra.Command {
	return &cobra.Command{
		Use:   "openapi",
		Short: "Print the OpenAPI document of the API for tenants",
		Long: `Print the OpenAPI 3.1 document of the API for tenants, the same that every node
serves at /v1/openapi.json.`,
		Example: "  ozmo openapi > openapi.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := v1.OpenAPI()
			if err == nil {
				_, err = cmd.OutOrStdout().Write(document)
			}
			return err
		},
	}
}
