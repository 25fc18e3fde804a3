package notify

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/vectors"
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

// TestConformance runs the template vectors. E-mail is served elsewhere, once
// it is: those cases are counted apart, not as passed.
func TestConformance(t *testing.T) {
	var passed, failed, notRun int
	for _, file := range vectors.Files(t, "template") {
		var c templateCase
		if err := json.Unmarshal(file.Data, &c); err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		if c.Input.Channel == "email" {
			notRun++
			continue
		}
		if t.Run(file.Name, func(t *testing.T) { runTemplateCase(t, c) }) {
			passed++
		} else {
			failed++
		}
	}
	vectors.Summary("template", passed, 0, failed, fmt.Sprintf("%d e-mail cases not run: comes later", notRun))
}

func runTemplateCase(t *testing.T, c templateCase) {
	in := c.Input
	m := Render(spec.Message{Title: in.Title, Body: in.Template}, in.Variables)
	var text string
	var payload []byte
	switch in.Channel {
	case "":
		text = m.Body.String()
	case "telegram_escape":
		text = EscapeMarkdownV2(Text{text: in.Template})
	case "slack":
		text, payload = headed(m).String(), SlackPayload(m)
	case "discord":
		text, payload = headed(m).String(), DiscordPayload(m)
	case "telegram":
		text, payload = telegramText(m), TelegramPayload(in.ChatID, in.DisableWebPreview, m)
	case "webhook":
		text, payload = m.Body.String(), WebhookPayload(m)
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
	want, err := Canonical(c.Expect.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(payload)); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}
