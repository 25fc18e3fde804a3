package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/durable"
)

// standard stands for standard input or output where a file is expected.
const standard = "-"

func newBackup(*app) *cobra.Command {
	var node reach
	var stale bool
	cmd := &cobra.Command{
		Use:   "backup [FILE|-]",
		Short: "Write everything the cluster must not forget into one file",
		Long: `Write everything the cluster must not forget into one file: documents, who judged
what, what was fired, what is still to be delivered. Any node can make it, while
all goes on.

FILE appears under its name only when the archive is whole, checked and on the
disk; one that is there is replaced. Without FILE, or where FILE is a folder, its
name is ozmo-CLUSTER-TIME.tar. - is standard output.

Without a leader nobody knows whether a node has everything, and the command fails
after a few seconds. With --stale it takes what the node that is asked has, and
the archive says so: do this on every node that is left before ` + "`ozmo recover`" + `,
and keep the one with the highest log index. A node that was started since there was
no leader has no more than its last snapshot.

Documents that are kept in PostgreSQL (--tenant-store postgres) are not in it: back
up that database too, after this, so that it has all that the archive points to.

Secrets in the archive are sealed. It is of use only together with the file
sealing.key of a node's data directory, or a bundle: keep one of these elsewhere.`,
		Example: `  ozmo backup
  ozmo backup /var/backups/ozmo/
  ozmo backup --stale last.tar    # there is no leader, and will be none
  ozmo backup - | ssh elsewhere 'cat > ozmo.tar'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one FILE, got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	node.register(cmd)
	cmd.Flags().BoolVar(&stale, "stale", false, "take what the node has, leader or not: what was committed without it is missing")
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, c := cmd.Context(), node.client()
		if len(args) == 1 && args[0] == standard {
			return backupTo(ctx, cmd, c, stale)
		}
		file, err := backupFile(ctx, &node, args)
		if err != nil {
			return err
		}
		counter, finish := newByteProgress(cmd.ErrOrStderr(), "backup", -1)
		made, err := backupInto(ctx, c, file, stale, counter)
		finish()
		if err != nil {
			return err
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), made)
		}
		what := ""
		if made.Stale {
			what = ", STALE: what one node had, without a leader's word that it is all"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of cluster %s, log index %d%s\n", made.File, count(uint64(made.Bytes), "byte"), made.Cluster, made.Index, what)
		return err
	}
	return cmd
}

// backupTo writes to standard output.
func backupTo(ctx context.Context, cmd *cobra.Command, c *client.Client, stale bool) error {
	if isTerminal(cmd.OutOrStdout()) {
		return usagef("an archive is not for a terminal: give a FILE, or direct the output elsewhere")
	}
	counter, finish := newByteProgress(cmd.ErrOrStderr(), "backup", -1)
	defer finish()
	if err := c.Backup(ctx, io.MultiWriter(cmd.OutOrStdout(), counter), stale); err != nil {
		return fmt.Errorf("%w; what was written is no archive", err)
	}
	return nil
}

// backupFile is where the archive goes.
func backupFile(ctx context.Context, node *reach, args []string) (string, error) {
	file := "."
	if len(args) == 1 {
		file = args[0]
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return file, nil
	case err != nil:
		return "", err
	case info.Mode().IsRegular():
		return file, nil
	case !info.IsDir():
		return "", fmt.Errorf("%s is neither a file nor a folder: use - and direct the output there", file)
	}
	s, err := ask(ctx, node, func(ctx context.Context, c *client.Client) (api.Status, error) { return c.LocalStatus(ctx) })
	if err != nil {
		return "", err
	}
	if s.Cluster == "" {
		return "", fmt.Errorf("%w: there is nothing to back up", standing(&s))
	}
	return filepath.Join(file, fmt.Sprintf("ozmo-%s-%s.tar", s.Cluster, time.Now().UTC().Format("20060102T150405Z"))), nil
}

// backedUp tells what was written.
type backedUp struct {
	File    string    `json:"file"`
	Bytes   int64     `json:"bytes"`
	Cluster string    `json:"cluster"`
	Index   uint64    `json:"index"`
	Created time.Time `json:"created"`
	Stale   bool      `json:"stale,omitempty"`
}

// backupInto makes an archive beside the file, checks it, and then gives it the
// file's name: under that name there is a whole archive, or what was there.
func backupInto(ctx context.Context, c *client.Client, file string, stale bool, counter io.Writer) (made backedUp, err error) {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*.tmp") // readable by its owner alone
	if err != nil {
		return made, err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // it may be closed already
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if err := c.Backup(ctx, io.MultiWriter(tmp, counter), stale); err != nil {
		return made, fmt.Errorf("%w; %s was not written", err, file)
	}
	if err := tmp.Sync(); err != nil {
		return made, err
	}
	made.File = file
	if made.Bytes, err = tmp.Seek(0, io.SeekEnd); err != nil {
		return made, err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return made, err
	}
	a, err := client.CheckArchive(tmp)
	if err != nil {
		return made, fmt.Errorf("the node sent what cannot be used: %w; %s was not written", err, file)
	}
	made.Cluster, made.Index, made.Created, made.Stale = a.Cluster, a.Index, a.Created, a.Stale
	if err := tmp.Close(); err != nil {
		return made, err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return made, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return made, fmt.Errorf("the archive is written, but may not survive a power loss: %w", err)
	}
	return made, nil
}
