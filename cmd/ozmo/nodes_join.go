package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/pki"
)

func newTokenCreate() *cobra.Command {
	var node reach
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token with which one node may join",
		Long: `Make a token with which one node may join, once, until it expires. It is shown
this once: the cluster keeps only a hash. Whoever has it can become a node, and
read every secret of the cluster: pass it on as you would a password.`,
		Example: `  ozmo node token create
  ozmo node token create --ttl 10m --output json | jq -r .token | ssh new ozmo node join --token - a.example.net:7000`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it may be used")
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if ttl <= 0 {
			return usagef("--ttl %v: want more than nothing, like 1h", ttl)
		}
		t, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Token, error) { return c.CreateToken(ctx, ttl) })
		if err != nil {
			return err
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), t)
		}
		if host, _, err := net.SplitHostPort(t.Address); err == nil && net.ParseIP(host).IsLoopback() {
			fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: other machines cannot reach %s: start this node with --advertise HOST:PORT, or name another node below\n", t.Address)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), `%s

It lets one node join, once, until %s. On the new machine, where
`+"`ozmo serve`"+` is waiting:

  ozmo node join --token %s %s
`, t.Token, t.Expires.Local().Format(time.DateTime+" MST"), t.Token, t.Address)
		return err
	}
	return cmd
}

const joinPatience = 10 * time.Minute

func newNodeJoin() *cobra.Command {
	var node reach
	var token tokenFlags
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "join HOST:PORT",
		Short: "Have the node of this machine join a cluster",
		Long: `Have the node of this machine, which ` + "`ozmo serve`" + ` has started and which waits,
join the cluster that has a node at HOST:PORT (the cluster port, 7000 unless told
otherwise). It shows the token there, gets certificate and keys, and is taken
into the Raft group. The command returns when the node is a member and has caught
up, or tells why it is not.

The token comes from ` + "`ozmo node token create`" + ` on any node of the cluster. A token
on the command line can be seen by other users of the machine while the command
runs; --token - reads it from standard input.`,
		Example: `  ozmo node join --token ozmo1.Zm9v... a.example.net:7000
  ozmo node join --token-file /run/secrets/token a.example.net:7000
  OZMO_TOKEN=ozmo1.Zm9v... ozmo node join a.example.net:7000`,
		Args: exactArgs("HOST:PORT"),
	}
	node.registerLocal(cmd)
	f := cmd.Flags()
	f.StringVar(&token.token, "token", "", "`TOKEN` of the cluster; - reads it from standard input")
	f.StringVar(&token.file, "token-file", "", "`FILE` that holds the token")
	f.DurationVar(&timeout, "timeout", joinPatience, "how long to wait until the node is a member")
	output := addOutput(cmd, "text", "json")
	completeArgs(cmd, &node)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		secret, err := token.read(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if _, err := pki.ParseToken(secret); err != nil { // which does not show it
			return usagef("%s: %w; `ozmo node token create` prints one", token.from(), err)
		}
		if _, _, err := net.SplitHostPort(args[0]); err != nil {
			return usagef("%q: want HOST:PORT, like a.example.net:7000", args[0])
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		last := ""
		done, err := node.client().Join(ctx, api.Join{Token: secret, Address: args[0]}, func(step string) {
			last = step
			fmt.Fprintln(cmd.ErrOrStderr(), step)
		})
		switch {
		case err != nil && cmd.Context().Err() != nil:
			return fmt.Errorf("%w while %s: see `ozmo status` for whether the node joins all the same", errInterrupted, or(last))
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("not a member after %v (%s): the node may go on trying, see `ozmo status` and its log", timeout, or(last))
		case err != nil:
			return err
		case output.value == "json":
			return writeJSON(cmd.OutOrStdout(), done)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %s has joined cluster %s as a %s; it had caught up at log index %d\n", done.Node, done.Cluster, done.Raft, done.Index)
		return err
	}
	return cmd
}

// tokenFlags are the ways to give a token.
type tokenFlags struct{ token, file string }

// from names the way that was taken.
func (t *tokenFlags) from() string {
	switch {
	case t.file != "":
		return "--token-file " + t.file
	case t.token == "-":
		return "standard input"
	}
	return "--token"
}

// maxToken bounds what is read as a token, in bytes.
const maxToken = 4096

func (t *tokenFlags) read(stdin io.Reader) (string, error) {
	var from io.Reader
	switch {
	case t.token != "" && t.file != "":
		return "", usagef("--token and --token-file (or OZMO_TOKEN and OZMO_TOKEN_FILE): give one of them")
	case t.token == "" && t.file == "":
		return "", usagef("a token is needed: --token, --token-file or OZMO_TOKEN; `ozmo node token create` makes one on a node of the cluster")
	case t.token == "-":
		from = stdin
	case t.file != "":
		f, err := os.Open(filepath.Clean(t.file))
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		defer f.Close()
		from = f
	default:
		return strings.TrimSpace(t.token), nil
	}
	line, err := bufio.NewReader(io.LimitReader(from, maxToken)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("there is no token where one should be read from")
	}
	return line, nil
}
