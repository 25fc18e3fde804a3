package spec

import (
	"maps"
	"slices"
	"time"
)

// The values of Trigger.Type.
const (
	TriggerSlack    = "slack"
	TriggerEmail    = "email"
	TriggerWebhook  = "webhook"
	TriggerTelegram = "telegram"
	TriggerDiscord  = "discord"
	TriggerScript   = "script"

	// The following are extensions.

	TriggerPagerDuty = "pagerduty"
	TriggerConsole   = "console" // for the operator's folder only
)

// Trigger is a way to tell about a match: one member of a file in triggers/.
// Exactly the channel that Type names is set; console has no settings.
type Trigger struct {
	Name string
	Type string

	Slack     *Slack
	Email     *Email
	Webhook   *Webhook
	Telegram  *Telegram
	Discord   *Discord
	Script    *Script
	PagerDuty *PagerDuty

	Retry RetryPolicy // zero for scripts, else with defaults filled in
	// Schedule is how long the outbox waits before each of its attempts, once
	// those of Retry have failed; nil for the outbox's own schedule. An
	// extension: 1 to 20 entries of 1 s to 48 h.
	Schedule []time.Duration
}

// Message is a title and a body, both templates.
type Message struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Slack posts to an incoming webhook of Slack.
type Slack struct {
	URL     Secret // starts with https://hooks.slack.com/
	Message Message
}

// Discord posts to a webhook of Discord.
type Discord struct {
	URL     Secret // starts with https://discord.com/api/webhooks/
	Message Message
}

// Telegram sends through a bot.
type Telegram struct {
	Token             Secret
	ChatID            string
	DisableWebPreview bool
	Message           Message
}

// The values of Webhook.PayloadMode.
const (
	PayloadTemplate = "template"
	PayloadRaw      = "raw"
)

// Webhook sends JSON to any address.
type Webhook struct {
	URL         Secret
	Method      string             // GET, POST, PUT or DELETE, in upper case; default POST
	Secret      *Secret            // signing key, nil when absent
	Headers     map[string]*Secret // a JSON string in a document is a plain secret here; values never nil
	PayloadMode string             // PayloadTemplate or PayloadRaw
	Message     *Message           // never nil in template mode
}

// Email sends by SMTP.
type Email struct {
	Host       string
	Port       uint16 // default 465
	Username   Secret // zero, as is Password, where TLS is TLSNone
	Password   Secret
	Message    Message
	Sender     string
	Recipients []string
	TLS        string // one of the TLS constants; an extension, "" leaves it to the port
}

// The values of Email.TLS.
const (
	TLSImplicit = "implicit" // from the first byte
	TLSStart    = "starttls" // begun by the command STARTTLS, without which nothing is sent
	TLSNone     = "none"     // never encrypted, which forbids credentials
)

// Security is how the connection is encrypted, as one of the TLS constants:
// what TLS says, else TLSImplicit on port 465 and TLSStart on all others.
func (e *Email) Security() string {
	switch {
	case e.TLS != "":
		return e.TLS
	case e.Port == 465:
		return TLSImplicit
	default:
		return TLSStart
	}
}

// DefaultPagerDutyURL takes the events of PagerDuty's Events API v2.
const DefaultPagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// The values of PagerDuty.Severity.
const (
	PagerDutyCritical = "critical"
	PagerDutyError    = "error"
	PagerDutyWarning  = "warning"
	PagerDutyInfo     = "info"
)

// PagerDuty opens and resolves incidents by Events API v2. An extension.
type PagerDuty struct {
	RoutingKey Secret
	Severity   string // default PagerDutyCritical
	Message    Message
	URL        string // default DefaultPagerDutyURL; holds no secret
}

// The values of Script.Language.
const (
	JavaScript = "JavaScript"
	Python     = "Python"
	Bash       = "Bash"
)

// Script is a program to run: a trigger of its own, or a trigger condition.
type Script struct {
	Arguments  []string // nil when absent, which scripts can tell from empty
	Language   string
	ScriptPath string // as written
	TimeoutMS  uint32 // milliseconds, at least 1
}

// Timeout is how long the script may run.
func (s *Script) Timeout() time.Duration { return time.Duration(s.TimeoutMS) * time.Millisecond }

// The values of RetryPolicy.Jitter.
const (
	JitterNone = "none"
	JitterFull = "full"
)

// RetryPolicy is how a failed send is repeated.
type RetryPolicy struct {
	MaxRetries uint32
	Base       uint32        // factor between two delays
	Initial    time.Duration // first delay, at most Max
	Max        time.Duration
	Jitter     string
}

// DefaultRetryPolicy is the policy of a document that gives none.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{MaxRetries: 3, Base: 2, Initial: 250 * time.Millisecond, Max: 10 * time.Second, Jitter: JitterFull}
}

// Secrets returns pointers to every secret of the document, header values
// included and in the order of header names, so that a caller can seal or
// resolve them in place.
func (t *Trigger) Secrets() []*Secret {
	switch {
	case t.Slack != nil:
		return []*Secret{&t.Slack.URL}
	case t.Discord != nil:
		return []*Secret{&t.Discord.URL}
	case t.Telegram != nil:
		return []*Secret{&t.Telegram.Token}
	case t.PagerDuty != nil:
		return []*Secret{&t.PagerDuty.RoutingKey}
	case t.Email != nil:
		if t.Email.TLS == TLSNone {
			return nil
		}
		return []*Secret{&t.Email.Username, &t.Email.Password}
	case t.Webhook != nil:
		out := []*Secret{&t.Webhook.URL}
		if t.Webhook.Secret != nil {
			out = append(out, t.Webhook.Secret)
		}
		for _, name := range slices.Sorted(maps.Keys(t.Webhook.Headers)) {
			out = append(out, t.Webhook.Headers[name])
		}
		return out
	default:
		return nil
	}
}
