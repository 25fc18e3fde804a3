package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
)

func newCoverage(*app) *cobra.Command {
	cmd := group("coverage", "Show and prove what was judged",
		"  ozmo coverage show default ethereum_mainnet\n  ozmo coverage verify default ethereum_mainnet --from 19000000 --to 19000100",
		newCoverageShow(), newCoverageVerify())
	cmd.Long = `Every block that was announced is judged for every tenant that wants its
network, or coverage says why it was not. "show" tells what was judged with which
version of the configuration; "verify" fetches the blocks again, judges them
again, each with the configuration that was in force, and compares with the
alerts that were fired.`
	return cmd
}

// coverageFlags are what both commands take.
type coverageFlags struct {
	node     reach
	from, to uint64
	output   *choice
}

func (c *coverageFlags) register(cmd *cobra.Command) {
	c.node.register(cmd)
	f := cmd.Flags()
	f.Uint64Var(&c.from, "from", 0, "first block height")
	f.Uint64Var(&c.to, "to", 0, "last block height (default: the head)")
	c.output = addOutput(cmd, "table", "json")
}

func (c *coverageFlags) check() error {
	if c.to != 0 && c.from > c.to {
		return usagef("--from %d lies above --to %d", c.from, c.to)
	}
	return nil
}

func newCoverageShow() *cobra.Command {
	var flags coverageFlags
	cmd := &cobra.Command{
		Use:   "show TENANT NETWORK",
		Short: "What was judged, with which configuration version",
		Example: `  ozmo coverage show default ethereum_mainnet
  ozmo coverage show acme ethereum_mainnet --from 19000000 --to 19000100 --output json`,
		Args: exactArgs("TENANT", "NETWORK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, err := flags.node.client().Coverage(cmd.Context(), args[0], args[1], flags.from, flags.to)
			if err != nil {
				return err
			}
			if flags.output.value == "json" {
				return writeJSON(cmd.OutOrStdout(), c)
			}
			return showCoverage(cmd.OutOrStdout(), c)
		},
	}
	flags.register(cmd)
	return cmd
}

func showCoverage(w io.Writer, c api.Coverage) error {
	if len(c.Rows) == 0 {
		_, err := fmt.Fprintf(w, "tenant %s on %s: no block announced in this range; head %d\n", c.Tenant, c.Network, c.Head.Height)
		return err
	}
	t := newTable("BLOCKS", "POSITIONS", "STATUS", "CONFIG VERSION")
	var judged uint64
	for _, r := range c.Rows {
		if r.Status == api.Judged {
			judged += r.ToHeight - r.FromHeight + 1
		}
		version := ""
		if r.Version != 0 {
			version = strconv.FormatUint(r.Version, 10)
		}
		t.AppendRow(table.Row{heightsText(r.FromHeight, r.ToHeight), heightsText(r.FromPosition, r.ToPosition), r.Status, version})
	}
	writeTable(w, t)
	if slices.ContainsFunc(c.Rows, func(r api.CoverageRow) bool { return r.Status == api.Behind }) {
		if err := explainBehind(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "tenant %s on %s: %d announcements judged; head %d\n", c.Tenant, c.Network, judged, c.Head.Height)
	return err
}

// explainBehind says what to do about blocks that were left out.
func explainBehind(w io.Writer) error {
	_, err := fmt.Fprintln(w, `behind: left out, since the tenant was so far behind that others would have waited for it. Raise its quota or make`+"\n"+
		`its monitors cheaper; "ozmo monitor replay" then makes up for these blocks.`)
	return err
}

func heightsText(from, to uint64) string {
	if from == to {
		return strconv.FormatUint(from, 10)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

func newCoverageVerify() *cobra.Command {
	var flags coverageFlags
	cmd := &cobra.Command{
		Use:   "verify TENANT NETWORK",
		Short: "Judge a range again and compare with what was fired",
		Long: `Fetches every block of the range again, judges it with the configuration that
was in force when it was due, and compares with the alerts that were fired.
Exit status 0 only if every block of the range was judged and every alert that
judging again finds was fired.

An alert of a block that is final is looked for in the journals of the nodes. Where
one of them is lost, with a disk or a removed node, an alert of the time before that
nobody else has is not called missing but not provable.`,
		Example: `  ozmo coverage verify default ethereum_mainnet --from 19000000 --to 19000100
  ozmo coverage verify acme ethereum_mainnet --from 19000000 --output json | jq .missing`,
		Args: exactArgs("TENANT", "NETWORK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			v, err := verifyWithBar(ctx, cmd, &flags, args[0], args[1])
			if err != nil {
				return err
			}
			if flags.output.value == "json" {
				err = writeJSON(cmd.OutOrStdout(), v)
			} else {
				err = showVerification(cmd.OutOrStdout(), v)
			}
			if err == nil && !v.Proved() {
				err = errFindings
			}
			return err
		},
	}
	flags.register(cmd)
	return cmd
}

func verifyWithBar(ctx context.Context, cmd *cobra.Command, flags *coverageFlags, tenant, network string) (*api.Verification, error) {
	bar := newProgress(cmd.ErrOrStderr(), "judging again")
	defer bar.finish()
	return flags.node.client().Verify(ctx, tenant, network, flags.from, flags.to, func(p api.Progress) {
		bar.set(p.Done, p.Total)
	})
}

func showVerification(w io.Writer, v *api.Verification) error {
	t := newTable("FINDING", "BLOCK", "MONITOR", "TRANSACTION")
	add := func(kind string, list []api.Fired) {
		for _, f := range list {
			t.AppendRow(table.Row{kind, f.Block.Height, f.Monitor, f.Tx})
		}
	}
	add("missing", v.Missing)
	add("unexpected", v.Unexpected)
	if t.Length() > 0 {
		writeTable(w, t)
	}
	for _, h := range v.NotJudged {
		if _, err := fmt.Fprintf(w, "blocks %s: not judged: %s\n", heightsText(h.From, h.To), h.Reason); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(v.NotJudged, func(h api.Heights) bool { return h.Reason == string(api.Behind) }) {
		if err := explainBehind(w); err != nil {
			return err
		}
	}
	for _, h := range v.Unprovable {
		if _, err := fmt.Fprintf(w, "blocks %s: not provable: %s\n", heightsText(h.From, h.To), h.Reason); err != nil {
			return err
		}
	}
	if len(v.Silent) > 0 {
		if _, err := fmt.Fprintf(w, "these nodes' journals could not be asked: %s\n", strings.Join(v.Silent, ", ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "tenant %s on %s, blocks %d-%d: %d judged again, %d alerts expected, %d confirmed, %d missing, %d not provable, %d unexpected, %d of blocks since rolled back\n",
		v.Tenant, v.Network, v.From, v.To, v.Blocks, v.Expected, v.Confirmed, len(v.Missing), v.Unproved, len(v.Unexpected), v.RolledBack)
	return err
}
