package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are the commands of ozmo, in the groups that help shows.
var commands = []struct {
	id, title string
	make      []func(*app) *cobra.Command
}{
	{"run", "Run:", []func(*app) *cobra.Command{newServe, newDemo}},
	{"see", "See what is going on:", []func(*app) *cobra.Command{newStatus, newCoverage, newAlert}},
	{"operate", "Look after a cluster:", []func(*app) *cobra.Command{newNode, newTenant, newUsage, newLease, newRebalance, newDelivery, newKeyring, newSecret, newKey, newOperator}},
	{"save", "Begin, keep and mend a cluster:", []func(*app) *cobra.Command{newCluster, newBackup, newRestore, newRecover}},
	{"write", "Write configurations:", []func(*app) *cobra.Command{newConfig, newMonitor, newTrigger, newBacktest}},
	{"tool", "About this program:", []func(*app) *cobra.Command{newOpenAPI, newVersion}},
}

func init() { cobra.EnableCommandSorting = false } // commands stand in the order they are used in

// app is what the commands share.
type app struct {
	log *slog.Logger // set before a command runs

	running bool // a command has begun: what fails from now on is no usage error
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{}
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // none would mean those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(stderr, cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ozmo",
		Short: "Watch blockchains for many tenants at once",
		Long: `ozmo watches blockchains for many tenants at once: each block is fetched once,
judged against every tenant's monitors, and the alerts are delivered. It reads
the configuration files of OpenZeppelin Monitor 1.6 unchanged.

Every flag can also be set by the environment and by a settings file. The
command line wins over the environment, the environment over the file:

  --log-level debug        on the command line
  OZMO_LOG_LEVEL=debug     in the environment
  log-level: debug         in the YAML file named by --config-file

Exit codes: 0 it worked; 1 it did not, or there are findings; 2 the command was
not understood; 78 this version is too old for its cluster.`,
		Example: `  ozmo serve --bootstrap --config ./config
  ozmo status
  ozmo config check ./config
  ozmo monitor test --monitor usdc.json --network mainnet.json --block 19000000
  ozmo completion bash > /etc/bash_completion.d/ozmo`,
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("ozmo {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			return usagef("--%s: %s", e.GetFlag().Name, plainSetError(err))
		}
		return usageError{err}
	})
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.String(configFileFlag, "", "YAML `FILE` with settings: a key for each flag")
	level := newChoice("info", "debug", "info", "warn", "error")
	format := newChoice("text", "text", "json")
	flags.Var(level, "log-level", "least level that is logged: "+level.list())
	flags.Var(format, "log-format", "format of the log on standard error: "+format.list())
	completeChoice(root, "log-level", level)
	completeChoice(root, "log-format", format)

	// Commands that need a hook of their own use PreRunE: a PersistentPreRunE
	// further down would replace this one.
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if isBuiltIn(cmd) {
			return nil
		}
		if err := applySettings(cmd, os.LookupEnv); err != nil {
			return usageError{err}
		}
		a.log = newLogger(cmd.ErrOrStderr(), level.value, format.value)
		return nil
	}
	for _, g := range commands {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.make {
			cmd := c(a)
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID("tool")
	root.SetCompletionCommandGroupID("tool")
	a.noteRunning(root)
	return root
}

// noteRunning makes every command say when it begins.
func (a *app) noteRunning(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return do(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		a.noteRunning(c)
	}
}

// isBuiltIn reports whether a command is one of cobra's own, which must work
// whatever the settings are.
func isBuiltIn(cmd *cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if n := c.Name(); n == "completion" || n == "help" || strings.HasPrefix(n, "__complete") {
			return true
		}
	}
	return false
}

// group is a command that only holds others.
func group(use, short, example string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example,
		DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2,
		Args: cobra.ArbitraryArgs, // so that a misspelt command reaches RunE
		RunE: func(cmd *cobra.Command, args []string) error {
			names := make([]string, 0, len(sub))
			for _, c := range sub {
				names = append(names, c.Name())
			}
			list := strings.Join(names, ", ")
			if len(args) == 0 {
				return usagef("%s needs a command: %s", cmd.CommandPath(), list)
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				list = near[0] + "?"
				return usagef("there is no command %q in %s; did you mean %s", args[0], cmd.CommandPath(), list)
			}
			return usagef("there is no command %q in %s, only: %s", args[0], cmd.CommandPath(), list)
		},
	}
	cmd.AddCommand(sub...)
	return cmd
}

func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		panic(fmt.Sprintf("log level %q was checked before: %v", level, err))
	}
	opts := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
