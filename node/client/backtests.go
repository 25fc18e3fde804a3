package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func backtestsPath(tenant string) string {
	return "/v1/tenants/" + url.PathEscape(tenant) + "/backtests"
}

// CreateBacktest has a tenant's monitor judge blocks of the past.
func (c *Client) CreateBacktest(ctx context.Context, tenant string, r v1.BacktestRequest) (v1.BacktestDetail, error) {
	return put[v1.BacktestDetail](ctx, c, backtestsPath(tenant), r)
}

// Backtests lists a tenant's, the newest first. There are never more than one page.
func (c *Client) Backtests(ctx context.Context, tenant string) ([]v1.Backtest, error) {
	p, err := get[v1.Page[v1.Backtest]](ctx, c, http.MethodGet, backtestsPath(tenant), url.Values{"limit": {"500"}})
	return p.Items, err
}

// Backtest shows one with what it has found.
func (c *Client) Backtest(ctx context.Context, tenant, id string) (v1.BacktestDetail, error) {
	return get[v1.BacktestDetail](ctx, c, http.MethodGet, backtestsPath(tenant)+"/"+url.PathEscape(id), nil)
}

// DeleteBacktest cancels one that is not over, and forgets one that is, unless it is
// only to be cancelled.
func (c *Client) DeleteBacktest(ctx context.Context, tenant, id string, cancel bool) error {
	resp, err := c.do(ctx, http.MethodDelete, backtestsPath(tenant)+"/"+url.PathEscape(id), url.Values{"cancel": {strconv.FormatBool(cancel)}})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
