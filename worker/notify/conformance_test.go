package notify

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
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
	files, err := filepath.Glob(filepath.Join(vectors(t), "template", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no template vectors: set OZMO_VECTORS to their folder")
	}
	var passed, failed, notRun int
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c templateCase
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if c.Input.Channel == "email" {
			notRun++
			continue
		}
		if t.Run(filepath.Base(file), func(t *testing.T) { runTemplateCase(t, c) }) {
			passed++
		} else {
			failed++
		}
	}
	// Standard output, so that a script can gather the lines of all areas.
	fmt.Fprintf(os.Stdout, "template: %d passed, 0 deviations, %d failed (%d e-mail cases not run: comes later)\n", passed, failed, notRun)
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

// vectors is the folder of conformance vectors: $OZMO_VECTORS, or the one
// beside the repository.
func vectors(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("OZMO_VECTORS"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", "vectors")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
