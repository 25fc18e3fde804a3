package node

import (
	"context"

	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/console"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// channels are the ways out of this node.
func (n *Node) channels() notify.Channels {
	return notify.Channels{
		"webhook": lastLook{n, webhook.New(notify.NewHTTP(notify.NewHTTPClient(n.opts.Network.Dial, nil)))},
		"console": lastLook{n, console.New(n.opts.Console)},
	}
}

// lastLook is a channel that begins nothing without contact, nor for a tenant
// that another node has meanwhile. Worker and outbox look before they ask for an
// attempt; after that it may have waited long for its turn, or be a repetition.
type lastLook struct {
	node    *Node
	channel notify.Channel
}

// Send makes one attempt, or answers with outbox.ErrNotBegun.
func (l lastLook) Send(ctx context.Context, m *notify.Notification) (notify.Result, error) {
	if err := l.node.contact.Wait(ctx); err != nil {
		return notify.Result{}, err
	}
	v := l.node.state.View()
	if t, ok := v.Tenant(m.Alert.Tenant); ok && v.Owner(t) != l.node.opts.Name {
		return notify.Result{}, outbox.ErrNotBegun
	}
	return l.channel.Send(ctx, m)
}
