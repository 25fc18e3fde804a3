package notify_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/vectors"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/discord"
	"github.com/ozmo-dev/ozmo/worker/notify/email"
	"github.com/ozmo-dev/ozmo/worker/notify/slack"
	"github.com/ozmo-dev/ozmo/worker/notify/telegram"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

type templateCase struct {
	Input struct {
		Channel           string            `json:"channel"`
		Title             string            `json:"title"`
		Template          string            `json:"template"`
		Variables         map[string]string `json:"variables"`
		ChatID            string            `json:"chat_id"`
		DisableWebPreview bool              `json:"disable_web_preview"`
	} `json:"input"`
	Expect struct {
		Text    string          `json:"text"`
		Payload json.RawMessage `json:"payload"`
	} `json:"expect"`
}

// TestConformance runs the template vectors, each through the channel it names.
func TestConformance(t *testing.T) {
	var passed, failed int
	for _, file := range vectors.Files(t, "template") {
		var c templateCase
		if err := json.Unmarshal(file.Data, &c); err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		if t.Run(file.Name, func(t *testing.T) { runTemplateCase(t, c) }) {
			passed++
		} else {
			failed++
		}
	}
	vectors.Summary("template", passed, 0, failed, "")
}

func runTemplateCase(t *testing.T, c templateCase) {
	in := c.Input
	m := notify.Render(spec.Message{Title: in.Title, Body: in.Template}, in.Variables)
	var text string
	var payload []byte
	switch in.Channel {
	case "":
		text = m.Body.String()
	case "telegram_escape":
		text = telegram.EscapeMarkdownV2(notify.Words(in.Template))
	case "slack":
		text, payload = slack.Text(m), slack.Payload(m)
	case "discord":
		text, payload = discord.Text(m), discord.Payload(m)
	case "telegram":
		text, payload = telegram.Text(m), telegram.Payload(in.ChatID, in.DisableWebPreview, m)
	case "webhook":
		text, payload = m.Body.String(), webhook.Payload(m)
	case "email":
		var err error
		if text, err = email.Body(m.Body); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("unknown channel %q", in.Channel)
	}
	if diff := cmp.Diff(c.Expect.Text, text); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if c.Expect.Payload == nil {
		return
	}
	// The vectors state no order of keys; the peer's is alphabetical.
	want, err := notify.Canonical(c.Expect.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(payload)); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}
