package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

// alone is what --bootstrap means without a list.
const alone = "alone"

// serveFlags are those that need a second look.
type serveFlags struct {
	bootstrap  string
	redisFile  string
	storeFile  string
	sourceFile string
}

func newServe(a *app) *cobra.Command {
	opts := node.Options{}
	var more serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: watch the networks, judge their blocks, deliver the alerts",
		Long: `Run a node until it is told to stop (Ctrl-C, SIGTERM).

A node is part of a cluster, if only of one node. With --bootstrap, a node whose
data directory is empty founds one; without, it waits until ` + "`ozmo node join`" + `
has it join one. Nodes with bundles made by ` + "`ozmo cluster init`" + ` found a cluster
together: --bundle FILE --bootstrap a,b,c. Later starts need neither.

The folder given with --config is OpenZeppelin Monitor's: networks/, monitors/,
triggers/ and filters/ are one tenant called "default". With tenants/NAME/ in it,
each of those is a tenant with the same layout, and networks/ is shared by all.
SIGHUP takes the folder over. At the start a node takes it over if it has changed
since that node read it last, or if the cluster has no tenants yet: a node that
comes back with an older copy changes nothing. A tenant whose documents have
errors keeps what it had.

What the node must not forget is in the data directory. After a crash it goes on
where it stopped: no block is skipped, no alert lost. On SIGTERM it hands its
work to the other nodes first.

Exit code 78: the cluster uses what this version does not know; upgrade it.`,
		Example: `  ozmo serve --bootstrap --config ./config            # a cluster of one node
  ozmo serve --advertise 10.0.0.2:7000                # waits for ` + "`ozmo node join`" + `
  ozmo serve --bundle a.bundle --bootstrap a,b,c      # founds a cluster with b and c
  ozmo serve --bootstrap --config ./config --checkpoints ./data   # go on where OpenZeppelin Monitor left off
  kill -HUP $(pidof ozmo)                             # read the folder again`,
		Args: func(cmd *cobra.Command, args []string) error {
			// "--bootstrap a,b,c" and "--bootstrap=a,b,c" mean the same.
			if len(args) == 1 && more.bootstrap == alone && cmd.Flags().Changed("bootstrap") {
				more.bootstrap = args[0]
				return nil
			}
			if len(args) > 0 {
				return usagef("%s takes no arguments, got %q: flags begin with --", cmd.CommandPath(), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := more.apply(&opts); err != nil {
				return usageError{err}
			}
			opts.Logger = a.log
			opts.Console = cmd.OutOrStdout()
			opts.Version = buildVersion()
			return serve(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Config, "config", "", "folder of documents; empty: what the cluster holds")
	f.StringVar(&opts.DataDir, "data", defaultDataDir(), "data directory: log, snapshots, keys, journal, socket")
	f.StringVar(&opts.Name, "node", "", "name of this node (default: the one the data directory has, or the host's)")
	f.StringVar(&opts.Listen, "listen", "127.0.0.1:8080", "address of the API, /livez, /readyz and /metrics; none with --listen= (an empty OZMO_LISTEN counts as not set)")
	f.StringSliceVar(&opts.HTTP.CORSOrigins, "http-cors-origins", nil, "origins of pages that may use the API, like https://console.example.com (repeatable, or with commas; default: none)")
	f.StringVar(&opts.HTTP.TLSCert, "http-tls-cert", "", "certificate of the HTTP port (PEM `FILE`), read again when it changes; empty: plain HTTP")
	f.StringVar(&opts.HTTP.TLSKey, "http-tls-key", "", "its key (PEM `FILE`)")
	f.Float64Var(&opts.HTTP.KeyRate, "http-rate-key", 100, "most requests a second with one key of a tenant, twice as many at once; 0: any number")
	f.Float64Var(&opts.HTTP.AddressRate, "http-rate-address", 500, "the same from one address, but for operators'; 0: any number, as behind a proxy, where all have one")
	f.StringVar(&opts.ClusterListen, "cluster-listen", ":7000", "address for the other nodes, TCP and UDP")
	f.StringVar(&opts.Advertise, "advertise", "", "`HOST:PORT` at which the others reach this node (default: as it listens)")
	f.StringVar(&more.bootstrap, "bootstrap", "", "found a cluster: alone (without a value, or with that word), or with the nodes of a `LIST` like a,b,c")
	f.Lookup("bootstrap").NoOptDefVal = alone
	f.StringVar(&opts.Bundle, "bundle", "", "`FILE` made for this node by ozmo cluster init")
	f.StringVar(&opts.Cluster, "cluster", "", "name of a cluster that is founded (default \"ozmo\")")
	f.StringArrayVar(&opts.Join, "join", nil, "`HOST:PORT` of another node, should none that is known be where it was (repeatable)")
	f.StringVar(&opts.Roles, "roles", "", "what this node does: `LIST` of watcher, worker, api (default: all)")
	f.Uint32Var(&opts.Weight, "weight", 100, "capacity in `PERCENT` of a normal node: how many tenants it takes")
	f.IntVar(&opts.Voters, "voters", 3, "most voters of the Raft group: 1, 3 or 5; the same on all nodes")
	f.StringVar(&opts.Placement.Strategy, "placement", "consistent-hashing", "how tenants are placed: consistent-hashing, round-robin, least-loaded or activity-based; the same on all nodes")
	f.Float64Var(&opts.Placement.Threshold, "rebalance-threshold", 0.2, "imbalance, (max - min) / average, above which tenants are moved")
	f.DurationVar(&opts.Placement.Interval, "rebalance-interval", 0, "least `TIME` between two rebalancings (default 5m)")
	f.IntVar(&opts.Placement.MaxTenants, "max-tenants", 0, "most tenants of a node; 0: no limit")
	f.StringVar(&opts.RedisURL, "redis-url", "", "shared block cache: redis://, rediss:// or unix:// `URL`; empty: none")
	f.StringVar(&more.redisFile, "redis-url-file", "", "`FILE` that holds the URL of the shared block cache")
	f.StringVar(&opts.TenantStore, "tenant-store", "", "where tenants' documents are kept: embedded or postgres; the same on all nodes (default: where the cluster has them, at first embedded)")
	f.StringVar(&opts.PostgresURL, "postgres-url", "", "tenant store: postgres:// `URL` of a database of the cluster's own; on all nodes; empty: none")
	f.StringVar(&more.storeFile, "postgres-url-file", "", "`FILE` that holds the URL of the tenant store")
	f.StringVar(&opts.PostgresSourceURL, "postgres-source-url", "", "tenants of another program: postgres:// `URL` of a database whose tables are followed, and never written; on all nodes (docs/postgres.md)")
	f.StringVar(&more.sourceFile, "postgres-source-url-file", "", "`FILE` that holds that URL")
	f.DurationVar(&opts.SourceInterval, "postgres-source-interval", 5*time.Second, "`TIME` between two looks at those tables, unless they tell what changes")
	f.Int64Var(&opts.CacheBytes, "cache-bytes", 256<<20, "size of the block cache in memory")
	f.StringSliceVar(&opts.EgressAllow, "egress-allow", nil, "what tenants' webhooks, mail servers and endpoints may be beside public addresses: `CIDR`, address, host name or *.suffix (repeatable, or with commas)")
	f.StringSliceVar(&opts.EgressDeny, "egress-deny", nil, "what they may not be, whatever is allowed: `CIDR`, address, host name or *.suffix (repeatable, or with commas)")
	f.IntVar(&opts.Sending.PerDestination, "concurrency-destination", 8, "most attempts to deliver at a time, of one tenant to one destination")
	f.IntVar(&opts.Sending.PerTenant, "concurrency-tenant", 32, "the same, of one tenant to all its destinations")
	f.IntVar(&opts.Sending.PerNode, "concurrency-node", 2048, "the same, of all tenants of this node; a quarter is kept for tenants with next to none under way")
	f.Float64Var(&opts.Sending.DestinationRate, "rate-destination", 1000, "most attempts a second of one tenant to one webhook, twice as many at once; chat services and mail have rates of their own")
	f.Float64Var(&opts.Sending.TenantRate, "rate-tenant", 2000, "most attempts a second of one tenant, twice as many at once")
	f.StringVar(&opts.TLSCert, "tls-cert", "", "this node's certificate (PEM `FILE`), instead of the cluster's own")
	f.StringVar(&opts.TLSKey, "tls-key", "", "its key (PEM `FILE`)")
	f.StringVar(&opts.TLSCA, "tls-ca", "", "CA of all nodes' certificates (PEM `FILE`)")
	f.BoolVar(&opts.Insecure, "insecure", false, "no TLS and no encryption between the nodes; on loopback only")
	f.StringVar(&opts.Profile, "profile", "lan", "how soon a silent node counts as dead: lan, or mesh where networks are slow")
	f.Float64Var(&opts.RaftMultiplier, "raft-multiplier", 1, "scales the timeouts of Raft, gossip and leases, for slow machines; the same on all nodes")
	f.StringVar(&opts.Checkpoints, "checkpoints", "", "state folder of OpenZeppelin Monitor whose checkpoints new networks start from")
	f.StringVar(&opts.HeartbeatURL, "heartbeat-url", "", "`URL` that every node reports to at intervals, signed: its silence is the alarm; empty: none")
	f.DurationVar(&opts.HeartbeatInterval, "heartbeat-interval", time.Minute, "`TIME` between two reports, 1s or more")
	f.StringVar(&opts.HeartbeatSecretFile, "heartbeat-secret-file", "", "`FILE` with the secret that signs the reports; read anew each time")
	for flag, words := range map[string][]string{
		"profile":      {"lan", "mesh"},
		"placement":    {"consistent-hashing", "round-robin", "least-loaded", "activity-based"},
		"voters":       {"1", "3", "5"},
		"tenant-store": {"embedded", "postgres"},
	} {
		completeChoice(cmd, flag, newChoice(words[0], words...))
	}
	return cmd
}

// apply completes the options; all mistakes are told together.
func (m *serveFlags) apply(opts *node.Options) error {
	var wrong mistakes
	switch m.bootstrap {
	case "":
	case alone:
		opts.Bootstrap = true
	default:
		opts.Bootstrap = true
		for f := range strings.SplitSeq(m.bootstrap, ",") {
			name, address, given := strings.Cut(strings.TrimSpace(f), "=")
			if name == "" {
				wrong.addf("--bootstrap %q: a name is empty", m.bootstrap)
				continue
			}
			opts.Founders = append(opts.Founders, name)
			if given {
				if opts.Peers == nil {
					opts.Peers = map[string]string{}
				}
				opts.Peers[name] = address
			}
		}
	}
	switch {
	case m.bootstrap == alone && opts.Bundle != "":
		wrong.addf("--bundle and --bootstrap: name the nodes that found the cluster, the same on all of them, like --bootstrap a,b,c")
	case opts.Bundle == "" && len(opts.Founders) == 1 && opts.Founders[0] == opts.Name:
		opts.Founders = nil // alone, by its own name
	}
	fromFile(&wrong, "redis-url", m.redisFile, &opts.RedisURL)
	fromFile(&wrong, "postgres-url", m.storeFile, &opts.PostgresURL)
	fromFile(&wrong, "postgres-source-url", m.sourceFile, &opts.PostgresSourceURL)
	if opts.Insecure && opts.TLSCert+opts.TLSKey+opts.TLSCA != "" {
		wrong.addf("--insecure and --tls-cert, --tls-key, --tls-ca: either the nodes use TLS or they do not")
	}
	m.checkNumbers(opts, &wrong)
	wrong.add(opts.Check())
	return wrong.err()
}

// fromFile reads a setting that must not be in the list of processes.
func fromFile(wrong *mistakes, flag, file string, value *string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	switch {
	case *value != "":
		wrong.addf("--%s and --%s-file: give one of them", flag, flag)
	case err != nil:
		wrong.addf("--%s-file: %v", flag, err)
	}
	*value = strings.TrimSpace(string(text))
}

// checkNumbers refuses what a node would take for "not given", or cannot mean.
func (m *serveFlags) checkNumbers(opts *node.Options, wrong *mistakes) {
	if opts.Weight == 0 {
		wrong.addf("--weight 0: want 1 or more; a node that takes no tenants has --roles without worker")
	}
	if opts.Voters == 0 {
		wrong.addf("--voters 0: want 1, 3 or 5")
	}
	if opts.RaftMultiplier == 0 {
		wrong.addf("--raft-multiplier 0: want 0.1 to 100")
	}
	if opts.Placement.Threshold <= 0 {
		wrong.addf("--rebalance-threshold %v: want more than 0, like 0.2", opts.Placement.Threshold)
	}
	if opts.Placement.Interval < 0 {
		wrong.addf("--rebalance-interval %v: want no less than 0", opts.Placement.Interval)
	}
	if opts.Placement.MaxTenants < 0 {
		wrong.addf("--max-tenants %d: want 0 (no limit) or more", opts.Placement.MaxTenants)
	}
	if opts.CacheBytes <= 0 {
		wrong.addf("--cache-bytes %d: want more than 0", opts.CacheBytes)
	}
	for _, f := range []struct {
		flag string
		n    float64
	}{
		{"concurrency-destination", float64(opts.Sending.PerDestination)},
		{"concurrency-tenant", float64(opts.Sending.PerTenant)},
		{"concurrency-node", float64(opts.Sending.PerNode)},
		{"rate-destination", opts.Sending.DestinationRate},
		{"rate-tenant", opts.Sending.TenantRate},
	} {
		if f.n == 0 {
			wrong.addf("--%s 0: want more than 0", f.flag)
		}
	}
	if opts.HeartbeatInterval == 0 {
		wrong.addf("--heartbeat-interval 0s: want 1s or more; without --heartbeat-url there is none")
	}
	if opts.DataDir == "" {
		wrong.addf("--data is empty: name the data directory")
	}
}

// defaultDataDir is where a node keeps its data unless it is told.
func defaultDataDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "ozmo")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "ozmo-data"
	}
	return filepath.Join(home, ".local", "state", "ozmo")
}

func serve(ctx context.Context, opts node.Options) error {
	// A file that must not grow any further is an error of that write, which
	// stops the node with a message, and not a signal that kills it.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	n, err := node.New(opts)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		if ctx.Err() != nil {
			opts.Logger.Info("stopping before the start was complete")
			return n.Stop() // it was told to: that is no failure
		}
		return errors.Join(err, n.Stop())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if _, err := n.Reload(ctx); err != nil {
					opts.Logger.Error("the folder was not taken over", "error", err)
				}
			}
		}
	}()
	failed := n.Wait(ctx)
	stop()
	<-done
	opts.Logger.Info("stopping")
	if failed != nil {
		return errors.Join(fmt.Errorf("the node stopped: %w", failed), n.Kill())
	}
	return n.Stop()
}
