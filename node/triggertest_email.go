package node

import (
	"strings"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/email"
)

// previewEmail is the message that would be handed to the mail server.
func previewEmail(n *notify.Notification, hide hider) (*api.TestedRequest, error) {
	e := n.Trigger.Email
	m, err := email.Message(n, e)
	if err != nil {
		return nil, err
	}
	out := &api.TestedRequest{
		Method: "SMTP", URL: "smtp://" + notify.Destination(n.Trigger), Header: map[string][]string{
			"From": m.GetFromString(), "To": m.GetToString(), "Subject": m.GetGenHeader("Subject"),
		},
	}
	var body strings.Builder
	for _, p := range m.GetParts() {
		content, err := p.GetContent()
		if err != nil {
			return nil, err
		}
		body.Write(content)
	}
	out.Body = hide.text(body.String())
	for _, values := range out.Header {
		for i := range values {
			values[i] = hide.text(values[i])
		}
	}
	return out, nil
}
