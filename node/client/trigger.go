package client

import (
	"context"
	"net/http"

	"github.com/ozmo-dev/ozmo/node/api"
)

// TestTrigger has one sample alert sent, or shown, through a trigger.
func (c *Client) TestTrigger(ctx context.Context, t api.TriggerTest) (*api.TriggerTested, error) {
	return get[*api.TriggerTested](ctx, c, http.MethodPost, "/v1/triggers/test", t.Query())
}
