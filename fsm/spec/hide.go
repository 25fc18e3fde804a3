package spec

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// Every type with a secret inside says how it is printed and logged. Leaving
// that to the Secret is not enough: for a verb that does not fit, fmt prints
// what a pointer points to without asking its methods, and slog's JSON handler
// marshals what it is given.

// Format shows what identifies the network, for every verb.
func (n Network) Format(f fmt.State, _ rune) { show(f, "network", n.Slug) }

// LogValue shows what identifies the network.
func (n Network) LogValue() slog.Value {
	return slog.GroupValue(slog.String("slug", n.Slug), slog.String("type", string(n.Type)))
}

// Format shows what identifies the monitor, for every verb.
func (m Monitor) Format(f fmt.State, _ rune) { show(f, "monitor", m.Name) }

// LogValue shows what identifies the monitor.
func (m Monitor) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", m.Name), slog.Bool("paused", m.Paused))
}

// Format shows what identifies the trigger, for every verb.
func (t Trigger) Format(f fmt.State, _ rune) { show(f, "trigger", t.Name) }

// LogValue shows what identifies the trigger.
func (t Trigger) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", t.Name), slog.String("type", t.Type))
}

// Format shows the address without its secret, for every verb.
func (u RPCURL) Format(f fmt.State, _ rune) { show(f, u.Type+" "+hidden, "") }

// LogValue shows the address without its secret.
func (u RPCURL) LogValue() slog.Value { return slog.StringValue(u.Type + " " + hidden) }

// Format hides what is inside.
func (Slack) Format(f fmt.State, _ rune) { show(f, TriggerSlack, "") }

// LogValue hides what is inside.
func (Slack) LogValue() slog.Value { return slog.StringValue(TriggerSlack) }

// Format hides what is inside.
func (Discord) Format(f fmt.State, _ rune) { show(f, TriggerDiscord, "") }

// LogValue hides what is inside.
func (Discord) LogValue() slog.Value { return slog.StringValue(TriggerDiscord) }

// Format hides what is inside.
func (Telegram) Format(f fmt.State, _ rune) { show(f, TriggerTelegram, "") }

// LogValue hides what is inside.
func (Telegram) LogValue() slog.Value { return slog.StringValue(TriggerTelegram) }

// Format hides what is inside.
func (Webhook) Format(f fmt.State, _ rune) { show(f, TriggerWebhook, "") }

// LogValue hides what is inside.
func (Webhook) LogValue() slog.Value { return slog.StringValue(TriggerWebhook) }

// Format hides what is inside.
func (Email) Format(f fmt.State, _ rune) { show(f, TriggerEmail, "") }

// LogValue hides what is inside.
func (Email) LogValue() slog.Value { return slog.StringValue(TriggerEmail) }

// Format hides what is inside.
func (PagerDuty) Format(f fmt.State, _ rune) { show(f, TriggerPagerDuty, "") }

// LogValue hides what is inside.
func (PagerDuty) LogValue() slog.Value { return slog.StringValue(TriggerPagerDuty) }

// Format hides what is inside.
func (MidnightConfiguration) Format(f fmt.State, _ rune) { show(f, "midnight", "") }

// LogValue hides what is inside.
func (MidnightConfiguration) LogValue() slog.Value { return slog.StringValue("midnight") }

func show(w io.Writer, kind, name string) {
	text := kind
	if name != "" {
		text += " " + strconv.Quote(name)
	}
	_, _ = io.WriteString(w, text)
}
