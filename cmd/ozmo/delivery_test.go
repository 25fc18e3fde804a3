package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

func (o *operator) ListDeliveries(_ context.Context, c api.DeliveryChoice) (api.DeliveryList, error) {
	text, _ := json.Marshal(c)
	return o.deliveries, o.note("list %s", text)
}

func (o *operator) ShowDelivery(_ context.Context, key string) (api.DeliveryDetail, error) {
	return o.delivery, o.note("show %s", key)
}

func (o *operator) ChangeDeliveries(_ context.Context, change string, order api.DeliveryOrder) (api.DeliveriesChanged, error) {
	text, _ := json.Marshal(order)
	done := o.changed
	if done.DryRun = order.DryRun; order.DryRun {
		done.Done, done.Left = 0, 0
	}
	return done, o.note("%s %s", change, text)
}

const aKey = "9f86d081884c7d659a2feaa0c55ad015"

func someDelivery() api.DeliveryDetail {
	return api.DeliveryDetail{
		Delivery: api.Delivery{
			Key: aKey, Tenant: "acme", Monitor: "Large transfers", Network: "ethereum_mainnet", Trigger: "hook", State: "fired",
			Status: api.DeliveryPending, Attempts: 2, At: statusTime, Next: statusTime.Add(5 * time.Minute), Answered: 503,
			Error: "POST https://hook.example: not accepted: answered 503", Excerpt: "busy\x1b[31m",
		},
		MonitorID: "m1", Alert: "0123456789abcdef0123456789abcdef", Block: api.BlockRef{Height: 19000120, Hash: fsm.Hash{1}}, Position: 130,
		Tx: "0xabc", Destination: "https://hook.example", Bytes: 812, Variables: map[string]string{"monitor.name": "Large\ntransfers"},
		History: []api.DeliveryAttempt{
			{N: 1, Round: 1, Began: statusTime, Node: "a", Latency: 12 * time.Millisecond, Outcome: "failed", Error: "connection refused"},
			{N: 2, Round: 2, Began: statusTime.Add(5 * time.Second), Node: "b", Latency: 2 * time.Second, Status: 503, Outcome: "failed", Error: "answered 503", Excerpt: "busy"},
		},
		Silent: []string{"c"},
	}
}

func TestDeliveryText(t *testing.T) {
	d := someDelivery()
	var b bytes.Buffer
	writeDelivery(&b, &d, statusTime)
	golden(t, "delivery.txt", b.String())
	dead, sent, waits := d.Delivery, d.Delivery, d.Delivery
	dead.Status, dead.Error, dead.Next = api.DeliveryDead, "gone: the receiver wants no more: "+strings.Repeat("x", 100), time.Time{}
	sent.Status, sent.Error, sent.State = api.DeliverySent, "", "retracted"
	waits.After, waits.Monitor = strings.Repeat("ab", 16), ""
	b.Reset()
	held := d.Delivery
	held.Attempts, held.Next, held.Error = 0, statusTime, "not attempted, the destination keeps failing: at least the last 5 attempts have failed"
	held.Held = &api.DeliveryHeld{Until: statusTime.Add(4 * time.Minute), Error: "POST https://hook.example: not accepted: answered 502", Failed: statusTime.Add(-time.Second)}
	writeDeliveries(&b, []api.Delivery{d.Delivery, dead, sent, waits, held}, statusTime)
	golden(t, "deliveries.txt", b.String())
	b.Reset()
	d.Delivery, d.History, d.Variables, d.Silent = held, nil, nil, nil
	writeDelivery(&b, &d, statusTime)
	golden(t, "delivery_held.txt", b.String())
}

// However long the names are that an error begins with, the reason stays.
func TestReason(t *testing.T) {
	long := strings.Repeat("x", 100)
	for text, want := range map[string]string{
		"": "",
		"POST https://hook.example: answered 503":                                            "POST https://hook.example: answered 503",
		`tenant acme: trigger "` + long + `: \" x": POST https://hook.example: answered 503`: "POST https://hook.example: answered 503",
		`gone: the receiver wants no more: tenant acme: trigger "x": answered 410`:           "gone: the receiver wants no more: answered 410",
		"POST https://" + long + ".example: not accepted: answered 503":                      "…not accepted: answered 503",
		"gone:\n" + long: "gone: " + strings.Repeat("x", 73) + "…",
		long + ": ":      strings.Repeat("x", 79) + "…",
	} {
		if got := reason(text, 80); got != want {
			t.Errorf("%q:\n%q, want\n%q", text, got, want)
		}
	}
}

func TestDeliveryCommands(t *testing.T) {
	d := someDelivery()
	for _, tt := range []struct {
		args   string
		orders string // what the node was asked, without times
		code   int
		stdout string
		stderr string
	}{
		{"list", `list {"statuses":["pending","dead"],"limit":100}`, exitOK, aKey, "there are more than 100"},
		{"list -o json --limit 7", `list {"statuses":["pending","dead"],"limit":7}`, exitOK, `"last_status": 503`, "they do not answer: c"},
		{
			"list --tenant acme --state all --trigger hook --monitor m1 --network net --limit 0",
			`list {"tenant":"acme","statuses":["pending","dead","sent"],"trigger":"hook","monitor":"m1","network":"net"}`, exitOK, "Large transfers", "",
		},
		{
			"list --since 2026-03-01T12:00:00Z --until 2026-03-02T12:00:00Z --state sent",
			`list {"statuses":["sent"],"since":"2026-03-01T12:00:00Z","until":"2026-03-02T12:00:00Z","limit":100}`, exitOK, "", "",
		},
		{"show 9F86", "show 9f86", exitOK, "attempts of these nodes are missing, they do not answer: c", ""},
		{"show 9f86 -o json", "show 9f86", exitOK, `"destination": "https://hook.example"`, ""},
		{"redeliver 9f86", `redeliver {"keys":["9f86"],"dry_run":false}`, exitOK, "3 deliveries (1 pending, 2 dead) of 2 tenants: 3 due at once\n", ""},
		{"purge 9f86 9F86", `purge {"keys":["9f86"],"dry_run":false}`, exitOK, "3 forgotten", ""},
		{"purge 9f86 --dry-run", `purge {"keys":["9f86"],"dry_run":true}`, exitOK, "would be forgotten; nothing was changed\n", ""},
		{
			"purge 9f86 0a --yes -o json", `purge {"keys":["9f86","0a"],"dry_run":true}; purge {"keys":["9f86","0a"],"dry_run":false}`,
			exitOK, `"done": 3`, "",
		},
		{
			"redeliver --tenant acme --trigger hook --until 2026-03-02T12:00:00Z --yes",
			`redeliver {"choice":{"tenant":"acme","statuses":["dead"],"trigger":"hook","until":"2026-03-02T12:00:00Z"},"dry_run":true}; ` +
				`redeliver {"choice":{"tenant":"acme","statuses":["dead"],"trigger":"hook","until":"2026-03-02T12:00:00Z"},"dry_run":false}`,
			exitOK, "3 due at once", "",
		},
		{
			"purge --all --state all --until 2026-03-02T12:00:00Z --dry-run",
			`purge {"choice":{"statuses":["pending","dead"],"until":"2026-03-02T12:00:00Z"},"dry_run":true}`, exitOK, "3 deliveries (1 pending, 2 dead) of 2 tenants would", "",
		},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o := &operator{
				status: someStatus(), delivery: d, deliveries: api.DeliveryList{Deliveries: []api.Delivery{d.Delivery}, More: true, Silent: []string{"c"}},
				changed: api.DeliveriesChanged{Found: 3, Pending: 1, Dead: 2, Tenants: 2, Done: 3},
			}
			t.Setenv("OZMO_DATA", listenAs(t, o))
			ozmo(t, append([]string{"delivery"}, strings.Fields(tt.args)...)...).want(t, tt.code, tt.stdout, tt.stderr)
			if got := o.said(); got != tt.orders {
				t.Errorf("the node was asked to\n%s\nwant\n%s", got, tt.orders)
			}
		})
	}
}

func TestDeliveriesThatAreLeft(t *testing.T) {
	o := &operator{changed: api.DeliveriesChanged{Found: 3, Dead: 3, Tenants: 1, Done: 1, Left: 2}}
	dir := listenAs(t, o)
	r := ozmo(t, "delivery", "redeliver", "--tenant", "acme", "--yes", "--data", dir)
	r.want(t, exitFailure, "3 deliveries of 1 tenant: 1 due at once\n", "2 are as they were: they were settled meanwhile, or the outbox has no room for them")
	o.changed = api.DeliveriesChanged{Found: 3, Left: 3, Retracted: 3}
	ozmo(t, "delivery", "redeliver", "--tenant", "acme", "--dry-run", "--data", dir).want(t, exitOK, "3 deliveries retracted since: not made again\n", "")
	r = ozmo(t, "delivery", "redeliver", "--tenant", "acme", "--yes", "--data", dir)
	r.want(t, exitFailure, "3 deliveries retracted since: not made again\n", "")
	if strings.Contains(r.stdout+r.stderr, "settled") || strings.Contains(r.stdout, "due at once") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	o.changed = api.DeliveriesChanged{Found: 3, Dead: 3, Tenants: 1, Done: 3, Held: 2, HeldUntil: statusTime}
	ozmo(t, "delivery", "redeliver", "--tenant", "acme", "--yes", "--data", dir).want(t, exitOK,
		"3 due at once\n2 of them wait until about 2026-03-01T12:00:00Z at most, since their destination keeps failing: ", "")
	o.changed = api.DeliveriesChanged{}
	ozmo(t, "delivery", "purge", "--tenant", "acme", "--yes", "--data", dir).want(t, exitOK, "no deliveries\n", "")
	o.err = fmt.Errorf("tenant %q: %w", "acme", fsm.ErrNotFound)
	for _, line := range []string{"list", "show 9f86", "redeliver 9f86", "purge --tenant acme --yes"} {
		r := ozmo(t, append(append([]string{"delivery"}, strings.Fields(line)...), "--data", dir)...)
		r.want(t, exitFailure, "", `tenant "acme": not found`)
		r = ozmo(t, append(append([]string{"delivery"}, strings.Fields(line)...), "--data", filepath.Join(dir, "none"))...)
		r.want(t, exitFailure, "", "no ozmo node is running on this data directory")
	}
}

func TestDeliveryOrdersThatAreNotUnderstood(t *testing.T) {
	for line, says := range map[string][]string{
		"":                                       {"ozmo delivery needs a command: list, show, redeliver, purge"},
		"show":                                   {"needs KEY"},
		"show xyz":                               {`"xyz": want the key of a delivery`},
		"list now":                               {"unknown command \"now\""},
		"list --state lost --since x --limit -1": {"several things are wrong", `--state "lost": want pending, dead, sent, all`, `--since "x": want how long ago`, "--limit -1"},
		"list --since 1h --until 2h":             {"--since 1h lies after --until 2h"},
		"redeliver":                              {"ozmo delivery redeliver needs keys of deliveries, or --tenant TENANT, or --all"},
		"redeliver --trigger x":                  {"or --tenant TENANT, or --all"},
		"redeliver 9f86 zz --tenant acme":        {"several things are wrong", `"zz": want the key`, "keys name deliveries, flags choose them"},
		"purge --all --tenant acme":              {"--all and --tenant acme: give one of them"},
		"purge --all --state sent":               {`--state "sent": want pending, dead, all`},
		"purge --tenant acme":                    {"there is no terminal to ask on: give --yes"},
		"redeliver 9f86 0a":                      {"there is no terminal to ask on: give --yes"},
	} {
		r := ozmo(t, append([]string{"delivery"}, strings.Fields(line)...)...)
		for _, text := range says {
			if r.code != exitUsage || !strings.Contains(r.stderr, text) {
				t.Errorf("%s: exit %d, want %q:\n%s", line, r.code, text, r.stderr)
			}
		}
	}
}

func TestReadTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"": {}, "2h": statusTime.Add(-2 * time.Hour), "3d": statusTime.Add(-72 * time.Hour), "90m": statusTime.Add(-90 * time.Minute),
		"2026-03-01T13:00:00+01:00": statusTime,
	} {
		if got, err := readTime(text, statusTime); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-2h", "2", "d", "-3d"} {
		if got, err := readTime(text, statusTime); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
