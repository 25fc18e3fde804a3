package telegram

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Options configure a Channel.
type Options struct {
	BaseURL string // for tests; default https://api.telegram.org
}

// Channel sends through bots. It implements notify.Channel.
type Channel struct {
	http *notify.HTTP
	base string
}

// New makes a channel that sends through h.
func New(h *notify.HTTP, o Options) *Channel {
	return &Channel{http: h, base: cmp.Or(o.BaseURL, "https://api.telegram.org")}
}

// Send makes one attempt. What cannot be sent at all is refused before any
// request, with an error that wraps notify.ErrMisconfigured.
func (c *Channel) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	req, err := c.build(n)
	if err != nil {
		return notify.Result{Permanent: true}, fmt.Errorf("telegram: %w", err)
	}
	res, err := c.http.Do(ctx, req)
	if res.Status == http.StatusTooManyRequests && res.RetryAfter == 0 {
		res.RetryAfter = retryAfter(res.Excerpt)
	}
	switch {
	case err == nil:
		return res, nil
	case res.Status == http.StatusNotFound:
		return res, fmt.Errorf("telegram: %w: the bot token is not known", err)
	default:
		return res, fmt.Errorf("telegram: %w", err)
	}
}

func (c *Channel) build(n *notify.Notification) (notify.Request, error) {
	t := n.Trigger.Telegram
	if t == nil {
		return notify.Request{}, fmt.Errorf("%w: the trigger has no telegram settings", notify.ErrMisconfigured)
	}
	token, err := notify.Plain(t.Token, "token")
	if err != nil {
		return notify.Request{}, err
	}
	return notify.Request{
		Method:  http.MethodPost,
		URL:     c.base + "/bot" + token + "/sendMessage",
		Header:  notify.Header(n),
		Body:    Payload(t.ChatID, t.DisableWebPreview, notify.Compose(n.Alert, t.Message)),
		Secrets: []string{token},
	}, nil
}

// retryAfter reads how long Telegram asks to wait, which it says in the answer's
// body; 0 when it does not.
func retryAfter(answer string) time.Duration {
	const longest = 7 * 24 * 3600 // seconds
	var body struct {
		Parameters struct {
			RetryAfter uint32 `json:"retry_after"`
		} `json:"parameters"`
	}
	if err := json.Unmarshal([]byte(answer), &body); err != nil {
		return 0
	}
	return time.Duration(min(body.Parameters.RetryAfter, longest)) * time.Second
}
