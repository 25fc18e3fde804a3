package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/pki"
)

func newOperator(*app) *cobra.Command {
	cmd := group("operator", "Let people command the cluster from other machines",
		"  ozmo operator issue alice --valid 720h", newOperatorIssue())
	cmd.Long = `On the machine of a node, commands go over its local socket. From elsewhere they
go to the cluster port of any node, with an operator's certificate: --credentials
(or OZMO_CREDENTIALS) names the file that holds it. All commands on a cluster work
that way, but for those that make nodes and operators.

There is no list of operators: a certificate serves until it expires. One that has
leaked is answered with a new CA, so issue them for a short time.`
	return cmd
}

// issued tells of an operator's file.
type issued struct {
	Operator string    `json:"operator"`
	Cluster  string    `json:"cluster"`
	File     string    `json:"file"`
	Expires  time.Time `json:"expires"`
	Nodes    []string  `json:"nodes"`
}

func newOperatorIssue() *cobra.Command {
	var node reach
	var valid time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Make a file with which NAME commands the cluster from elsewhere",
		Long: `Make a file with which NAME commands the cluster from another machine. It holds
the cluster's name and CA, a key made here, its certificate, and the addresses of
the nodes. It is made on the machine of a node, which signs the certificate with
the key of the cluster's CA.

Whoever has the file commands the cluster until it expires: it cannot be taken
back. A file that is there is not replaced.`,
		Example: `  ozmo operator issue alice
  ozmo operator issue ci --valid 24h --out ci.operator
  ssh node-a sudo -u ozmo OZMO_DATA=/var/lib/ozmo ozmo operator issue alice --out - > alice.operator
  ozmo status --credentials alice.operator
  ozmo backup --credentials alice.operator --node a.example.net:7000`,
		Args: exactArgs("NAME"),
	}
	node.registerLocal(cmd)
	f := cmd.Flags()
	f.DurationVar(&valid, "valid", pki.OperatorValidity, "how long it serves")
	f.StringVar(&out, "out", "", "`FILE` to write (default: NAME.operator); - is standard output")
	if err := cmd.MarkFlagFilename("out"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if valid <= 0 {
			return usagef("--valid %v: want more than nothing, like 720h", valid)
		}
		if err := pki.CheckName(name); err != nil {
			return usageError{err}
		}
		if out == "" {
			out = name + ".operator"
		}
		switch _, err := os.Lstat(out); {
		case out == standard && isTerminal(cmd.OutOrStdout()):
			return usagef("a key is not for a terminal: give a FILE, or direct the output elsewhere")
		case out == standard:
		case err == nil:
			return fmt.Errorf("%s is there already and is not replaced: give another file with --out", out)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		o, err := issue(cmd.Context(), &node, name, valid)
		if err != nil {
			return err
		}
		for _, address := range o.Peers {
			if host, _, err := net.SplitHostPort(address); err == nil && net.ParseIP(host).IsLoopback() {
				fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: other machines cannot reach %s: start that node with --advertise HOST:PORT, or name it with --node HOST:PORT\n", address)
			}
		}
		if out == standard {
			data, err := o.Encode()
			if err == nil {
				_, err = cmd.OutOrStdout().Write(data)
			}
			return err
		}
		if err := pki.WriteOperator(out, o); err != nil {
			return err
		}
		made := issued{Operator: name, Cluster: o.Cluster, File: out, Expires: o.Expires(), Nodes: slices.Sorted(maps.Keys(o.Peers))}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), made)
		}
		return writeIssued(cmd.OutOrStdout(), made)
	}
	return cmd
}

// issue makes a key and has the node of this machine sign its certificate.
func issue(ctx context.Context, node *reach, name string, valid time.Duration) (*pki.Operator, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	request, err := pki.NewRequest(name, key)
	if err != nil {
		return nil, err
	}
	c, err := ask(ctx, node, func(ctx context.Context, c *client.Client) (api.OperatorCertificate, error) {
		return c.IssueOperator(ctx, api.OperatorRequest{Name: name, Valid: valid, Request: request})
	})
	if err != nil {
		return nil, err
	}
	o := &pki.Operator{Cluster: c.Cluster, Name: name, CA: string(c.CA), Cert: string(c.Cert), Key: string(keyPEM), Peers: c.Peers}
	data, err := o.Encode()
	if err == nil {
		_, err = pki.DecodeOperator(data)
	}
	if err != nil {
		return nil, fmt.Errorf("the node has sent what cannot be used: %w", err)
	}
	return o, nil
}

func writeIssued(w io.Writer, i issued) error {
	_, err := fmt.Fprintf(w, `%s: operator %s of cluster %s, until %s

Whoever has the file commands the cluster until then. Carry it over a safe way to
a machine that reaches the cluster port of %s:

  ozmo status --credentials %s
`, i.File, i.Operator, i.Cluster, i.Expires.Local().Format(time.DateTime+" MST"), strings.Join(i.Nodes, ", "), i.File)
	return err
}
