package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// period asks for a time; what is zero is as by default.
func period(from, to time.Time) url.Values {
	q := url.Values{}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339))
	}
	return q
}

// Usage tells what a tenant has caused, by "hour" or "day".
func (c *Client) Usage(ctx context.Context, tenant string, from, to time.Time, by string) (v1.TenantUsage, error) {
	q := period(from, to)
	q.Set("by", by)
	return get[v1.TenantUsage](ctx, c, http.MethodGet, "/v1/tenants/"+url.PathEscape(tenant)+"/usage", q)
}

// usagePage is how many tenants are asked for at once.
const usagePage = 500

// TopUsage lists what tenants have caused, at most limit of them; those come first
// that have most of what is sorted by.
func (c *Client) TopUsage(ctx context.Context, from, to time.Time, sort string, limit int) (v1.UsagePage, error) {
	q := period(from, to)
	q.Set("sort", sort)
	var out v1.UsagePage
	for {
		q.Set("limit", strconv.Itoa(min(limit-len(out.Items), usagePage)))
		p, err := get[v1.UsagePage](ctx, c, http.MethodGet, "/v1/usage", q)
		if err != nil {
			return out, err
		}
		p.Items = append(out.Items, p.Items...)
		out = p
		if out.Next == "" || len(out.Items) >= limit {
			return out, nil
		}
		q.Set("cursor", out.Next)
	}
}
