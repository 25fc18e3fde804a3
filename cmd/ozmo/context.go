package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newContext(*app) *cobra.Command {
	cmd := group("context", "Keep servers, keys and tenants to work with",
		"  ozmo context set prod --server https://ozmo.example.net --key-file key --tenant acme\n  ozmo context list\n  ozmo context use prod",
		newContextList(), newContextUse(), newContextSet(), newContextShow(), newContextDelete())
	cmd.Long = `A context is a server, the key to ask it with, and the tenant that is meant where a
command names none. Commands that work with tenants' documents, secrets and keys
ask whom, in this order, these say:

  the command line    --server with --key-file, --context, --credentials, --data
  the environment     OZMO_SERVER with OZMO_KEY or OZMO_KEY_FILE, OZMO_CONTEXT,
                      OZMO_CREDENTIALS, OZMO_DATA
  the context file    the current context
  nothing             the node of this machine, over its socket, as an operator

and mean the tenant of --tenant, else OZMO_TENANT, else the context's. A server that
is given never gets the key of a context.

Contexts are in a file for this user alone (mode 0600; one that others may read is
refused): --context-file, OZMO_CONTEXT_FILE, or contexts.json in the folder for
ozmo's settings. Keys are never printed.`
	return cmd
}

// contextCommand is a command on the context file.
func contextCommand(cmd *cobra.Command, complete bool, do func(cmd *cobra.Command, file string, c *contexts, args []string) error) *cobra.Command {
	var r apiReach
	r.registerFile(cmd)
	if complete {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return r.contextNames(cmd), cobra.ShellCompDirectiveNoFileComp
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := readContexts(r.file)
		if err != nil {
			return err
		}
		return do(cmd, r.file, c, args)
	}
	return cmd
}

// shownContext is a context without its key.
type shownContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Server  string `json:"server"`
	Tenant  string `json:"tenant"`
	KeyID   string `json:"key_id"` // empty: there is no key
	CAFile  string `json:"ca_file,omitempty"`
}

func (c *contexts) shown(name string) shownContext {
	e := c.Entries[name]
	return shownContext{Name: name, Current: name == c.Current, Server: e.Server, Tenant: e.Tenant, KeyID: e.keyID(), CAFile: e.CAFile}
}

func writeContexts(w io.Writer, list []shownContext) {
	t := newTable("CURRENT", "NAME", "SERVER", "TENANT", "KEY")
	for _, s := range list {
		mark := ""
		if s.Current {
			mark = "*"
		}
		t.AppendRow(table.Row{mark, s.Name, s.Server, or(s.Tenant), or(s.KeyID)})
	}
	writeTable(w, t)
}

func newContextList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Show the contexts", Args: cobra.NoArgs,
		Long:    "Show the contexts, with the ids of their keys. The keys themselves are not shown.",
		Example: "  ozmo context list\n  ozmo context list --output json | jq -r '.[].server'",
	}
	output := addOutput(cmd, "table", "json")
	return contextCommand(cmd, false, func(cmd *cobra.Command, _ string, c *contexts, _ []string) error {
		list := []shownContext{}
		for _, name := range c.names() {
			list = append(list, c.shown(name))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		if len(list) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "there is no context: the node of this machine is asked; `ozmo context set` makes one")
			return err
		}
		writeContexts(cmd.OutOrStdout(), list)
		return nil
	})
}

func newContextShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAME]", Aliases: []string{"get"}, Short: "Show a context, or the current one",
		Long:    "Show a context, or the current one, without its key.",
		Example: "  ozmo context show\n  ozmo context show prod --output json",
		Args:    cobra.MaximumNArgs(1),
	}
	output := addOutput(cmd, "table", "json")
	return contextCommand(cmd, true, func(cmd *cobra.Command, _ string, c *contexts, args []string) error {
		name := c.Current
		if len(args) > 0 {
			name = args[0]
		}
		if name == "" {
			return fmt.Errorf("no context is the current one: the node of this machine is asked; `ozmo context use` takes one of %d", len(c.Entries))
		}
		if _, err := c.find(name); err != nil {
			return err
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), c.shown(name))
		}
		writeContexts(cmd.OutOrStdout(), []shownContext{c.shown(name)})
		return nil
	})
}

func newContextUse() *cobra.Command {
	return contextCommand(&cobra.Command{
		Use: "use NAME", Short: "Work in a context from now on",
		Long:    "Work in a context from now on, in every terminal of this user. For one command, or\none terminal, there are --context and OZMO_CONTEXT.",
		Example: "  ozmo context use prod",
		Args:    exactArgs("NAME"),
	}, true, func(cmd *cobra.Command, file string, c *contexts, args []string) error {
		if _, err := c.find(args[0]); err != nil {
			return err
		}
		c.Current = args[0]
		if err := c.write(file); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "context %s is the current one\n", args[0])
		return err
	})
}

func newContextDelete() *cobra.Command {
	var confirm deletion
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Forget a context and its key",
		Long:    "Forget a context and its key. The key goes on serving whoever else has it: `ozmo key\ndelete` ends it.",
		Example: "  ozmo context delete prod",
		Args:    exactArgs("NAME"),
	}
	confirm.register(cmd, false)
	return contextCommand(cmd, true, func(cmd *cobra.Command, file string, c *contexts, args []string) error {
		e, err := c.find(args[0])
		if err != nil {
			return err
		}
		if e.Key != "" {
			if err := confirm.agree(cmd, fmt.Sprintf("The context %q will be forgotten, and its key with it.", args[0])); err != nil {
				return err
			}
		}
		delete(c.Entries, args[0])
		if c.Current == args[0] {
			c.Current = ""
		}
		if err := c.write(file); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "context %s is forgotten\n", args[0])
		return err
	})
}

func newContextSet() *cobra.Command {
	var server, keyFile, tenant, ca string
	var insecure, use bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Make a context, or change what is given of one",
		Long: `Make a context, or change what is given of one. The first one becomes the current
one. The key is read from a file, or with "-" from standard input, as printed by
` + "`ozmo key create`" + `; there is no argument for it, since other users of the machine
would see it.

Keys are as good as passwords: plain http:// is refused but to this machine, unless
--insecure-http says that the way is safe.`,
		Example: `  ozmo key create acme --role admin | ozmo context set acme --server http://localhost:8080 --tenant acme --key-file -
  ozmo context set prod --server https://ozmo.example.net --key-file ./key --ca-file ./ca.pem
  ozmo context set prod --tenant beta`,
		Args: exactArgs("NAME"),
	}
	f := cmd.Flags()
	f.StringVar(&server, "server", "", "`URL` of a node or of the proxy before the cluster")
	f.StringVar(&keyFile, "key-file", "", "`FILE` that holds the key, or - for standard input")
	f.StringVar(&tenant, "tenant", "", "`NAME` of the tenant that is meant where a command names none")
	f.StringVar(&ca, "ca-file", "", "PEM `FILE` of the certificate authorities that the server's certificate may be of")
	f.BoolVar(&insecure, "insecure-http", false, "let the key go over plain HTTP to another machine")
	f.BoolVar(&use, "use", false, "make it the current one")
	for _, name := range []string{"key-file", "ca-file"} {
		if err := cmd.MarkFlagFilename(name); err != nil {
			panic(err) // the flag is not defined: a mistake in the program
		}
	}
	return contextCommand(cmd, true, func(cmd *cobra.Command, file string, c *contexts, args []string) error {
		name := args[0]
		if !contextName.MatchString(name) {
			return usagef("context name %q: use 1 to 63 letters, digits, dots, underscores and hyphens, beginning with a letter or digit", name)
		}
		e, known := c.Entries[name]
		given := func(flag string) bool { return onCommandLine(f.Lookup(flag)) } // variables are for other commands
		if given("insecure-http") {
			e.Insecure = insecure
		}
		if given("server") {
			if e.Key != "" && e.Server != server && !given("key-file") {
				e.Key = "" // it is for the other server
				fmt.Fprintln(cmd.ErrOrStderr(), "ozmo: the key was for the server before: give another one with --key-file")
			}
			e.Server = server
		}
		if e.Server == "" {
			return usagef("context %s is new: --server is needed", name)
		}
		if _, err := client.CheckServer(e.Server, e.Insecure); err != nil {
			return usageError{err}
		}
		if given("tenant") {
			if tenant != "" && !spec.IsTenantName(tenant) {
				return usagef("--tenant %q: want 1 to 63 lower-case letters, digits, underscores or hyphens", tenant)
			}
			e.Tenant = tenant
		}
		if given("ca-file") {
			abs, err := filepath.Abs(ca)
			if err != nil {
				return err
			}
			if e.CAFile = abs; ca == "" {
				e.CAFile = ""
			}
		}
		if given("key-file") {
			key, err := readKeyFile(cmd.InOrStdin(), keyFile)
			if err != nil {
				return err
			}
			e.Key = key
		}
		c.Entries[name] = e
		if use || len(c.Entries) == 1 {
			c.Current = name
		}
		if err := c.write(file); err != nil {
			return err
		}
		done := "changed"
		if !known {
			done = "made"
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "context %s is %s\n", name, done)
		return err
	})
}

// readKeyFile reads a key from a file, or "-".
func readKeyFile(stdin io.Reader, file string) (string, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, 4096))
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	key := string(bytes.TrimSpace(data))
	if !v1.IsKeyText(key) {
		return "", noKey("--key-file " + file)
	}
	return key, nil
}
