package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

const (
	answerPatience     = 30 * time.Second // for a node to answer a short question
	completionPatience = time.Second      // for a shell that waits for words
)

// reach is how a command finds the node it talks to: by its data directory, or,
// with an operator's credentials, over the cluster port.
type reach struct {
	data        string
	node        string
	credentials string

	warn func(string)
	port *client.Client // where there are credentials; made once
}

// registerLocal is for what only the node of this machine can do.
func (r *reach) registerLocal(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.data, "data", defaultDataDir(), "data directory of the running node, which holds its socket")
	if err := cmd.MarkFlagDirname("data"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

func (r *reach) register(cmd *cobra.Command) {
	r.registerLocal(cmd)
	cmd.Flags().StringVar(&r.node, "node", "", "with --credentials, the node to ask: `HOST:PORT` of its cluster port, or its name (default: any that answers)")
	cmd.Flags().StringVar(&r.credentials, "credentials", "", "`FILE` of 'ozmo operator issue': ask over the cluster port instead of the socket of this machine's node")
	if err := cmd.MarkFlagFilename("credentials"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	r.warn = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), "ozmo: "+text) }
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := r.check(cmd); err != nil || before == nil {
			return err
		}
		return before(cmd, args)
	}
}

// check refuses to ask a node over its cluster port without credentials. In the
// environment and the settings of a node, "node" is its name, which `ozmo serve`
// takes from there: that is no wish to ask it.
func (r *reach) check(cmd *cobra.Command) error {
	if r.node == "" || r.credentials != "" {
		return nil
	}
	file := cmd.Flags().Lookup(configFileFlag).Value.String()
	if !strings.Contains(r.node, ":") && (os.Getenv(envName("node")) == r.node || file != "") {
		r.node = ""
		return nil
	}
	return usagef("--node %s is asked over its cluster port, which takes an operator's certificate: give the file of `ozmo operator issue` with --credentials", r.node)
}

func (r *reach) client() *client.Client {
	if r.credentials == "" {
		return client.New(r.data)
	}
	if r.port == nil {
		r.port = client.Port(r.credentials, r.node, r.warn)
	}
	return r.port
}

// ask puts a short question to the node.
func ask[T any](ctx context.Context, r *reach, question func(context.Context, *client.Client) (T, error)) (T, error) {
	return askClient(ctx, r.client(), question)
}

func askClient[T any](ctx context.Context, c *client.Client, question func(context.Context, *client.Client) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	v, err := question(limited, c)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = errInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the %s has not answered within %v: its log may tell why", c.Where(), answerPatience)
	}
	return v, err
}

// tell is ask where there is no answer but that it is done.
func tell(ctx context.Context, r *reach, order func(context.Context, *client.Client) error) error {
	_, err := ask(ctx, r, func(ctx context.Context, c *client.Client) (struct{}, error) { return struct{}{}, order(ctx, c) })
	return err
}

func (r *reach) status(ctx context.Context) (api.Status, error) {
	return ask(ctx, r, func(ctx context.Context, c *client.Client) (api.Status, error) { return c.Status(ctx) })
}

var errInterrupted = errors.New("interrupted")

// names lists something of the cluster, for shells to complete.
type names func(context.Context, *client.Client) ([]string, error)

// completeArgs lets shells complete the arguments of a command, each from its own
// list. A node that does not answer at once has nothing to offer.
func completeArgs(cmd *cobra.Command, r *reach, lists ...names) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(lists) || lists[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if err := applySettings(cmd, os.LookupEnv); err != nil { // --data may come from there
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		words, err := lists[len(args)](ctx, r.client())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func nodeNames(ctx context.Context, c *client.Client) (out []string, err error) {
	s, err := c.LocalStatus(ctx)
	for _, n := range s.Nodes {
		out = append(out, n.Name)
	}
	return out, err
}

func networkKeys(ctx context.Context, c *client.Client) (out []string, err error) {
	s, err := c.LocalStatus(ctx)
	for _, n := range s.Networks {
		out = append(out, n.Key)
	}
	return out, err
}

func tenantIDs(ctx context.Context, c *client.Client) (out []string, err error) {
	s, err := c.LocalStatus(ctx)
	for _, t := range s.Tenants {
		out = append(out, t.ID)
	}
	return out, err
}

func keyIDs(ctx context.Context, c *client.Client) (out []string, err error) {
	k, err := c.Keyring(ctx)
	for _, key := range k.Keys {
		out = append(out, key.ID)
	}
	return out, err
}
