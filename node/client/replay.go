package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ozmo-dev/ozmo/node/api"
)

// Replay has a range of the past judged again. progress and match may be nil.
func (c *Client) Replay(ctx context.Context, r api.Replay, progress func(api.Progress), match func(api.ReplayMatch)) (*api.Replayed, error) {
	resp, err := c.do(ctx, http.MethodPost, "/v1/replay", r.Query())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var e api.ReplayEvent
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("the node's answer broke off: %w", err)
		}
		switch {
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Result != nil:
			return e.Result, nil
		case e.Progress != nil && progress != nil:
			progress(*e.Progress)
		case e.Match != nil && match != nil:
			match(*e.Match)
		}
	}
}
