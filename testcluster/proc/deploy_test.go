package proc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/manifests"
	"github.com/ozmo-dev/ozmo/testcluster/redis"
)

// deployed is a node that runs with the arguments and the environment that a
// manifest gives it. Only what cannot be the same on loopback is replaced: the
// addresses and the folders.
type deployed struct {
	name, data, listen string
	command            manifests.Command
	probes             map[string]manifests.Probe // empty: those of no manifest
	grace              time.Duration
	process            *Process
}

func (d *deployed) start(t *testing.T, log *Log) {
	t.Helper()
	by := []string{"env", "-i"}
	by = append(by, d.command.Environ()...)
	d.process = startUnder(t, log, by, "ozmo", d.command.Args...)
}

func (d *deployed) status(ctx context.Context) (api.Status, error) {
	return client.New(d.data).Status(ctx)
}

// TestStatefulSetRuns runs the pods of the StatefulSet as processes.
func TestStatefulSetRuns(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cache := redis.Start(t, redis.Options{})
	set, err := manifests.ReadStatefulSet(filepath.Join(root, "deploy/kubernetes/base/statefulset.yaml"), "prod", map[string]string{"ozmo-redis/url": cache.URL()})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*deployed
	for _, pod := range set.Pods {
		nodes = append(nodes, &deployed{
			name: pod.Name, command: pod.Command, grace: pod.Grace - pod.PreStop,
			probes: map[string]manifests.Probe{"startup": pod.Startup, "liveness": pod.Liveness, "readiness": pod.Readiness},
		})
	}
	runDeployed(t, nodes)
}

// TestUnitRuns runs the systemd unit on three machines that are none.
func TestUnitRuns(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*deployed
	for _, name := range []string{"a", "b", "c"} {
		unit, err := manifests.ReadUnit(filepath.Join(root, "deploy/systemd/ozmo.service"), filepath.Join(root, "deploy/systemd/ozmo.env"))
		if err != nil {
			t.Fatal(err)
		}
		if err := unit.Set("node", name); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &deployed{name: name, command: unit.Command, grace: unit.StopTimeout})
	}
	runDeployed(t, nodes)
}

func runDeployed(t *testing.T, nodes []*deployed) {
	dir := Dir(t)
	chain := StartChain(t, dir)
	receiver := NewReceiver(t)
	config := Folder{filepath.Join(dir, "config")}
	config.Write(t, "networks/dev.json", Network("dev", chain.ChainID, 1, chain.RPC, chain.WS))
	config.Write(t, "triggers/hook.json", Webhooks("hook", receiver.URL+"/default", receiver.Secret))
	config.Write(t, "monitors/transfers.json", Monitor("transfers", "dev", chain.Token, "hook", Event("")))

	addresses := map[string]string{}
	for _, n := range nodes {
		addresses[n.name] = fixedAddress(t)
	}
	bundles, err := pki.NewBundles("prod", addresses)
	if err != nil {
		t.Fatal(err)
	}
	files, err := pki.WriteBundles(filepath.Join(dir, "bundles"), bundles)
	if err != nil {
		t.Fatal(err)
	}
	bundleOf := map[string]string{}
	for i, b := range bundles {
		bundleOf[b.Node] = files[i]
	}
	log := NewLog(t, filepath.Join(dir, "ozmo.log"))
	for _, n := range nodes {
		n.data, n.listen = filepath.Join(dir, n.name), FreeAddress(t)
		for flag, value := range map[string]string{
			"data": n.data, "listen": n.listen, "cluster-listen": addresses[n.name], "advertise": addresses[n.name],
			"bundle": bundleOf[n.name], "config": config.Dir,
		} {
			if err := n.command.Set(flag, value); err != nil {
				t.Fatalf("%s: %v", n.name, err)
			}
		}
		// The receiver is on this machine, and not where the file expects it.
		if n.command.Env == nil {
			n.command.Env = map[string]string{}
		}
		n.command.Env[manifests.EnvName("egress-allow")] = egressAllow
		n.start(t, log)
	}
	for _, n := range nodes {
		Eventually(t, n.name+" to be ready", func(ctx context.Context) error { return n.check(ctx, "readiness") })
		for _, probe := range []string{"startup", "liveness"} {
			if err := n.check(t.Context(), probe); err != nil {
				t.Errorf("%s: %s: %v", n.name, probe, err)
			}
		}
	}
	Eventually(t, "three voters and a block", func(ctx context.Context) error {
		s, err := nodes[0].status(ctx)
		if err != nil {
			return err
		}
		if s.Voters != len(nodes) || len(s.Networks) != 1 || s.Networks[0].Position == 0 {
			return fmt.Errorf("%d voters, networks %+v", s.Voters, s.Networks)
		}
		return nil
	})
	if _, err := chain.Transfer(t.Context(), 0, 1, "5"); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Commit(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "an alert", func(context.Context) error {
		if len(receiver.Deliveries(t)) == 0 {
			return errors.New("nothing was delivered")
		}
		return nil
	})

	// One is told to stop, and hands its work over within its time.
	nodes[0].process.Signal(t, syscall.SIGTERM)
	if code := nodes[0].process.Exit(t, nodes[0].grace); code != 0 {
		t.Errorf("%s: exit code %d after SIGTERM", nodes[0].name, code)
	}
	Eventually(t, "the others to go on", func(ctx context.Context) error {
		s, err := nodes[1].status(ctx)
		if err != nil {
			return err
		}
		if s.Leader == "" || s.Leader == nodes[0].name || s.Networks[0].Holder == nodes[0].name || s.Unassigned > 0 {
			return fmt.Errorf("leader %q, holder %q, %d tenants unassigned", s.Leader, s.Networks[0].Holder, s.Unassigned)
		}
		return nil
	})
	// Without a quorum a node is not ready, and alive all the same: restarting it
	// would only do harm.
	nodes[1].process.Kill()
	Eventually(t, nodes[2].name+" to notice", func(ctx context.Context) error {
		if err := nodes[2].check(ctx, "readiness"); err == nil {
			return errors.New("it is ready without a quorum")
		}
		return nil
	})
	if err := nodes[2].check(t.Context(), "liveness"); err != nil {
		t.Errorf("liveness depends on the quorum: %v", err)
	}
	for _, n := range nodes[:2] {
		n.start(t, log)
	}
	for _, n := range nodes {
		Eventually(t, n.name+" to be ready again", func(ctx context.Context) error { return n.check(ctx, "readiness") })
	}
}

// check asks a probe of the manifest, or what stands for it.
func (d *deployed) check(ctx context.Context, probe string) error {
	p, ok := d.probes[probe]
	if !ok {
		path := "/livez"
		if probe == "readiness" {
			path = "/readyz"
		}
		p = manifests.Probe{Path: path, Timeout: 2 * time.Second}
	}
	return p.Check(ctx, d.listen)
}
