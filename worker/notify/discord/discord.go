package discord

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Channel posts to Discord. It implements notify.Channel.
type Channel struct{ http *notify.HTTP }

// New makes a channel that sends through h.
func New(h *notify.HTTP) *Channel { return &Channel{http: h} }

// Send makes one attempt. What cannot be sent at all is refused before any
// request, with an error that wraps notify.ErrMisconfigured.
func (c *Channel) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	return c.http.Send(ctx, "discord", n, Build)
}

// Build makes the request for a notification: repeated attempts are the same
// byte for byte. Errors wrap notify.ErrMisconfigured.
func Build(n *notify.Notification) (notify.Request, error) {
	d := n.Trigger.Discord
	if d == nil {
		return notify.Request{}, fmt.Errorf("%w: the trigger has no discord settings", notify.ErrMisconfigured)
	}
	address, err := notify.Plain(d.URL, "discord_url")
	if err != nil {
		return notify.Request{}, err
	}
	return notify.Request{
		Method: http.MethodPost,
		URL:    address,
		Header: notify.Header(n),
		Body:   Payload(notify.Compose(n.Alert, d.Message)),
	}, nil
}
