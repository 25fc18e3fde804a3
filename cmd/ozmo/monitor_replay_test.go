package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// replaying is what the node answers to a replay.
type replaying struct {
	matches []api.ReplayMatch
	result  api.Replayed
	after   error // once the matches are told
}

func (o *operator) Replay(_ context.Context, q api.Replay, progress func(api.Progress), match func(api.ReplayMatch)) (*api.Replayed, error) {
	if err := o.note("replay %s %s %s %d-%d send %t unknown %t", q.Tenant, q.Monitor, q.Network, q.From, q.To, q.Send, q.IncludeUnknown); err != nil {
		return nil, err
	}
	progress(api.Progress{Done: 1, Total: 2})
	for _, m := range o.replaying.matches {
		match(m)
	}
	r := o.replaying.result
	r.Replay, r.Key = q, q.Network
	return &r, o.replaying.after
}

func someReplay() replaying {
	return replaying{
		matches: []api.ReplayMatch{
			{Height: 101, Transaction: "0xaa", Alert: "a1", Deliveries: []api.ReplayDelivery{
				{Trigger: "ops", Key: "k1", Before: api.BeforeYes, How: "journal: sent"}, {Trigger: "chat", Key: "k2", Before: api.BeforeNo, How: "in no node's journal", Sent: true},
			}},
			{Height: 105, Transaction: "0xbb", Alert: "a2", Deliveries: []api.ReplayDelivery{{Trigger: "ops", Key: "k3", Before: api.BeforeUnknown, How: "a journal has forgotten"}}},
		},
		result: api.Replayed{Version: 4, Blocks: 11, Matches: 2, Deliveries: 3, Before: 1, New: 1, Unknown: 1, Sent: 1, Silent: []string{"c"}},
	}
}

var replayLine = strings.Fields("monitor replay --tenant acme --monitor usdc --network base --from 100 --to 110")

func TestMonitorReplay(t *testing.T) {
	o := &operator{replaying: someReplay()}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	ozmo(t, replayLine...).want(t, exitOK, strings.Join([]string{
		"BLOCK  TRANSACTION  ALERT  TRIGGER  BEFORE   HOW IT IS KNOWN",
		"  101  0xaa         a1     ops      yes      journal: sent",
		"  101  0xaa         a1     chat     no       in no node's journal; sent now",
		"  105  0xbb         a2     ops      unknown  a journal has forgotten",
		"tenant acme, monitor usdc on base, blocks 100-110: 2 matches in 11 blocks; of 3 deliveries 1 delivered before, 1 never, 0 pending, 1 unknown; nothing was sent: --send delivers those that never were",
		"not all journals could be asked: c",
		"what is unknown is only sent with --send --include-unknown", "",
	}, "\n"), "")
	// What is held back is a finding, unless it was asked for.
	ozmo(t, append(replayLine, "--send")...).want(t, exitFailure, "1 handed to the outbox now", "")
	ozmo(t, append(replayLine, "--send", "--include-unknown")...).want(t, exitOK, "1 handed to the outbox now", "")
	// What became a dead letter was not sent, and is told.
	o.mu.Lock()
	o.replaying.matches[0].Deliveries[1].Sent, o.replaying.matches[0].Deliveries[1].Dead = false, true
	o.replaying.result.Sent, o.replaying.result.Dead, o.replaying.result.Unknown = 0, 1, 0
	o.mu.Unlock()
	r := ozmo(t, append(replayLine, "--send")...)
	r.want(t, exitFailure, "in no node's journal; a dead letter now\n", "")
	r.want(t, exitFailure, "0 handed to the outbox now, 1 are dead letters: the outbox did not take them", "")
	o.mu.Lock()
	o.replaying = someReplay()
	o.orders = o.orders[:len(o.orders)-1]
	o.mu.Unlock()
	want := "replay acme usdc base 100-110 send false unknown false; replay acme usdc base 100-110 send true unknown false; replay acme usdc base 100-110 send true unknown true"
	if got := o.said(); got != want {
		t.Errorf("the node was asked to %q", got)
	}

	r = ozmo(t, append(replayLine, "--output", "json")...)
	var whole struct {
		Tenant  string            `json:"tenant"`
		Unknown int               `json:"unknown"`
		Found   []api.ReplayMatch `json:"found"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &whole); err != nil || whole.Tenant != "acme" || whole.Unknown != 1 || len(whole.Found) != 2 || !whole.Found[0].Deliveries[1].Sent {
		t.Errorf("%v: %s", err, r.stdout)
	}
	r = ozmo(t, append(replayLine, "--output", "ndjson")...)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"transaction":"0xaa"`) || !strings.Contains(lines[2], `"network_key":"base"`) {
		t.Errorf("%s", r.stdout)
	}
}

func TestMonitorReplayThatFails(t *testing.T) {
	o := &operator{err: fmt.Errorf("tenant %q: %w; did you mean \"acme\"?", "acm", fsm.ErrNotFound)}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	ozmo(t, replayLine...).want(t, exitFailure, "", `tenant "acm": not found; did you mean "acme"?`)
	o.mu.Lock()
	o.err, o.replaying = nil, someReplay()
	o.replaying.after = fmt.Errorf("at block 107: no room; 1 deliveries were handed to the outbox before")
	o.mu.Unlock()
	ozmo(t, append(replayLine, "--send")...).want(t, exitFailure, "", "ozmo: at block 107: no room")

	for line, says := range map[string]string{
		"monitor replay": "several things are wrong:\n  --tenant is needed\n  --monitor is needed",
		"monitor replay --tenant a --monitor m --network n --from 9 --to 3":                   "--from 9 lies above --to 3",
		"monitor replay --tenant a --monitor m --network n --from 1 --to 3 --include-unknown": "--include-unknown is for --send",
		"monitor replay --tenant a --monitor m --network n --from x --to 3":                   `"x"`,
		"monitor replay now": `unknown command "now"`,
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
}
