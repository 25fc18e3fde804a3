package testcluster

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// delivering is a cluster whose tenants each have a receiver of the farm.
type delivering struct {
	*Cluster
	farm    *farm.Farm
	tenants []subscriber
}

// subscriber is a tenant: how its monitor judges, and what its trigger says
// beside the address.
type subscriber struct {
	name string
	mode string // of its monitor; empty: the document has none
	more doc    // of its trigger's config
}

// confirmations is the depth of the network of these tests.
const confirmations = 3

// slug is the network of these tests.
const slug = "net"

// runDelivering runs a test of a cluster in virtual time, with a farm on a host
// of its own.
func runDelivering(t *testing.T, o Options, tenants []subscriber, test func(t *testing.T, d *delivering)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Tenants, o.Empty = len(tenants), true
		d := &delivering{Cluster: New(t, o), tenants: tenants}
		host := d.Net.Host("farm")
		var err error
		if d.farm, err = farm.New(farm.Options{Listen: host.Listen, Host: host.Name(), Secret: signingSecret}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			d.Close() // before the receivers: what is cut off then is no news
			if err := d.farm.Close(); err != nil {
				t.Error(err)
			}
		})
		d.write()
		d.Import()
		d.AwaitBegun()
		d.Eventually(settleWithin, func() error { return d.Placed(d.View()) })
		test(t, d)
	})
}

// write puts the documents of these tests in the place of the cluster's own.
func (d *delivering) write() {
	d.t.Helper()
	d.Write("networks/"+slug+".json", doc{
		"network_type": "EVM", "slug": slug, "name": slug, "chain_id": 1,
		"rpc_urls":      []doc{{"type_": "rpc", "url": plain("https://net.example"), "weight": 100}},
		"block_time_ms": d.opts.BlockTime.Milliseconds(), "confirmation_blocks": confirmations, "cron_schedule": "*/1 * * * * *",
		"max_past_blocks": "unlimited",
	})
	for i, s := range d.tenants {
		r, err := d.farm.Webhook(s.name)
		if err != nil {
			d.t.Fatal(err)
		}
		d.writeSubscriber(TenantName(i), s, r)
	}
}

func (d *delivering) writeSubscriber(tenant string, s subscriber, r *farm.Receiver) {
	config := doc{
		"url": plain(r.URL()), "method": "POST", "secret": plain(signingSecret), "payload_mode": "raw",
		"retry_policy": doc{"max_retries": 0},
	}
	maps.Copy(config, s.more)
	d.Write("tenants/"+tenant+"/triggers/hook.json", doc{"hook": doc{"name": "hook", "trigger_type": "webhook", "config": config}})
	monitor := doc{
		"name": "transfers", "paused": false, "networks": d.opts.Networks, "triggers": []string{"hook"},
		"addresses": []doc{{"address": fmt.Sprintf("0x%x", fakechain.Token[:]), "contract_spec": []doc{transferABI()}}},
		"match_conditions": doc{
			"functions": []doc{}, "transactions": []doc{},
			"events": []doc{{"signature": "Transfer(address,address,uint256)", "expression": nil}},
		},
		"trigger_conditions": []doc{},
	}
	if s.mode != "" {
		monitor["mode"] = s.mode
	}
	d.Write("tenants/"+tenant+"/monitors/transfers.json", monitor)
}

func transferABI() doc {
	input := func(name, kind string, indexed bool) doc { return doc{"name": name, "type": kind, "indexed": indexed} }
	return doc{
		"type": "event", "name": "Transfer", "anonymous": false,
		"inputs": []doc{input("from", "address", true), input("to", "address", true), input("value", "uint256", false)},
	}
}

// of lists what a subscriber's receiver took.
func (d *delivering) of(s subscriber) (out []farm.Delivery) {
	for _, got := range d.farm.Deliveries() {
		if got.Receiver == s.name {
			out = append(out, got)
		}
	}
	return out
}

// receiver is that of a subscriber.
func (d *delivering) receiver(s subscriber) *farm.Receiver { return d.farm.Receiver(s.name) }

// fault has a subscriber's receiver do something wrong.
func (d *delivering) fault(s subscriber, f farm.Fault) {
	d.t.Helper()
	if err := d.receiver(s).Set(f); err != nil {
		d.t.Fatal(err)
	}
}

// chain is the chain of these tests.
func (d *delivering) chain() *fakechain.Chain { return d.Chain(slug) }

// grow adds blocks with one new transfer each, a block time apart.
func (d *delivering) grow(blocks int) {
	for range blocks {
		d.Extend(slug, 1)
		d.Sleep(d.opts.BlockTime)
	}
}

// alertOf is the id of the alert that a tenant is owed for a transfer.
func alertOf(tenant int, tx fakechain.Tx) string {
	return alert.NewID(TenantName(tenant), "transfers", slug, tx.Hash.String()).String()
}

// checkNames fails the test unless whatever was said has one key, and no request
// came that should not. It returns how many deliveries are repetitions.
func (d *delivering) checkNames() int {
	d.t.Helper()
	id := farm.CheckIdentity(d.farm.Deliveries())
	for _, err := range append(id.Errors, d.farm.Errors()...) {
		d.t.Error(err)
	}
	return id.Duplicates
}

// deadLetters is how many deliveries were given up.
func (d *delivering) deadLetters() int { return d.View().DeadLen() }

// awaitSettled waits until the outbox is empty and everything is judged.
func (d *delivering) awaitSettled(within time.Duration) {
	d.t.Helper()
	d.Eventually(within, d.atRest)
}
