package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

const (
	deliveryNetwork = "minted"
	deliveryMonitor = "transfers"
	deliverySecret  = "the farm's secret"
)

// customer is a tenant with its receiver.
type customer struct {
	name  string
	way   way
	mode  string // of its monitor; empty: none
	fault farm.Fault
}

// way is how a customer is told.
type way string

const (
	rawHook    way = "webhook"          // the match object
	textHook   way = "template webhook" // title and text
	secureHook way = "https webhook"    // with TLS
	byMail     way = "mail"
)

// deliveryRun is one run of nodes that deliver to a farm, from a mint.
type deliveryRun struct {
	dir       string
	mint      *Mint
	farm      *farm.Farm
	cluster   *Cluster
	customers []customer
	depth     uint64
	schedule  []string // of retries, of every trigger; nil: the default
	from      uint64   // height of the first block that counts
}

// newDeliveryRun starts nodes that watch a mint for customers, and waits until
// they do. Receivers are healthy at first. More documents may be written before.
func newDeliveryRun(t *testing.T, o ClusterOptions, customers []customer, schedule []string, more ...func(*deliveryRun)) *deliveryRun {
	t.Helper()
	d := &deliveryRun{dir: Dir(t), mint: NewMint(t), customers: customers, depth: 1, schedule: schedule}
	var err error
	if d.farm, err = farm.New(farm.Options{Secret: deliverySecret}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.farm.Close(); err != nil {
			t.Error(err)
		}
	})
	authority := filepath.Join(d.dir, "authority.pem")
	if err := d.farm.WriteAuthority(authority); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", authority) // the nodes inherit it
	d.cluster = NewCluster(t, d.dir, o)
	d.writeFolder(t)
	for _, write := range more {
		write(d)
	}
	d.mint.Block(0)
	d.cluster.Start(t)
	d.cluster.AwaitHealthy(t)
	d.from = d.mint.Head() + 1
	return d
}

func (d *deliveryRun) writeFolder(t *testing.T) {
	t.Helper()
	f := d.cluster.Folder
	network := Network(deliveryNetwork, 1, d.depth, d.mint.URL(), d.mint.WS())
	f.Write(t, "networks/"+deliveryNetwork+".json", network)
	for _, c := range d.customers {
		own := "tenants/" + c.name + "/"
		open := d.farm.Webhook
		switch c.way {
		case secureHook:
			open = d.farm.SecureWebhook
		case byMail:
			open = d.farm.Mail
		}
		r, err := open(c.name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(t, own+"triggers/receiver.json", Doc{"receiver": d.trigger(c, r)})
		m := Monitor(deliveryMonitor, deliveryNetwork, d.mint.Token(), "receiver", Event(""))
		if c.mode != "" {
			m["mode"] = c.mode
		}
		f.Write(t, own+"monitors/"+deliveryMonitor+".json", m)
	}
}

func (d *deliveryRun) trigger(c customer, r *farm.Receiver) Doc {
	message := Doc{"title": "Transfer", "body": "${transaction.hash} moved ${events.0.args.value}"}
	config := Doc{"retry_policy": Doc{"max_retries": 0}}
	kind := "webhook"
	switch c.way {
	case byMail:
		kind = "email"
		maps.Copy(config, Doc{
			"host": r.Host(), "port": json.Number(r.Port()), "username": plain("u"), "password": plain("p"),
			"sender": "ozmo@example.org", "recipients": []string{"somebody@example.org"}, "message": message,
		})
	default:
		maps.Copy(config, Doc{"url": plain(r.URL()), "method": "POST", "secret": plain(deliverySecret), "payload_mode": "raw"})
		if c.way == textHook {
			config["payload_mode"], config["message"] = "template", message
		}
	}
	if d.schedule != nil {
		config["retry_schedule"] = d.schedule
	}
	return Doc{"name": "receiver", "trigger_type": kind, "config": config}
}

// breakReceivers has the receivers do what is wrong with them.
func (d *deliveryRun) breakReceivers(t *testing.T) {
	t.Helper()
	for _, c := range d.customers {
		if c.fault.Kind != farm.Healthy {
			if err := d.farm.Receiver(c.name).Set(c.fault); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// heal ends what can end: who answered 410 or 404 goes on with it.
func (d *deliveryRun) heal(t *testing.T) {
	t.Helper()
	for _, c := range d.customers {
		if !c.hopeless() && c.fault.Kind != farm.Healthy {
			if err := d.farm.Receiver(c.name).Set(farm.Fault{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (c *customer) hopeless() bool { return c.fault.Kind == farm.Gone || c.fault.Kind == farm.NotFound }

// produce makes blocks of transfers at a steady pace, and then as many empty ones
// as it takes to make them due. Before each of the former something may be done.
func (d *deliveryRun) produce(blocks, transfers int, every time.Duration, before func(block int)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := range blocks + int(d.depth) { //nolint:gosec // one
		if i < blocks {
			before(i)
		} else {
			transfers = 0
		}
		<-ticker.C
		d.mint.Block(transfers)
	}
}

// owed is a delivery that a customer must get.
type owed struct {
	customer int
	due      Minted // the block that made it due
}

// owed lists what must be delivered, by the keys that it must come under: whatever
// has another one was sent under a wrong name.
func (d *deliveryRun) owed() map[string]owed {
	blocks := d.mint.Blocks()
	at := map[uint64]Minted{}
	for _, b := range blocks {
		at[b.Height] = b
	}
	out := map[string]owed{}
	for _, b := range blocks {
		if b.Height < d.from {
			continue
		}
		for i, c := range d.customers {
			depth := d.depth
			if c.mode == "instant" {
				depth = 0
			}
			due, ok := at[b.Height+depth]
			if !ok {
				continue
			}
			block, err := fsm.ParseHash(b.Hash)
			if err != nil {
				panic(err) // the mint made it
			}
			for _, tx := range b.Txs {
				id := alert.NewID(c.name, deliveryMonitor, deliveryNetwork, tx)
				out[alert.NewKey(id, "receiver", 0, block, alert.Fired, 0).String()] = owed{i, due}
			}
		}
	}
	return out
}

// status asks the cluster how it is, and whether it has judged everything.
func (d *deliveryRun) status(ctx context.Context) (s api.Status, err error) {
	if s, err = d.cluster.Status(ctx); err != nil {
		return s, err
	}
	n, err := networkOf(s, deliveryNetwork)
	switch {
	case err != nil:
		return s, err
	case n.Head.Height != d.mint.Head():
		return s, fmt.Errorf("the network is at %v, the chain at %d", n.Head, d.mint.Head())
	case n.Judged != n.Position:
		return s, fmt.Errorf("judged to position %d of %d", n.Judged, n.Position)
	}
	return s, nil
}

// awaitJudged waits until everything is judged, and what is owed to healthy
// customers has come.
func (d *deliveryRun) awaitJudged(t *testing.T, limit time.Duration) {
	t.Helper()
	all := d.owed()
	want := 0
	for _, o := range all {
		if d.customers[o.customer].fault.Kind == farm.Healthy {
			want++
		}
	}
	within(t, limit, "what healthy customers are owed", func(ctx context.Context) error {
		if _, err := d.status(ctx); err != nil {
			return err
		}
		got := map[string]bool{}
		for _, one := range d.farm.Deliveries() {
			if o, ok := all[one.Key]; ok && d.customers[o.customer].fault.Kind == farm.Healthy {
				got[one.Key] = true
			}
		}
		if len(got) < want {
			return fmt.Errorf("%d of %d have come", len(got), want)
		}
		return nil
	})
}

// awaitEmpty waits until the outbox is empty.
func (d *deliveryRun) awaitEmpty(t *testing.T, limit time.Duration) {
	t.Helper()
	within(t, limit, "an empty outbox", func(ctx context.Context) error {
		s, err := d.status(ctx)
		if err == nil && s.Outbox > 0 {
			err = fmt.Errorf("%d deliveries are in the outbox, %d were given up", s.Outbox, s.DeadLetter)
		}
		return err
	})
}

// tally is what became of all that was owed.
type tally struct {
	owed, sent, lost int
	dead, unexpected int // the latter: dead letters of receivers that came back
	both             int // sent, and a dead letter
	wrong            int // keys: two for one thing, one for two, or none that is owed
	duplicates       int
	hasty            int             // attempts before a Retry-After was over
	latencies        []time.Duration // of the customers who are always healthy
	errs             []error
}

// count compares what came with what was owed. steady tells whose latencies count.
func (d *deliveryRun) count(t *testing.T, steady func(customer int) bool) tally {
	t.Helper()
	all := d.owed()
	list := d.farm.Deliveries()
	id := farm.CheckIdentity(list)
	r := tally{owed: len(all), wrong: id.Wrong, duplicates: id.Duplicates, hasty: d.farm.Hasty(), errs: append(id.Errors, d.farm.Errors()...)}
	first := map[string]time.Time{}
	for _, one := range list {
		if at, ok := first[one.Key]; !ok || one.At.Before(at) {
			first[one.Key] = one.At
		}
	}
	dead := d.deadLetters(t)
	for key, o := range all {
		at, sent := first[key]
		switch {
		case sent:
			r.sent++
			if steady(o.customer) {
				r.latencies = append(r.latencies, at.Sub(o.due.At))
			}
		case dead[key]:
		default:
			if r.lost++; r.lost <= 20 {
				r.errs = append(r.errs, fmt.Errorf("lost: %s of %s (%v), due with block %d",
					key, d.customers[o.customer].name, d.customers[o.customer].fault.Kind, o.due.Height))
			}
		}
	}
	for key := range first {
		if _, ok := all[key]; !ok {
			if r.wrong++; len(r.errs) < 20 {
				r.errs = append(r.errs, fmt.Errorf("nothing that is owed has the key %s", key))
			}
		}
	}
	for key := range dead {
		r.dead++
		o, ok := all[key]
		if !ok || !d.customers[o.customer].hopeless() {
			r.unexpected++
		}
		if _, sent := first[key]; sent {
			r.both++
		}
	}
	return r
}

// deadLetters are the keys of deliveries that were given up.
func (d *deliveryRun) deadLetters(t *testing.T) map[string]bool {
	t.Helper()
	list, err := d.cluster.Members[0].client.ListDeliveries(t.Context(), api.DeliveryChoice{Statuses: []api.DeliveryStatus{api.DeliveryDead}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, one := range list.Deliveries {
		out[one.Key] = true
	}
	return out
}

// String is the line that is printed of a run.
func (r tally) String() string {
	return fmt.Sprintf("%d alerts owed: %d sent, %d dead letters, %d lost, %d wrong keys, %d duplicates with the same key, %d before a Retry-After was over",
		r.owed, r.sent, r.dead, r.lost, r.wrong, r.duplicates, r.hasty)
}

// latency is the line of the latencies.
func (r *tally) latency() string {
	return fmt.Sprintf("block available to request received, %d alerts of healthy tenants: p50 %v, p99 %v, worst %v",
		len(r.latencies), ms(farm.Quantile(r.latencies, 0.5)), ms(farm.Quantile(r.latencies, 0.99)), ms(farm.Quantile(r.latencies, 1)))
}

func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// check fails the test over what must never be.
func (r *tally) check(t *testing.T) {
	t.Helper()
	for _, err := range r.errs {
		t.Error(err)
	}
	if r.lost > 0 || r.wrong > 0 || r.unexpected > 0 {
		t.Errorf("%d lost, %d wrong keys, %d dead letters of receivers that came back", r.lost, r.wrong, r.unexpected)
	}
	if r.sent+r.dead-r.both+r.lost != r.owed {
		t.Errorf("%d sent, %d dead letters (%d of them sent as well), %d lost, of %d", r.sent, r.dead, r.both, r.lost, r.owed)
	}
	if r.owed == 0 {
		t.Error("nothing was owed, so nothing was tested")
	}
}
