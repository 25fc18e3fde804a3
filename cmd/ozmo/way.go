package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// apiReach is how a command finds the API for tenants: a server with a key, from
// flags, the environment or a context, or else as any command finds its node.
type apiReach struct {
	reach

	server, keyFile, caFile, context, file string
	insecure                               bool
	flags                                  *pflag.FlagSet

	asTenant string // of --tenant

	chosen *chosenWay     // once it is known
	broken error          // why it is not
	remote *client.Client // where there is a server; made once
}

// chosenWay is what the flags, the environment and the context file come to.
type chosenWay struct {
	server client.Server // without a URL: by the local socket or the cluster port
	tenant string        // of the context; empty: it says none
}

const keyVariable = envPrefix + "KEY"

func (r *apiReach) register(cmd *cobra.Command) {
	r.registerWay(cmd)
	f := cmd.Flags()
	f.StringVar(&r.asTenant, "tenant", "", "`NAME` of the tenant (default: the context's)")
	completeAPIFlag(cmd, "tenant", r, tenantNames)
}

// registerWay is register for commands without --tenant.
func (r *apiReach) registerWay(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.server, "server", "", "`URL` of a node or of the proxy before the cluster, asked with a key")
	f.StringVar(&r.keyFile, "key-file", "", "`FILE` that holds the key for --server; "+keyVariable+" has the key itself")
	f.StringVar(&r.caFile, "ca-file", "", "PEM `FILE` of the certificate authorities that the server's certificate may be of (default: the system's)")
	f.BoolVar(&r.insecure, "insecure-http", false, "let the key go over plain HTTP to another machine")
	f.StringVar(&r.context, "context", "", "`NAME` of the context to work in (default: the current one)")
	r.registerFile(cmd)
	for _, name := range []string{"key-file", "ca-file"} {
		if err := cmd.MarkFlagFilename(name); err != nil {
			panic(err) // the flag is not defined: a mistake in the program
		}
	}
	r.reach.register(cmd)
	r.flags = f
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return r.contextNames(cmd), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("context", complete); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := before(cmd, args); err != nil { // of reach
			return err
		}
		if r.broken = r.choose(); r.broken != nil {
			if _, ok := errors.AsType[usageError](r.broken); ok {
				return r.broken
			}
		}
		return nil // a file that is no good is no mistake of usage: the command itself will say so
	}
}

func (r *apiReach) registerFile(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.file, "context-file", defaultContextFile(), "`FILE` with the contexts")
}

func (r *apiReach) contextNames(cmd *cobra.Command) []string {
	if applySettings(cmd, os.LookupEnv) != nil {
		return nil
	}
	c, err := readContexts(r.file)
	if err != nil {
		return nil
	}
	return c.names()
}

// strength is how much a flag counts: what the command line has most, then the
// environment and the settings file, then the default.
func (r *apiReach) strength(name string) int {
	f := r.flags.Lookup(name)
	switch {
	case f == nil || !f.Changed:
		return 0
	case onCommandLine(f):
		return 2
	}
	return 1
}

// choose finds the way. Of several, the strongest counts: a server that is given
// never gets the key of a context, since a key is for its own server.
func (r *apiReach) choose() error {
	if r.chosen != nil {
		return nil
	}
	if r.strength("server") == 2 && r.strength("context") == 2 {
		return usagef("--server and --context both say whom to ask: give one of them")
	}
	stored, err := readContexts(r.file)
	if err != nil {
		return err
	}
	way := &chosenWay{}
	by, level := r.strongest("server", "context", "credentials", "data")
	switch {
	case by == "server":
		way.server = client.Server{URL: r.server}
	case by == "context":
		err = way.enter(stored, r.context)
	case by == "" && stored.Current != "":
		err = way.enter(stored, stored.Current)
	}
	if err != nil {
		return err
	}
	if way.server.URL != "" {
		if err := r.complete(way, by, level); err != nil {
			return err
		}
	}
	r.chosen = way
	return nil
}

// strongest is the flag that counts most, of equal ones the first; none where none
// is given.
func (r *apiReach) strongest(names ...string) (by string, level int) {
	for _, name := range names {
		if s := r.strength(name); s > level {
			by, level = name, s
		}
	}
	return by, level
}

// enter takes what a context says.
func (w *chosenWay) enter(stored *contexts, name string) error {
	e, err := stored.find(name)
	if err != nil {
		return err
	}
	w.server = client.Server{URL: e.Server, Key: e.Key, Insecure: e.Insecure}
	w.tenant = e.Tenant
	if e.CAFile != "" {
		if w.server.CA, err = os.ReadFile(e.CAFile); err != nil {
			return fmt.Errorf("context %q: ca_file: %w", name, err)
		}
	}
	return nil
}

// complete adds what is given beside the server or context, which was said by a flag
// of that strength. The key of a context gives way to none that is weaker.
func (r *apiReach) complete(w *chosenWay, by string, level int) error {
	if by == "server" {
		level = 0 // it has no key of its own
	}
	from := "the context"
	if s := r.strength("key-file"); s > 0 && s >= level {
		data, err := os.ReadFile(r.keyFile)
		if err != nil {
			return fmt.Errorf("--key-file: %w", err)
		}
		w.server.Key, from = string(bytes.TrimSpace(data)), "--key-file "+r.keyFile
	} else if key := strings.TrimSpace(os.Getenv(keyVariable)); key != "" && level <= 1 {
		w.server.Key, from = key, keyVariable
	}
	if r.caFile != "" {
		var err error
		if w.server.CA, err = os.ReadFile(r.caFile); err != nil {
			return fmt.Errorf("--ca-file: %w", err)
		}
	}
	w.server.Insecure = w.server.Insecure || r.insecure
	switch {
	case w.server.Key == "":
		return fmt.Errorf("the server %s is asked with a key: give --key-file, %s, or a context that has one", redactServer(w.server.URL), keyVariable)
	case !v1.IsKeyText(w.server.Key):
		return noKey(from)
	}
	_, err := client.CheckServer(w.server.URL, w.server.Insecure)
	return err
}

// noKey refuses what is given as a key and is none. It is not shown: it may be another
// secret, or most of a key.
func noKey(from string) error {
	return usagef("%s holds no API key: expected ozmo_ID_SECRET on one line, as `ozmo key create` prints it, all of it and nothing else", from)
}

// redactServer is what may be shown of an address.
func redactServer(text string) string {
	if u, err := client.CheckServer(text, true); err == nil {
		return u.Scheme + "://" + u.Host
	}
	return "given"
}

// client is whom to ask.
func (r *apiReach) client() (*client.Client, error) {
	if err := r.choose(); err != nil {
		return nil, err
	}
	if r.chosen.server.URL == "" {
		return r.reach.client(), nil
	}
	if r.remote == nil {
		c, err := client.Remote(r.chosen.server)
		if err != nil {
			return nil, err
		}
		r.remote = c
	}
	return r.remote, nil
}

// tenant is whom a command is about: as --tenant, or the context, says.
func (r *apiReach) tenant(cmd *cobra.Command) (string, error) {
	if r.broken != nil {
		return "", r.broken
	}
	if t := r.knownTenant(); t != "" {
		return t, nil
	}
	return "", usagef("%s: which tenant? Give --tenant, or a context that has one", cmd.CommandPath())
}

// knownTenant is tenant where it may be left out.
func (r *apiReach) knownTenant() string {
	if r.asTenant != "" {
		return r.asTenant
	}
	if r.chosen != nil {
		return r.chosen.tenant
	}
	return ""
}

// takeTenant takes the tenant off the arguments, where it stands first and one more
// is given than there are others; else it is the known one.
func (r *apiReach) takeTenant(cmd *cobra.Command, args []string, others ...string) (tenant string, rest []string, err error) {
	if r.broken != nil {
		return "", nil, r.broken
	}
	if len(args) == len(others)+1 {
		if r.flags.Changed("tenant") && r.strength("tenant") == 2 && r.asTenant != args[0] {
			return "", nil, usagef("%s: tenant %q or %q? Name one of them", cmd.CommandPath(), args[0], r.asTenant)
		}
		return args[0], args[1:], nil
	}
	if len(args) == len(others) && r.knownTenant() != "" {
		return r.knownTenant(), args, nil
	}
	return "", nil, exactArgs(append([]string{"TENANT"}, others...)...)(cmd, args)
}

func askAPI[T any](ctx context.Context, r *apiReach, question func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := r.client()
	if err != nil {
		var none T
		return none, err
	}
	return askClient(ctx, c, question)
}

func tellAPI(ctx context.Context, r *apiReach, order func(context.Context, *client.Client) error) error {
	_, err := askAPI(ctx, r, func(ctx context.Context, c *client.Client) (struct{}, error) { return struct{}{}, order(ctx, c) })
	return err
}

// apiNames lists something of a tenant, for shells to complete.
type apiNames func(ctx context.Context, c *client.Client, tenant string) ([]string, error)

// words are what a list has, where whom to ask answers at once.
func (r *apiReach) words(cmd *cobra.Command, list apiNames, tenant string) ([]string, cobra.ShellCompDirective) {
	if err := applySettings(cmd, os.LookupEnv); err != nil { // --data may come from there
		return nil, cobra.ShellCompDirectiveError
	}
	c, err := r.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if tenant == "" {
		tenant = r.knownTenant()
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	words, err := list(ctx, c, tenant)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func completeAPIFlag(cmd *cobra.Command, flag string, r *apiReach, list apiNames) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		tenant := "" // that of --tenant or the context
		if len(args) > 0 {
			tenant = args[0] // which comes first where it is an argument
		}
		return r.words(cmd, list, tenant)
	})
	if err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

// completeAPI lets shells complete the arguments of a command.
func completeAPI(cmd *cobra.Command, r *apiReach, lists ...apiNames) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(lists) || lists[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		tenant := ""
		if len(args) > 0 {
			tenant = args[0]
		}
		return r.words(cmd, lists[len(args)], tenant)
	}
}

// completeOfTenant lets shells complete [TENANT] ID: the tenant, where none is known,
// and then what it has.
func completeOfTenant(cmd *cobra.Command, r *apiReach, list apiNames) {
	first := func(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
		if tenant == "" {
			return tenantNames(ctx, c, "")
		}
		return list(ctx, c, tenant)
	}
	completeAPI(cmd, r, first, list)
}

func tenantNames(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
	list, err := c.Tenants(ctx)
	for _, t := range list {
		out = append(out, t.ID)
	}
	return out, err
}
