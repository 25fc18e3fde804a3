package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/console"
	"github.com/ozmo-dev/ozmo/worker/notify/discord"
	"github.com/ozmo-dev/ozmo/worker/notify/email"
	"github.com/ozmo-dev/ozmo/worker/notify/pagerduty"
	"github.com/ozmo-dev/ozmo/worker/notify/slack"
	"github.com/ozmo-dev/ozmo/worker/notify/telegram"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// tryFromFile sends a sample through a trigger of a file.
func (a *app) tryFromFile(ctx context.Context, file string, q api.TriggerTest, out io.Writer) (*api.TriggerTested, error) {
	d := &testDocuments{triggers: map[string]*spec.Trigger{}, files: map[string]string{}}
	trial := node.TriggerTrial{ID: q.Trigger, State: q.State, DryRun: q.DryRun}
	if data, ok := d.read(file); ok {
		var err error
		if data, err = onlyTrigger(file, data, &trial.ID); err != nil {
			return nil, err
		}
		d.readTriggers(ctx, file, data, true)
	}
	if q.Monitor != "" {
		d.loadMonitor(q.Monitor, true)
	}
	if errs := d.problems.Errors(); len(errs) > 0 {
		var wrong mistakes
		for _, p := range errs {
			wrong.addf("%s", clean(p.String()))
		}
		return nil, wrong
	}
	if trial.Trigger = d.triggers[trial.ID]; trial.Trigger == nil {
		return nil, fmt.Errorf("%s holds no trigger", file)
	}
	if len(d.monitors) > 0 {
		trial.Monitor = d.monitors[0].doc
	}
	sender := notify.NewSender(notify.SenderOptions{Channels: allChannels(out), Logger: a.log})
	return node.TryTrigger(ctx, sender, trial)
}

// onlyTrigger leaves one trigger of a file: the others' secrets, and mistakes, are
// none of its business. The id may be empty where there is no other.
func onlyTrigger(file string, data []byte, id *string) ([]byte, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(data, &all) != nil || len(all) == 0 {
		return data, nil // what is wrong with it is told by who reads it for good
	}
	if alone := all["trigger_type"]; len(alone) > 0 && alone[0] == '"' { // as the API has it
		if *id == "" {
			*id = "trigger"
		}
		return json.Marshal(map[string]json.RawMessage{*id: data})
	}
	known := slices.Sorted(maps.Keys(all))
	if *id == "" && len(known) > 1 {
		return nil, fmt.Errorf("%s holds several triggers, name one: %s", file, strings.Join(known, ", "))
	} else if *id == "" {
		*id = known[0]
	}
	one, ok := all[*id]
	if !ok {
		return nil, fmt.Errorf("%s has no trigger %q, only: %s", file, *id, strings.Join(known, ", "))
	}
	return json.Marshal(map[string]json.RawMessage{*id: one})
}

// allChannels are the ways out of a command that needs no node: nothing guards
// them, the addresses are those of whoever runs it.
func allChannels(out io.Writer) notify.Channels {
	h := notify.NewHTTP(nil)
	return notify.Channels{
		spec.TriggerWebhook:   webhook.New(h),
		spec.TriggerSlack:     slack.New(h),
		spec.TriggerDiscord:   discord.New(h),
		spec.TriggerTelegram:  telegram.New(h, telegram.Options{}),
		spec.TriggerPagerDuty: pagerduty.New(h),
		spec.TriggerEmail:     email.New(email.Options{}),
		spec.TriggerConsole:   console.New(out),
	}
}
