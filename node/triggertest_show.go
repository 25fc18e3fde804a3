package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/console"
	"github.com/ozmo-dev/ozmo/worker/notify/discord"
	"github.com/ozmo-dev/ozmo/worker/notify/pagerduty"
	"github.com/ozmo-dev/ozmo/worker/notify/slack"
	"github.com/ozmo-dev/ozmo/worker/notify/telegram"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// preview is what a channel is about to send, with secrets hidden. Channels of
// HTTP are asked by having them send to nobody: what they would put on the wire is
// what is shown.
func preview(ctx context.Context, n *notify.Notification, hide hider) (*api.TestedRequest, error) {
	seen := &onlooker{}
	h := notify.NewHTTP(&http.Client{Transport: seen})
	var channel notify.Channel
	switch n.Trigger.Type {
	case spec.TriggerWebhook:
		channel = webhook.New(h)
	case spec.TriggerSlack:
		channel = slack.New(h)
	case spec.TriggerDiscord:
		channel = discord.New(h)
	case spec.TriggerTelegram:
		channel = telegram.New(h, telegram.Options{})
	case spec.TriggerPagerDuty:
		channel = pagerduty.New(h)
	case spec.TriggerConsole:
		return &api.TestedRequest{Method: "WRITE", URL: "console", Body: hide.text(console.Format(n))}, nil
	case spec.TriggerEmail:
		return previewEmail(n, hide)
	default:
		return nil, fmt.Errorf("%w: %q", notify.ErrNoChannel, n.Trigger.Type)
	}
	if _, err := channel.Send(ctx, n); err != nil && seen.request == nil {
		return nil, err // the trigger cannot be sent as it stands
	}
	return seen.show(hide), nil
}

// onlooker is a transport that sends nothing and remembers what it was given.
type onlooker struct {
	request *http.Request
	body    []byte
}

// RoundTrip accepts every request.
func (o *onlooker) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.request == nil {
		o.request = r
		if r.Body != nil {
			var err error
			if o.body, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("{}")), Request: r,
	}, nil
}

func (o *onlooker) show(hide hider) *api.TestedRequest {
	out := &api.TestedRequest{
		Method: o.request.Method, URL: spec.Redact(o.request.URL.String()), Header: map[string][]string{}, Body: hide.text(string(o.body)),
	}
	for name, values := range o.request.Header {
		for _, v := range values {
			out.Header[name] = append(out.Header[name], hide.value(v))
		}
	}
	if host := o.request.Host; host != "" && host != o.request.URL.Host {
		out.Header["Host"] = []string{hide.value(host)}
	}
	return out
}
