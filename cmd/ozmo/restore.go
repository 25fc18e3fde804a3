package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newRestore(*app) *cobra.Command {
	var node reach
	var sure confirmation
	var incomplete bool
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Put an archive of `ozmo backup` in the place of what the cluster holds",
		Long: `Put an archive of ` + "`ozmo backup`" + ` in the place of everything the cluster holds:
tenants, their documents and secrets, what was judged, fired and is to be
delivered. What came after the archive is gone. Nodes, certificates and keys stay
those of the running cluster; positions and epochs go on above all that were ever
used. Networks go on from the archive's heads: blocks since then are judged
again, and their alerts sent again, with the same keys.

The cluster needs the sealing key of the one the archive is of. The archive is
checked from its first to its last byte before anything changes. - reads it from
standard input.

Documents that are kept in PostgreSQL (--tenant-store postgres) are not in it: bring
that database back first, from a dump made after the archive. An archive that points
to documents that are not there is refused, with the tenants that they are of; with
--incomplete it is restored all the same, and these tenants wait for them.`,
		Example: `  ozmo restore ozmo-prod-20260301T031700Z.tar
  ssh elsewhere cat ozmo.tar | ozmo restore - --yes`,
		Args: exactArgs("FILE|-"),
	}
	node.register(cmd)
	sure.register(cmd)
	cmd.Flags().BoolVar(&incomplete, "incomplete", false, "restore also what points to documents that PostgreSQL does not have, or while it does not answer")
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var answers any
		if args[0] != standard { // else standard input is the archive
			answers = cmd.InOrStdin()
		}
		if err := sure.check(cmd, answers); err != nil {
			return err
		}
		f, a, err := openArchive(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer f.Close()
		s, err := node.status(cmd.Context())
		if err != nil {
			return err
		}
		if err := standing(&s); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), `The archive is of cluster %s, made %s by version %s, at log index %d.
It replaces all that cluster %s holds now: %s and %s.
`, clean(a.Cluster), a.Created.Local().Format(time.DateTime+" MST"), clean(a.Version), a.Index,
			s.Cluster, count(len(s.Tenants), "tenant"), count(len(s.Networks), "network"))
		if a.Stale {
			fmt.Fprintf(cmd.ErrOrStderr(), "It is STALE: what one node had when there was no leader.\n")
		}
		if a.Cluster != s.Cluster {
			fmt.Fprintf(cmd.ErrOrStderr(), "These are two CLUSTERS OF DIFFERENT NAMES.\n")
		}
		if err := sure.ask(cmd, "Replace it?"); err != nil {
			return err
		}
		done, err := restore(cmd.Context(), node.client(), f, incomplete, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), done)
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "restored %s and %s, as of log index %d\n", count(done.Tenants, "tenant"), count(done.Networks, "network"), done.Index); err != nil {
			return err
		}
		for _, m := range done.Missing {
			what := "cannot return to versions that had them"
			if m.InForce > 0 {
				what = "WAITS until they are there"
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "tenant %s: %s in force and %d of earlier versions are missing in PostgreSQL: it %s\n",
				m.Tenant, count(m.InForce, "document"), m.Earlier, what); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// openArchive checks an archive and opens it at its beginning. One from standard
// input is put into a temporary file that has no name any more.
func openArchive(name string, stdin io.Reader) (f *os.File, a client.Archive, err error) {
	if name == standard {
		if f, err = os.CreateTemp("", "ozmo-restore-*.tar"); err != nil {
			return nil, a, err
		}
		_, err = io.Copy(f, stdin)
		err = errors.Join(err, os.Remove(f.Name()))
	} else {
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, a, closeAlso(f, err)
	}
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		if a, err = client.CheckArchive(f); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		} else {
			_, err = f.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		return nil, a, closeAlso(f, err)
	}
	return f, a, nil
}

func closeAlso(f *os.File, err error) error {
	if f != nil {
		_ = f.Close() // it was only read
	}
	return err
}

func restore(ctx context.Context, c *client.Client, f *os.File, incomplete bool, stderr io.Writer) (api.Restored, error) {
	info, err := f.Stat()
	if err != nil {
		return api.Restored{}, err
	}
	counter, finish := newByteProgress(stderr, "restore", info.Size())
	defer finish()
	return c.Restore(ctx, io.TeeReader(f, counter), incomplete)
}
