package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newSecret(*app) *cobra.Command {
	cmd := group("secret", "Keep tenants' secrets in the cluster",
		"  ozmo secret set acme slack-hook < hook.txt\n  ozmo secret list acme\n  ozmo secret delete acme slack-hook",
		newSecretSet("create"), newSecretList(), newSecretGet(), newSecretSet("set"), newSecretDelete())
	cmd.Long = `Documents may name a secret that the cluster keeps for their tenant, wherever they
may hold one:

  {"type": "stored", "value": "slack-hook"}

It is looked up at each delivery: another value needs no change of documents and
no restart. Values are sealed before they enter the log, and never come out.`
	return cmd
}

func newSecretSet(verb string) *cobra.Command {
	var node apiReach
	var file string
	short := "Store a secret, in place of one of the same name"
	if verb == "create" {
		short = "Store a secret, if there is none of the name"
	}
	cmd := &cobra.Command{
		Use:   verb + " [TENANT] NAME",
		Short: short,
		Long: short + `. Its value is asked for on a
terminal, where it is not shown, and read from standard input elsewhere, or from
the file given; the line end after it does not count. There is no argument for it,
since other users of the machine would see it.

The next delivery that needs it uses the new value, and what has been waiting in
the outbox of the triggers that use it is tried at once.`,
		Example: strings.ReplaceAll(`  ozmo secret VERB acme slack-hook
  ozmo secret VERB acme slack-hook < hook.txt
  vault kv get -field=token secret/telegram | ozmo secret VERB acme telegram-token
  ozmo secret VERB acme smtp-password -f /run/secrets/smtp`, "VERB", verb),
		Args: cobra.ArbitraryArgs,
	}
	if verb == "set" {
		cmd.Aliases = []string{"apply"} // as other documents have it
	}
	node.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` that holds the value")
	if err := cmd.MarkFlagFilename("file"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	completeOfTenant(cmd, &node, secretNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, rest, err := node.takeTenant(cmd, args, "NAME")
		if err != nil {
			return err
		}
		name := rest[0]
		if err := checkSecretName(name); err != nil { // nobody types a secret for nothing
			return err
		}
		if verb == "create" {
			known, err := findSecret(cmd.Context(), &node, tenant, name)
			if err != nil {
				return err
			}
			if known != nil && !known.Set.IsZero() {
				return fmt.Errorf("secret %s of tenant %s is there already: `ozmo secret set` replaces it", name, tenant)
			}
		}
		value, err := readSecretValue(cmd, file)
		if err != nil {
			return err
		}
		err = tellAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error {
			return c.SetSecret(ctx, api.Secret{Tenant: tenant, Name: name, Value: value})
		})
		if err != nil {
			return missing(err, "%s", tenantText(tenant))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "secret %s of tenant %s is set\n", name, tenant)
		return err
	}
	return cmd
}

// checkSecretName refuses what no stored secret can be named.
func checkSecretName(name string) error {
	if !spec.IsSecretName(name) {
		return usagef("secret name %q: use 1 to 64 letters, digits, underscores, dots and hyphens", name)
	}
	return nil
}

// maxSecret bounds what is read as a secret, in bytes; the node has the same.
const maxSecret = 64 << 10

// readSecretValue gets the value from where it is.
func readSecretValue(cmd *cobra.Command, file string) (string, error) {
	from := cmd.InOrStdin()
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("--file: %w", err)
		}
		defer f.Close()
		from = f
	} else if screen, ok := from.(*os.File); ok && term.IsTerminal(int(screen.Fd())) {
		return typedSecret(cmd.Context(), screen, cmd.ErrOrStderr())
	}
	data, err := io.ReadAll(io.LimitReader(from, maxSecret+3))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) == 0:
		return "", errors.New("the secret that was read is empty")
	case len(data) > maxSecret:
		return "", fmt.Errorf("the secret that was read is longer than %d KiB", maxSecret>>10)
	}
	return string(data), nil
}

// typedSecret asks twice, since nobody sees what is typed.
func typedSecret(ctx context.Context, screen *os.File, ask io.Writer) (string, error) {
	before, err := term.GetState(int(screen.Fd()))
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	type read struct {
		value string
		err   error
	}
	answer := make(chan read, 1)
	go func() { // a read cannot be interrupted; the process ends instead
		var typed [2][]byte
		for i, question := range []string{"Secret (not shown): ", "Once more: "} {
			fmt.Fprint(ask, question)
			var err error
			typed[i], err = term.ReadPassword(int(screen.Fd()))
			fmt.Fprintln(ask)
			if err != nil {
				answer <- read{err: fmt.Errorf("read the secret: %w", err)}
				return
			}
		}
		switch {
		case !bytes.Equal(typed[0], typed[1]):
			answer <- read{err: errors.New("the two differ: nothing was changed")}
		case len(typed[0]) == 0:
			answer <- read{err: errors.New("the secret is empty: nothing was changed")}
		default:
			answer <- read{value: string(typed[0])}
		}
	}()
	select {
	case r := <-answer:
		return r.value, r.err
	case <-ctx.Done():
		return "", errors.Join(errInterrupted, term.Restore(int(screen.Fd()), before))
	}
}

func newSecretList() *cobra.Command {
	var node apiReach
	cmd := &cobra.Command{
		Use:   "list [TENANT]",
		Short: "Show which secrets a tenant has stored, and what uses them",
		Long: `Show which secrets a tenant has stored, when each was set, and the triggers and
private networks of the configuration in force that use it. A name that is used
and not set is shown too: what needs it waits. Values are never shown.`,
		Example: `  ozmo secret list acme
  ozmo secret list acme --output json | jq -r '.[] | select(.triggers == []) | .name'`,
		Args: cobra.ArbitraryArgs,
	}
	node.register(cmd)
	output := addOutput(cmd, "table", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, _, err := node.takeTenant(cmd, args)
		if err != nil {
			return err
		}
		list, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) ([]api.SecretStatus, error) {
			return c.Secrets(ctx, tenant)
		})
		if err != nil {
			return missing(err, "%s", tenantText(tenant))
		}
		fill(&list)
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		return showSecrets(cmd.OutOrStdout(), tenant, list)
	}
	return cmd
}

func showSecrets(w io.Writer, tenant string, list []api.SecretStatus) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "tenant %s has stored no secret, and its documents name none\n", tenant)
		return err
	}
	t := newTable("SECRET", "SET", "TRIGGERS", "NETWORKS")
	for _, s := range list {
		set := "never"
		if !s.Set.IsZero() {
			set = s.Set.UTC().Format(time.DateTime + " MST")
		}
		t.AppendRow(table.Row{s.Name, set, or(strings.Join(s.Triggers, ", ")), or(strings.Join(s.Networks, ", "))})
	}
	writeTable(w, t)
	return nil
}

// findSecret is what is known of a secret; nil: nothing.
func findSecret(ctx context.Context, r *apiReach, tenant, name string) (*api.SecretStatus, error) {
	list, err := askAPI(ctx, r, func(ctx context.Context, c *client.Client) ([]api.SecretStatus, error) { return c.Secrets(ctx, tenant) })
	for i := range list {
		if list[i].Name == name {
			return &list[i], err
		}
	}
	return nil, missing(err, "%s", tenantText(tenant))
}

func secretNames(ctx context.Context, c *client.Client, tenant string) (out []string, err error) {
	if tenant == "" {
		return nil, nil
	}
	list, err := c.Secrets(ctx, tenant)
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out, err
}

func newSecretGet() *cobra.Command {
	var node apiReach
	cmd := &cobra.Command{
		Use:     "get [TENANT] NAME",
		Short:   "Show when a secret was set, and what uses it",
		Long:    "Show when a secret was set, and what uses it. Its value never comes out.",
		Example: "  ozmo secret get acme slack-hook",
		Args:    cobra.ArbitraryArgs,
	}
	node.register(cmd)
	output := addOutput(cmd, "table", "json")
	completeOfTenant(cmd, &node, secretNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, rest, err := node.takeTenant(cmd, args, "NAME")
		if err != nil {
			return err
		}
		s, err := findSecret(cmd.Context(), &node, tenant, rest[0])
		if err == nil && s == nil {
			err = fmt.Errorf("secret %q of %s: not found", rest[0], tenantText(tenant))
		}
		if err != nil {
			return err
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		return showSecrets(cmd.OutOrStdout(), tenant, []api.SecretStatus{*s})
	}
	return cmd
}

func newSecretDelete() *cobra.Command {
	var node apiReach
	var force bool
	var confirm deletion
	cmd := &cobra.Command{
		Use:   "delete [TENANT] NAME",
		Short: "Forget a secret",
		Long: `Forget a secret. It is refused while a document in force names it, unless it is
forced: deliveries that need it then wait in the outbox until it is set again.`,
		Example: `  ozmo secret delete acme slack-hook
  ozmo secret delete acme slack-hook --force --yes`,
		Args: cobra.ArbitraryArgs,
	}
	node.register(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also one that is in use")
	confirm.register(cmd, true)
	completeOfTenant(cmd, &node, secretNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, rest, err := node.takeTenant(cmd, args, "NAME")
		if err != nil {
			return err
		}
		name := rest[0]
		if err := checkSecretName(name); err != nil {
			return err
		}
		if err := confirm.agree(cmd, fmt.Sprintf("The secret %q of %s will be forgotten for good.", name, tenantText(tenant))); err != nil {
			return err
		}
		err = tellAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error {
			return c.DeleteSecret(ctx, tenant, name, force)
		})
		if err != nil {
			return missing(err, "secret %q of %s", name, tenantText(tenant))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "secret %s of tenant %s is forgotten\n", name, tenant)
		return err
	}
	return cmd
}
