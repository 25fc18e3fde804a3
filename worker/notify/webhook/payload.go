package webhook

import (
	"net/http"
	"strconv"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// header are the headers of every request.
func header(n *notify.Notification) http.Header {
	h := notify.Header(n)
	h.Set(headerID, n.Key.String())
	h.Set(headerStandardTimestamp, seconds(n.Time))
	return h
}

func payload(n *notify.Notification, hook *spec.Webhook) ([]byte, error) {
	if hook.PayloadMode == spec.PayloadRaw {
		return raw(n.Alert)
	}
	if hook.Message == nil {
		return nil, misconfigured("message is missing, which payload mode %q needs", spec.PayloadTemplate)
	}
	return Payload(notify.Compose(n.Alert, *hook.Message)), nil
}

// Payload is the body in template mode (spec triggers-and-notifications §4). It
// has no markup, so values stand in it as they are.
func Payload(m notify.Message) []byte {
	b := notify.AppendString([]byte(`{"body":`), m.Body.String())
	b = append(b, `,"title":`...)
	b = notify.AppendString(b, m.Title.String())
	return append(b, '}')
}

// raw is the body in raw mode: the match object, whatever has become of the
// alert. Where that was too large to be kept until an alert was retracted, what
// is known of the alert stands in its place.
func raw(a *alert.Alert) ([]byte, error) {
	if len(a.Match) == 0 && a.State != alert.Fired {
		return known(a), nil
	}
	body, err := notify.Canonical(a.Match)
	if err != nil {
		return nil, misconfigured("the alert's match object cannot be sent: %v", err)
	}
	return body, nil
}

func known(a *alert.Alert) []byte {
	b := []byte(`{"alert":{`)
	for i, field := range []struct{ name, value string }{
		{"block_hash", a.Block.Hash.String()},
		{"block_number", strconv.FormatUint(a.Block.Height, 10)},
		{"id", a.ID.String()},
		{"monitor", a.MonitorName},
		{"network_slug", a.NetworkSlug},
		{"state", a.State.String()},
		{"transaction", a.Tx},
	} {
		if i > 0 {
			b = append(b, ',')
		}
		b = notify.AppendString(b, field.name)
		b = append(b, ':')
		b = notify.AppendString(b, field.value)
	}
	return append(b, "}}"...)
}
