package node

import (
	"context"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/console"
	"github.com/ozmo-dev/ozmo/worker/notify/discord"
	"github.com/ozmo-dev/ozmo/worker/notify/email"
	"github.com/ozmo-dev/ozmo/worker/notify/pagerduty"
	"github.com/ozmo-dev/ozmo/worker/notify/slack"
	"github.com/ozmo-dev/ozmo/worker/notify/telegram"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// channels are the ways out of this node.
func (n *Node) channels() notify.Channels {
	client := notify.NewHTTP(notify.NewHTTPClient(n.guard.Dial, nil))
	return notify.Channels{
		spec.TriggerSlack:     slack.New(client),
		spec.TriggerDiscord:   discord.New(client),
		spec.TriggerTelegram:  telegram.New(client, telegram.Options{}),
		spec.TriggerEmail:     email.New(email.Options{Dial: n.guard.Dial}),
		spec.TriggerPagerDuty: pagerduty.New(client),
		spec.TriggerWebhook:   webhook.New(client),
		spec.TriggerConsole:   console.New(n.opts.Console),
	}
}

// mayBegin is the last look before an attempt: nothing begins without contact,
// nor for a tenant that another node has meanwhile; the error is then
// outbox.ErrNotBegun. Worker and outbox look before they ask for an attempt;
// after that it may have waited long for its turn, or be a repetition.
func (n *Node) mayBegin(ctx context.Context, m *notify.Notification) error {
	if err := n.contact.Wait(ctx); err != nil {
		return err
	}
	v := n.state.View()
	if t, ok := v.Tenant(m.Alert.Tenant); ok && v.Owner(t) != n.opts.Name {
		return outbox.ErrNotBegun
	}
	return nil
}

// newSender makes what all of this node's attempts go through.
func (n *Node) newSender() *notify.Sender {
	return notify.NewSender(notify.SenderOptions{
		Channels: n.channels(), Ready: n.mayBegin, Observe: n.observe,
		PerDestination: n.opts.Sending.PerDestination, PerTenant: n.opts.Sending.PerTenant, Overall: n.opts.Sending.PerNode,
		Limits: notify.Limits{
			Destination: map[string]notify.Rate{spec.TriggerWebhook: {PerSecond: n.opts.Sending.DestinationRate}},
			Tenant:      notify.Rate{PerSecond: n.opts.Sending.TenantRate},
		},
		Logger: n.log, Registerer: n.opts.Registry,
	})
}
