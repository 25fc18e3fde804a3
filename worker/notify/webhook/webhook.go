package webhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Channel sends to webhooks. It implements notify.Channel.
type Channel struct{ http *notify.HTTP }

// New makes a channel that sends through h.
func New(h *notify.HTTP) *Channel { return &Channel{http: h} }

// Send makes one attempt. What cannot be sent at all is refused before any
// request, with an error that wraps notify.ErrMisconfigured.
func (c *Channel) Send(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	return c.http.Send(ctx, "webhook", n, Build)
}

// Build makes the request for a notification. It depends on nothing but the
// notification, so that repeated attempts are the same byte for byte. Errors
// wrap notify.ErrMisconfigured.
func Build(n *notify.Notification) (notify.Request, error) {
	hook := n.Trigger.Webhook
	if hook == nil {
		return notify.Request{}, misconfigured("the trigger has no webhook settings")
	}
	address, err := notify.Plain(hook.URL, "url")
	if err != nil {
		return notify.Request{}, err
	}
	body, err := payload(n, hook)
	if err != nil {
		return notify.Request{}, err
	}
	req := notify.Request{
		Method: strings.ToUpper(cmp.Or(hook.Method, http.MethodPost)),
		URL:    address,
		Header: header(n),
		Body:   body,
	}
	if hook.Secret != nil {
		secret, err := notify.Plain(*hook.Secret, "secret")
		if err != nil {
			return notify.Request{}, err
		}
		if secret == "" {
			return notify.Request{}, misconfigured("secret is empty: give it a value, or leave it out to send unsigned")
		}
		req.Header.Set(headerSignature, sign(secret, body, millis(n.Time)))
		req.Header.Set(headerTimestamp, millis(n.Time))
		req.Header.Set(headerStandardSignature, signStandard(secret, n.Key.String(), body, seconds(n.Time)))
		req.Secrets = append(req.Secrets, secret)
	}
	// Custom headers come last, in an order of their own: they win over ours,
	// however they are written.
	for _, name := range slices.Sorted(maps.Keys(hook.Headers)) {
		value, err := notify.Plain(*hook.Headers[name], "headers."+name)
		if err != nil {
			return notify.Request{}, err
		}
		if !validName(name) {
			return notify.Request{}, misconfigured("header name %q has characters that HTTP does not allow", name)
		}
		if !validValue(value) {
			return notify.Request{}, misconfigured("the value of header %q has characters that HTTP does not allow", name)
		}
		req.Header.Set(name, value)
		req.Secrets = append(req.Secrets, value)
	}
	return req, nil
}

// validName reports whether a header name is a token (RFC 9110 §5.6.2).
func validName(name string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(marks, r)
	})
}

// validValue reports whether a header value has no control character but tab.
func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %s", notify.ErrMisconfigured, fmt.Sprintf(format, args...))
}
