package spec

import (
	"slices"
	"strings"
)

var triggerTypes = []string{
	TriggerSlack, TriggerEmail, TriggerWebhook, TriggerTelegram, TriggerDiscord, TriggerScript, TriggerPagerDuty, TriggerConsole,
}

// ParseTrigger reads one trigger: the object inside a trigger file, without its
// id. The trigger is nil when a problem is an error.
func ParseTrigger(data []byte, opts ...Option) (*Trigger, Problems) {
	w, root := newWalk(data, newOptions(opts))
	t := readTrigger(root)
	return accepted(w, t)
}

// ParseTriggerFile reads a trigger file: an object of triggers by id. Triggers
// with an error are left out.
func ParseTriggerFile(data []byte, opts ...Option) (map[string]*Trigger, Problems) {
	w, root := newWalk(data, newOptions(opts))
	out := make(map[string]*Trigger)
	if o := root.object(); o != nil {
		o.unknown(func(item node) {
			before := w.errors()
			if t := readTrigger(item); t != nil && w.errors() == before {
				out[item.key] = t
			}
		})
	}
	return out, w.finish()
}

func readTrigger(root node) *Trigger {
	o := root.object()
	if o == nil {
		return nil
	}
	t := &Trigger{Name: o.nonEmpty("name")}
	kind := o.required("trigger_type", "a string")
	t.Type, _ = kind.oneOf(triggerTypes...)
	config := o.required("config", "an object")
	o.done()
	if t.Type == TriggerScript {
		s := readScript(config)
		t.Script = &s
		return t
	}
	c := config.object()
	if c == nil || t.Type == "" {
		return t
	}
	switch t.Type {
	case TriggerSlack:
		t.Slack = readSlack(c)
	case TriggerEmail:
		t.Email = readEmail(c)
	case TriggerWebhook:
		t.Webhook = readWebhook(c)
	case TriggerTelegram:
		t.Telegram = readTelegram(c)
	case TriggerDiscord:
		t.Discord = readDiscord(c)
	case TriggerPagerDuty:
		t.PagerDuty = readPagerDuty(c)
	case TriggerConsole:
		if root.w.origin == OriginTenant {
			kind.fail("found %s, which only the operator's folder may use: it writes to the node's own output", quote(t.Type))
		}
	}
	t.Retry = readRetryPolicy(c.optional("retry_policy"))
	t.Schedule = readSchedule(c.optional("retry_schedule"))
	c.done()
	return t
}

func readSlack(c *object) *Slack {
	address, _ := readURL(c.required("slack_url", secretShape), "https://hooks.slack.com/")
	return &Slack{URL: address, Message: readMessage(c, 0)}
}

func readDiscord(c *object) *Discord {
	address, _ := readURL(c.required("discord_url", secretShape), "https://discord.com/api/webhooks/")
	return &Discord{URL: address, Message: readMessage(c, 2000)}
}

// readURL reads a secret whose value starts with one of the prefixes. The value
// is empty when it is not known here.
func readURL(n node, prefixes ...string) (s Secret, value string) {
	s = readSecret(n)
	value, ok := n.resolve(s)
	if ok && !hasPrefix(value, prefixes) {
		n.fail("found an address that does not start with %s", strings.Join(prefixes, " or "))
	}
	return s, value
}

// readMessage reads a message that must say something; its body may hold
// maxBody bytes, or any number when that is 0.
func readMessage(c *object, maxBody int) Message {
	n := c.required("message", `an object like {"title": ..., "body": ...}`)
	o := n.object()
	if o == nil {
		return Message{}
	}
	m := Message{Title: nonBlank(o, "title"), Body: nonBlank(o, "body")}
	o.done()
	if maxBody > 0 && len(m.Body) > maxBody {
		o.child("body", nil).fail("found %d bytes, expected at most %d", len(m.Body), maxBody)
	}
	return m
}

func nonBlank(o *object, key string) string {
	n := o.required(key, "a string")
	s, ok := n.text()
	if ok && strings.TrimSpace(s) == "" {
		n.fail("is blank")
	}
	return s
}

func readTelegram(c *object) *Telegram {
	token := c.required("token", secretShape)
	t := &Telegram{Token: readSecret(token), ChatID: nonBlank(c, "chat_id")}
	if v, ok := token.resolve(t.Token); ok && !isTelegramToken(v) {
		token.fail("is no bot token: expected 8 to 10 digits, a colon and 35 letters, digits, underscores or hyphens")
	}
	t.DisableWebPreview, _ = c.optional("disable_web_preview").boolean()
	t.Message = readMessage(c, 4096)
	return t
}

func isTelegramToken(s string) bool {
	id, key, ok := strings.Cut(s, ":")
	return ok && len(id) >= 8 && len(id) <= 10 && digits(id) == len(id) && len(key) == 35 && isPlainKey(key)
}

func readWebhook(c *object) *Webhook {
	h := &Webhook{Method: "POST", PayloadMode: PayloadTemplate}
	address := c.required("url", secretShape)
	var value string
	if h.URL, value = readURL(address, "http://", "https://"); strings.HasPrefix(value, "http://") {
		address.warn("%s is not encrypted: anyone on the way can read what is sent", Redact(value))
	}
	if method := c.optional("method"); method.ok() {
		h.Method = readMethod(method)
	}
	if secret := c.optional("secret"); secret.ok() {
		s := readSecret(secret)
		if v, ok := secret.resolve(s); ok && v == "" {
			secret.warn("is empty: sending will fail")
		}
		h.Secret = &s
	}
	h.Headers = readHeaders(c.optional("headers"))
	if mode := c.optional("payload_mode"); mode.ok() {
		h.PayloadMode, _ = mode.oneOf(PayloadTemplate, PayloadRaw)
	}
	if h.PayloadMode != PayloadRaw {
		m := readMessage(c, 0)
		h.Message = &m
	} else if o := c.optional("message").object(); o != nil {
		h.Message = &Message{Title: o.text("title"), Body: o.text("body")}
		o.done()
	}
	return h
}

func readMethod(n node) string {
	s, ok := n.text()
	s = strings.ToUpper(s)
	methods := []string{"GET", "POST", "PUT", "DELETE"}
	if ok && !slices.Contains(methods, s) {
		n.fail("found %s, expected %s", quote(s), alternatives(methods))
	}
	return s
}

// readHeaders reads header values: a string is the value itself, and a secret
// object is allowed as an extension.
func readHeaders(n node) map[string]*Secret {
	o := n.object()
	if o == nil {
		return nil
	}
	headers := make(map[string]*Secret, len(o.members))
	o.unknown(func(value node) {
		var s Secret
		switch value.raw[0] {
		case '"':
			s = Plain(unquote(value.raw))
		case '{':
			s = readSecret(value)
			value.resolve(s)
		default:
			value.fail("found %s, expected a string or %s", value.foundKind(), secretShape)
		}
		headers[value.key] = &s
	})
	if headers["X-API-Key"] == nil && headers["Authorization"] == nil {
		n.warn("holds neither X-API-Key nor Authorization: the receiver cannot tell who sends")
	}
	return headers
}
