package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// keysPath is where the keys of a tenant are, or, for an empty name, those of
// operators.
func keysPath(tenant string) string {
	if tenant == "" {
		return "/v1/keys"
	}
	return "/v1/tenants/" + url.PathEscape(tenant) + "/keys"
}

// CreateKey makes a tenant's key, or, for an empty name, an operator's. Its text is
// told this once.
func (c *Client) CreateKey(ctx context.Context, tenant string, r v1.KeyRequest) (v1.NewKey, error) {
	if tenant == "" {
		return put[v1.NewKey](ctx, c, keysPath(tenant), v1.OperatorKeyRequest{Name: r.Name, Expires: r.Expires})
	}
	return put[v1.NewKey](ctx, c, keysPath(tenant), r)
}

// Keys lists a tenant's keys, or, for an empty name, those of operators. There are
// never more than one page.
func (c *Client) Keys(ctx context.Context, tenant string) ([]v1.Key, error) {
	p, err := get[v1.Page[v1.Key]](ctx, c, http.MethodGet, keysPath(tenant), url.Values{"limit": {"500"}})
	return p.Items, err
}

// DeleteKey deletes a tenant's key, or, for an empty name, an operator's.
func (c *Client) DeleteKey(ctx context.Context, tenant, id string) error {
	resp, err := c.do(ctx, http.MethodDelete, keysPath(tenant)+"/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
