package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// Versions lists the versions of a tenant's configuration that are kept, the newest
// first: it is in force.
func (c *Client) Versions(ctx context.Context, tenant string) ([]v1.ConfigurationVersion, error) {
	return pages[v1.ConfigurationVersion](ctx, c, tenantPath(tenant, "versions"))
}

// Version gets all documents of a version.
func (c *Client) Version(ctx context.Context, tenant string, number uint64) (Configuration, error) {
	out, _, err := read[Configuration](ctx, c, http.MethodGet, tenantPath(tenant, "versions", strconv.FormatUint(number, 10)), nil, nil, nil)
	return out, err
}

// RestoreVersion puts the documents of a version in force again, as a new version. What is in
// force must have the tag match, where it is not empty.
func (c *Client) RestoreVersion(ctx context.Context, tenant string, number uint64, dryRun bool, match string) (Applied, error) {
	query, header := url.Values{}, http.Header{}
	if dryRun {
		query.Set("dry_run", "true")
	}
	if match != "" {
		header.Set("If-Match", match)
	}
	out, _, err := read[Applied](ctx, c, http.MethodPost, tenantPath(tenant, "versions", strconv.FormatUint(number, 10), "restore"), query, header, nil)
	return out, err
}
