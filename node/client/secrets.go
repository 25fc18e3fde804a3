package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ozmo-dev/ozmo/node/api"
)

// IssueOperator has an operator's certificate signed; it works through the local
// socket alone.
func (c *Client) IssueOperator(ctx context.Context, r api.OperatorRequest) (api.OperatorCertificate, error) {
	return put[api.OperatorCertificate](ctx, c, api.PathOperators, r)
}

// SetSecret has the cluster keep a tenant's secret.
func (c *Client) SetSecret(ctx context.Context, s api.Secret) error {
	if c.remote != nil {
		return c.setRemoteSecret(ctx, s)
	}
	_, err := put[nothing](ctx, c, "/v1/secrets", s)
	return err
}

// Secrets lists what a tenant has stored, without the values.
func (c *Client) Secrets(ctx context.Context, tenant string) ([]api.SecretStatus, error) {
	if c.remote != nil {
		return c.remoteSecrets(ctx, tenant)
	}
	return get[[]api.SecretStatus](ctx, c, http.MethodGet, "/v1/secrets/"+url.PathEscape(tenant), nil)
}

// DeleteSecret has the cluster forget a secret, if it is forced also one in use.
func (c *Client) DeleteSecret(ctx context.Context, tenant, name string, force bool) error {
	if c.remote != nil {
		return c.deleteRemoteSecret(ctx, tenant, name, force)
	}
	_, err := get[nothing](ctx, c, http.MethodDelete, "/v1/secrets/"+url.PathEscape(tenant)+"/"+url.PathEscape(name),
		url.Values{"force": {strconv.FormatBool(force)}})
	return err
}
