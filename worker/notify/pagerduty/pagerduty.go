package pagerduty

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Channel sends events. It implements notify.Channel.
type Channel struct{ http *notify.HTTP }

// New makes a channel that sends through h.
func New(h *notify.HTTP) *Channel { return &Channel{http: h} }

// Send makes one attempt; PagerDuty accepts with 202. What cannot be sent at
// all is refused before any request, with an error that wraps
// notify.ErrMisconfigured.
func (c *Channel) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	return c.http.Send(ctx, "pagerduty", n, Build)
}

// Build makes the request for a notification: repeated attempts are the same
// byte for byte. Errors wrap notify.ErrMisconfigured.
func Build(n *notify.Notification) (notify.Request, error) {
	p := n.Trigger.PagerDuty
	if p == nil {
		return notify.Request{}, fmt.Errorf("%w: the trigger has no pagerduty settings", notify.ErrMisconfigured)
	}
	key, err := notify.Plain(p.RoutingKey, "routing_key")
	if err != nil {
		return notify.Request{}, err
	}
	body, err := payload(n.Alert, p, key)
	if err != nil {
		return notify.Request{}, err
	}
	return notify.Request{
		Method:  http.MethodPost,
		URL:     cmp.Or(p.URL, spec.DefaultPagerDutyURL),
		Header:  notify.Header(n),
		Body:    body,
		Secrets: []string{key},
	}, nil
}
