package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

const (
	answerPatience     = 30 * time.Second // for a node to answer a short question
	completionPatience = time.Second      // for a shell that waits for words
)

// reach is how a command finds the node it talks to.
type reach struct{ data string }

func (r *reach) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.data, "data", defaultDataDir(), "data directory of the running node, which holds its socket")
	if err := cmd.MarkFlagDirname("data"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

func (r *reach) client() *client.Client { return client.New(r.data) }

// ask puts a short question to the node.
func ask[T any](ctx context.Context, r *reach, question func(context.Context, *client.Client) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	v, err := question(limited, r.client())
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = errInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the node of %s has not answered within %v: its log may tell why", r.data, answerPatience)
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
