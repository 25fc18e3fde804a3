package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/backtest"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Start begins the node's work and returns when it is ready to take some. A node
// that belongs to no cluster waits until it has joined one. The folder of
// documents, if there is one, is taken over first.
func (n *Node) Start(ctx context.Context) error {
	if err := n.listen(); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	if n.opts.HeartbeatURL != "" {
		n.pulse = newPulse(n)
		n.loops.Go(func() { n.pulse.run(background) })
	}
	if err := n.become(ctx); err != nil {
		return err
	}
	if err := n.openTables(); err != nil {
		return err
	}
	if err := n.openContents(background); err != nil {
		return err
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	n.loops.Go(func() { n.beat(background) })
	n.loops.Go(func() { n.watchStanding(background) })
	n.loops.Go(func() { n.lead(background) })
	n.loops.Go(func() { n.keepUp(background) })
	old := n.begun.Load() // this data directory was of the cluster before
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.settleStore(ctx); err != nil {
		return err
	}
	n.completeJournal()
	n.loops.Go(func() { n.followServers(background, old) })
	n.begin(background)
	if n.opts.Config != "" {
		if err := n.importAtStart(ctx); err != nil {
			return err
		}
	}
	if n.opts.Config == "" && n.opts.Checkpoints != "" {
		if err := n.importCheckpoints(ctx, n.networksCalled); err != nil {
			return err
		}
	}
	if n.opts.Config != "" {
		n.loops.Go(func() { n.watchSecrets(background) })
	}
	if n.tables != nil {
		n.loops.Go(func() { n.tables.run(background) })
	}
	n.health.started.Store(true)
	close(n.ready)
	n.log.Info("ready", "data", n.opts.DataDir, "listen", n.opts.Listen, "address", n.address)
	return nil
}

// become finds out, or waits to be told, which cluster this node belongs to.
func (n *Node) become(ctx context.Context) error {
	m, err := readMembership(n.opts.DataDir)
	switch {
	case err != nil:
		return err
	case m != nil:
		if n.opts.Insecure != m.Insecure {
			return fmt.Errorf("the data directory is of a cluster with insecure=%v: start the node accordingly", m.Insecure)
		}
		err = n.opts.checkCluster(m.Cluster, "the data directory "+n.opts.DataDir)
	case n.opts.Bundle != "":
		m, err = fromBundle(&n.opts)
	case n.opts.Bootstrap:
		m, err = found(&n.opts)
	default:
		n.log.Info("waiting: " + errNotMember.Error())
		select {
		case m = <-n.joined:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return err
	}
	if m.Peers == nil {
		m.Peers = map[string]string{}
	}
	maps.Copy(m.Peers, n.opts.Peers)
	n.membership = m
	n.isMember.Store(true)
	return nil
}

// importAtStart reads the folder, and takes it over if it is news. One that is
// refused stops a node whose cluster has nothing to go on with; any other goes on
// with what there was.
func (n *Node) importAtStart(ctx context.Context) error {
	n.importing.Lock()
	defer n.importing.Unlock()
	f, err := n.readFolder(ctx, n.opts.Config)
	if err == nil {
		var news bool
		if news, err = n.isNews(f); err == nil && !news {
			n.log.Info("the folder is not taken over: it has not changed since this node read it last, or the cluster has its tenants already; SIGHUP takes it over",
				"folder", n.opts.Config)
			return n.noteFolder(f, true)
		}
		// Before any tenant wants the networks: they begin at once then.
		if err == nil && n.opts.Checkpoints != "" {
			err = n.importCheckpoints(ctx, f.networksCalled)
		}
		if err == nil {
			err = n.takeOver(ctx, f)
		}
	}
	if err == nil && len(f.report.Refused) > 0 && len(f.report.Refused) == f.report.Tenants {
		err = fmt.Errorf("no tenant's configuration is valid: %w:\n%w", errRefused, f.report.Problems.Err())
	}
	if err == nil || !errors.Is(err, errRefused) && !errors.Is(err, ErrSharedNetworks) {
		return err
	}
	if !n.hasTenants(fsm.SourceFolder, fsm.SourceAPI, fsm.SourceTables) {
		return err
	}
	n.log.Error("the folder was not taken over; the node goes on with the configuration it had", "error", err)
	return nil
}

// begin starts judging and watching.
func (n *Node) begin(ctx context.Context) {
	n.lookUpOwn(ctx, map[string][]netip.Addr{}) // before anything is sent
	n.loops.Go(func() { n.learnOwn(ctx) })
	sender := noted{n.newSender(), &n.alone}
	triggers := store.NewTriggers(n.keeper)
	box := outbox.New(outbox.Options{
		Node: n.opts.Name, Contact: n.contact,
		Log: replicated{n}, Sender: sender, Triggers: triggers, Logger: n.log, Registerer: n.opts.Registry,
	})
	w := worker.New(worker.Options{
		Node: n.opts.Name, Contact: n.contact, Log: replicated{n}, Blocks: blocks{n.fetcher},
		Sender: sender, Triggers: triggers, Outbox: box, Recorder: recorder{n.journal, n.news}, Meter: &n.meter,
		Logger: n.log, Registerer: n.opts.Registry, Patience: n.opts.Patience,
	})
	n.worker.Store(w)
	n.outbox.Store(box)
	n.delivering.Store(&delivering{sender, triggers})
	n.loops.Go(func() { n.warm(ctx) })
	n.loops.Go(func() { n.mirror(ctx) })
	n.loops.Go(func() { n.watch.run(ctx) })
	n.loops.Go(func() { n.report(box.Run(ctx)) })
	n.loops.Go(func() { n.report(w.Run(ctx)) })
	past := backtest.New(backtest.Options{
		Node: n.opts.Name, Log: replicated{n}, Blocks: pastBlocks{n}, Meter: &n.meter, Logger: n.log, Registerer: n.opts.Registry,
	})
	n.loops.Go(func() { past.Run(ctx) })
	n.loops.Go(func() { n.housekeeping(ctx) })
	n.loops.Go(func() { n.meterUsage(ctx) })
}

// report ends the node on the error of a loop.
func (n *Node) report(err error) {
	if err != nil {
		n.die(err)
	}
}

// Wait returns when the node cannot go on, with the reason, or when ctx ends.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case err := <-n.fatal:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Failed delivers the reason when the node cannot go on, also during Start.
func (n *Node) Failed() <-chan error { return n.fatal }

// housekeeping does what is only due now and then.
func (n *Node) housekeeping(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if leads, _ := n.group.Leads(); !leads {
				continue
			}
			before := time.Now().Add(-time.Hour).UnixMilli()
			if _, err := n.group.Propose(ctx, &fsm.CollectBlobs{Before: before}); err != nil {
				n.log.Warn("unused documents could not be collected", "error", err)
			}
			n.collectContents(ctx)
		}
	}
}
