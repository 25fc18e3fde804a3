package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ozmo-dev/ozmo/node/api"
)

// ListDeliveries finds deliveries.
func (c *Client) ListDeliveries(ctx context.Context, choice api.DeliveryChoice) (api.DeliveryList, error) {
	return put[api.DeliveryList](ctx, c, "/v1/deliveries/list", choice)
}

// ShowDelivery tells all that is known of a delivery; the beginning of its key is
// enough where no other one begins like it.
func (c *Client) ShowDelivery(ctx context.Context, key string) (api.DeliveryDetail, error) {
	return get[api.DeliveryDetail](ctx, c, http.MethodGet, "/v1/deliveries/"+url.PathEscape(key), nil)
}

// ChangeDeliveries has deliveries made at once ("redeliver"), or forgotten ("purge").
func (c *Client) ChangeDeliveries(ctx context.Context, change string, o api.DeliveryOrder) (api.DeliveriesChanged, error) {
	return put[api.DeliveriesChanged](ctx, c, "/v1/deliveries/"+url.PathEscape(change), o)
}
