package notify

import (
	"cmp"
	"net"
	"strconv"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Destination names where a trigger sends to, without anything secret: scheme
// and host of an address, host and port of a mail server, else the type.
func Destination(t *spec.Trigger) string {
	switch {
	case t.Webhook != nil:
		return spec.Redact(t.Webhook.URL.Value)
	case t.Slack != nil:
		return spec.Redact(t.Slack.URL.Value)
	case t.Discord != nil:
		return spec.Redact(t.Discord.URL.Value)
	case t.PagerDuty != nil:
		return spec.Redact(cmp.Or(t.PagerDuty.URL, spec.DefaultPagerDutyURL))
	case t.Telegram != nil:
		return "https://api.telegram.org"
	case t.Email != nil:
		return net.JoinHostPort(t.Email.Host, strconv.Itoa(int(t.Email.Port)))
	default:
		return t.Type
	}
}
