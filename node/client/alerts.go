package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func alertsPath(tenant string) string { return "/v1/tenants/" + url.PathEscape(tenant) + "/alerts" }

// Alerts lists a page of a tenant's alerts.
func (c *Client) Alerts(ctx context.Context, tenant string, query url.Values) (v1.AlertPage, error) {
	return get[v1.AlertPage](ctx, c, http.MethodGet, alertsPath(tenant), query)
}

// ErrStreamEnded: the node has ended the stream; its words are with it.
var ErrStreamEnded = errors.New("the stream has ended")

// AlertEvent is an event of a stream: "alert", "gap" or "end".
type AlertEvent struct {
	ID   string // to go on from
	Name string
	Data []byte // JSON
}

// maxEvent bounds one line of a stream, in bytes.
const maxEvent = 1 << 20

// FollowAlerts tells of a tenant's alerts until ctx ends, tell fails or the stream
// breaks.
func (c *Client) FollowAlerts(ctx context.Context, tenant string, query url.Values, tell func(AlertEvent) error) error {
	resp, err := c.do(ctx, http.MethodGet, alertsPath(tenant)+"/stream", query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	var e AlertEvent
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "" && e.Name == "end":
			return fmt.Errorf("%w: %s", ErrStreamEnded, e.Data)
		case lines.Text() == "":
			if e.Name != "" {
				if err := tell(e); err != nil {
					return err
				}
			}
			e = AlertEvent{}
		case field == "id":
			e.ID = value
		case field == "event":
			e.Name = value
		case field == "data":
			e.Data = []byte(value)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrStreamEnded, err)
	}
	return ErrStreamEnded
}
