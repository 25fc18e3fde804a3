package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newKeyring(*app) *cobra.Command {
	cmd := group("keyring", "See and change the keys of the nodes' gossip",
		"  ozmo keyring install\n  ozmo keyring use KEY\n  ozmo keyring remove KEY",
		newKeyringList(),
		keyChange("install", "Make a new key and give it to all nodes",
			"Make a new key and give it to all nodes, beside those they have. It encrypts nothing\nuntil `ozmo keyring use`.", ""),
		keyChange("use KEY", "Encrypt with a key from now on",
			"Encrypt with a key from now on. It is refused while a node does not have the key,\nsince that node would be shut out.", "3f2a90c1"),
		keyChange("remove KEY", "Take a key away from all nodes",
			"Take a key away from all nodes. It is refused for the key in use.", "77d0b5e4"))
	cmd.Long = `What the nodes tell each other over UDP is encrypted with a key that all of them
have. To change it without an interruption: install a new key, use it once no
node misses it, and remove the old one. Keys are shown by a short hash.`
	return cmd
}

func newKeyringList() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the keys, and which nodes miss one",
		Example: `  ozmo keyring list
  ozmo keyring list --output json | jq '.keys[] | select(.missing != [])'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		k, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Keyring, error) { return c.Keyring(ctx) })
		if err != nil {
			return err
		}
		return showKeyring(cmd.OutOrStdout(), k, output.value)
	}
	return cmd
}

// keyChange is a command that changes the keyring and shows it.
func keyChange(use, short, long, example string) *cobra.Command {
	change, wantsKey, _ := strings.Cut(use, " ")
	var node reach
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		Example: strings.TrimRight("  ozmo keyring "+change+" "+example, " "),
	}
	node.register(cmd)
	output := addOutput(cmd, "table", "json")
	if wantsKey != "" {
		cmd.Args = exactArgs(wantsKey)
		completeArgs(cmd, &node, keyIDs)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := ""
		if len(args) > 0 {
			id = args[0]
		}
		k, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Keyring, error) {
			return c.ChangeKeyring(ctx, change, id)
		})
		if err != nil {
			return err
		}
		if change == "install" {
			k = awaitKey(cmd.Context(), &node, k)
		}
		return showKeyring(cmd.OutOrStdout(), k, output.value)
	}
	return cmd
}

// keyPatience is how long nodes take to get a key, and to say so, at the most.
const keyPatience = 3 * time.Second

// awaitKey gives the nodes a moment to take the newest key up. Who has not by then
// is shown as missing it.
func awaitKey(ctx context.Context, node *reach, k api.Keyring) api.Keyring {
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	for len(k.Keys) > 0 && len(k.Keys[len(k.Keys)-1].Missing) > 0 {
		select {
		case <-ctx.Done():
			return k
		case <-time.After(lookAgain):
		}
		next, err := node.client().Keyring(ctx)
		if err != nil {
			return k
		}
		k = next
	}
	return k
}

func showKeyring(w io.Writer, k api.Keyring, format string) error {
	fill(&k.Keys)
	for i := range k.Keys {
		fill(&k.Keys[i].Missing)
	}
	if format == "json" {
		return writeJSON(w, k)
	}
	if len(k.Keys) == 0 {
		_, err := fmt.Fprintln(w, "there are no keys: this cluster's gossip is not encrypted")
		return err
	}
	t := newTable("KEY", "IN USE", "ON NODES", "MISSING ON")
	for _, key := range k.Keys {
		t.AppendRow(table.Row{key.ID, yesText(key.Primary), fmt.Sprintf("%d of %d", k.Nodes-len(key.Missing), k.Nodes), or(strings.Join(key.Missing, ", "))})
	}
	writeTable(w, t)
	return nil
}
