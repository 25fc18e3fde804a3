package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newTriggerTest(a *app) *cobra.Command {
	var at reach
	var q api.TriggerTest
	var file string
	cmd := &cobra.Command{
		Use:   "test TRIGGER",
		Short: "Send a sample alert through a trigger and show both sides",
		Long: `Sends one sample alert through a trigger and shows the request and the answer.
The sample says in its title that it is one. It is attempted once; nothing of it
is kept in the outbox, and no retry follows.

A tenant's trigger is tested by the node that sends for the tenant, under the
same rates and the same egress rules as real alerts. A receiver that is left alone
since it keeps failing is asked all the same, and no longer left alone once it has
accepted the sample. With --file it is read from a file and sent from here,
by whoever runs the command: no egress rules guard it.

With --monitor the sample has the names and arguments of that monitor, so that a
misspelt placeholder of the message shows. --state sends what a receiver gets
when an alert is confirmed, retracted or reinstated; the sample is the same
alert each time.

Secrets are not shown: of the address only scheme and host, of headers only those
that are no secrets.

Exit status 0 only if the destination has accepted the sample.`,
		Example: `  ozmo trigger test --tenant acme ops
  ozmo trigger test --tenant acme ops --monitor "Large transfers" --dry-run
  ozmo trigger test --tenant acme pager && ozmo trigger test --tenant acme pager --state retracted

  # without a node: from the folder
  ozmo trigger test --file config/triggers/slack.json ops --monitor config/monitors/usdc.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if file != "" && len(args) == 0 {
				return nil // the only one of the file
			}
			return exactArgs("TRIGGER")(cmd, args)
		},
	}
	at.register(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Tenant, "tenant", "", "tenant whose trigger it is, like \"default\"")
	f.StringVar(&file, "file", "", "read the trigger from a `FILE` of the folder, and send from here")
	state := newChoice("fired", "fired", "confirmed", "retracted", "reinstated")
	f.Var(state, "state", "of the sample: "+state.list())
	completeChoice(cmd, "state", state)
	f.StringVar(&q.Monitor, "monitor", "", "`NAME` of the tenant's monitor that the sample is of; with --file, a file")
	f.BoolVar(&q.DryRun, "dry-run", false, "show the request without sending it")
	output := addOutput(cmd, "text", "json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if q.Tenant != "" && file != "" {
			return usagef("--tenant %s and --file %s exclude each other: a trigger is one that a tenant has in the cluster, or one of a file", q.Tenant, file)
		}
		if q.Tenant == "" && file == "" {
			return usagef("say whose trigger it is: --tenant NAME, or --file FILE for one that is not in the cluster")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		q.State = state.value
		if len(args) > 0 {
			q.Trigger = args[0]
		}
		var done *api.TriggerTested
		var err error
		if file != "" {
			done, err = a.tryFromFile(ctx, file, q, cmd.OutOrStdout())
		} else {
			done, err = ask(ctx, &at, func(ctx context.Context, c *client.Client) (*api.TriggerTested, error) { return c.TestTrigger(ctx, q) })
		}
		if err != nil {
			return err
		}
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), done)
		} else {
			err = showTriggerTest(cmd.OutOrStdout(), done)
		}
		if err == nil && !done.OK {
			err = errFindings
		}
		return err
	}
	return cmd
}

// showTriggerTest shows both sides of a test.
func showTriggerTest(w io.Writer, t *api.TriggerTested) error {
	var b strings.Builder
	fmt.Fprintf(&b, "trigger %s (%s), a sample alert, %s\n", clean(t.Trigger), clean(t.Type), t.State)
	if r := t.Request; r != nil {
		fmt.Fprintf(&b, "\n> %s %s\n", clean(r.Method), clean(r.URL))
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			for _, value := range r.Header[name] {
				fmt.Fprintf(&b, "> %s: %s\n", clean(name), clean(value))
			}
		}
		b.WriteString(">\n")
		for line := range strings.Lines(r.Body) {
			fmt.Fprintf(&b, "> %s\n", clean(strings.TrimRight(line, "\r\n")))
		}
	}
	b.WriteByte('\n')
	switch {
	case t.Status == 0:
	case t.Type == spec.TriggerEmail:
		fmt.Fprintf(&b, "< SMTP %d after %d ms\n", t.Status, t.LatencyMS)
	default:
		fmt.Fprintf(&b, "< HTTP %d %s after %d ms\n", t.Status, http.StatusText(t.Status), t.LatencyMS)
	}
	for line := range strings.Lines(t.Excerpt) {
		fmt.Fprintf(&b, "< %s\n", clean(strings.TrimRight(line, "\r\n")))
	}
	from := ""
	if t.Node != "" {
		from = " from node " + t.Node
	}
	switch {
	case t.DryRun && t.OK:
		b.WriteString("nothing was sent: this was a dry run\n")
	case t.OK:
		fmt.Fprintf(&b, "accepted by %s, sent%s\n", clean(t.Destination), from)
	default:
		fmt.Fprintf(&b, "not accepted by %s, sent%s: %s\n", clean(t.Destination), from, clean(t.Error))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
