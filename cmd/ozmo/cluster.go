package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func newCluster(*app) *cobra.Command {
	return group("cluster", "Prepare clusters whose nodes begin together",
		"  ozmo cluster init --out bundles --nodes a=10.0.0.1:7000,b=10.0.0.2:7000,c=10.0.0.3:7000", newClusterInit())
}

// defaultCluster is the name of a cluster that is given none.
const defaultCluster = "ozmo"

func newClusterInit() *cobra.Command {
	var out, cluster string
	var nodes []string
	cmd := &cobra.Command{
		Use:   "init --out DIR --nodes NAME=HOST:PORT,...",
		Short: "Make the keys of a new cluster: a bundle for each node",
		Long: `Make the keys of a new cluster, on any machine and without connecting to anything:
DIR/NAME.bundle for each node holds its certificate and what all nodes have in
common. HOST:PORT is where the others reach the node's cluster port.

Whoever has a bundle can be a node of the cluster and read its secrets. Files that
are there are not replaced: the keys in them may be the only ones.`,
		Example: `  ozmo cluster init --out bundles --nodes a=10.0.0.1:7000,b=10.0.0.2:7000,c=10.0.0.3:7000
  ozmo cluster init --out bundles --cluster prod --nodes a=a.example.net:7000`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "folder `DIR` for the bundles; made when missing")
	f.StringSliceVar(&nodes, "nodes", nil, "`LIST` of all nodes that found the cluster: NAME=HOST:PORT,...")
	f.StringVar(&cluster, "cluster", defaultCluster, "name of the cluster")
	if err := cmd.MarkFlagDirname("out"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong mistakes
		if out == "" {
			wrong.addf("--out is needed: the folder for the bundles")
		}
		peers := readNodes(nodes, &wrong)
		if err := wrong.err(); err != nil {
			return usageError{err}
		}
		bundles, err := pki.NewBundles(cluster, peers)
		if err != nil {
			wrong.add(err)
			return usageError{wrong.err()}
		}
		files, err := pki.WriteBundles(out, bundles)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: give another folder with --out, or remove that one if its cluster is gone for good", err)
		}
		if err != nil {
			return err
		}
		made := make([]founder, len(files))
		for i, file := range files {
			made[i] = newFounder(bundles, i, file)
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), made)
		}
		return writeFounders(cmd.OutOrStdout(), cluster, made)
	}
	return cmd
}

// readNodes reads NAME=HOST:PORT.
func readNodes(nodes []string, wrong *mistakes) map[string]string {
	if len(nodes) == 0 {
		wrong.addf("--nodes is needed: NAME=HOST:PORT of each node, separated by commas")
	}
	out := make(map[string]string)
	for _, n := range nodes {
		name, address, ok := strings.Cut(strings.TrimSpace(n), "=")
		if !ok || name == "" || address == "" {
			wrong.addf("--nodes: %q: want NAME=HOST:PORT, like a=10.0.0.1:7000", n)
			continue
		}
		if _, twice := out[name]; twice {
			wrong.addf("--nodes: node %q is named twice", name)
		}
		out[name] = address
	}
	return out
}

// founder is a node that founds a cluster, and how it is started.
type founder struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Bundle  string `json:"bundle"`  // file
	Command string `json:"command"` // with the file in the current folder
}

func newFounder(bundles []pki.Bundle, i int, file string) founder {
	names := make([]string, len(bundles))
	for k, b := range bundles {
		names[k] = b.Node
	}
	b := bundles[i]
	address := b.Peers[b.Node]
	command := []string{
		"ozmo", "serve", "--node", b.Node, "--bundle", filepath.Base(file), "--advertise", address, "--bootstrap", strings.Join(names, ","),
	}
	if _, port, err := net.SplitHostPort(address); err == nil && port != "7000" {
		command = slices.Insert(command, 6, "--cluster-listen", ":"+port)
	}
	return founder{Node: b.Node, Address: address, Bundle: file, Command: strings.Join(command, " ")}
}

func writeFounders(w io.Writer, cluster string, made []founder) error {
	fmt.Fprintf(w, "Made the keys of cluster %s:\n\n", cluster)
	for _, f := range made {
		fmt.Fprintf(w, "  %s\n", f.Bundle)
	}
	fmt.Fprint(w, `
Carry each bundle to its node's machine, over a safe way, and delete this folder
afterwards: whoever has a bundle can read the cluster's secrets. Then start the
nodes, in any order:

`)
	for _, f := range made {
		fmt.Fprintf(w, "  %s\n", f.Command)
	}
	_, err := fmt.Fprint(w, "\nThe list after --bootstrap is the same on all of them. `ozmo status` shows how far\nthey are. Later starts need neither --bundle nor --bootstrap.\n")
	return err
}
