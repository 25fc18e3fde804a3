package client

import (
	"cmp"
	"context"
	"net/http"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// placeRemote changes what is said of a tenant's place, and leaves the rest as it is:
// the API takes all of it.
func (c *Client) placeRemote(ctx context.Context, p api.Placement) error {
	path := tenantPath(p.Tenant, "placement")
	now, _, err := read[v1.Assignment](ctx, c, http.MethodGet, path, nil, nil, nil)
	if err != nil {
		return err
	}
	_, _, err = read[v1.Assignment](ctx, c, http.MethodPut, path, nil, nil, v1.PlacementRequest{
		Pin: *cmp.Or(p.Pin, &now.Pin), Weight: *cmp.Or(p.Weight, &now.Weight), Priority: *cmp.Or(p.Priority, &now.Priority),
	})
	return err
}
