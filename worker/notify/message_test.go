package notify

import (
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

func TestComposeTellsTheState(t *testing.T) {
	a := &alert.Alert{State: alert.Fired, NetworkSlug: "mainnet", Variables: map[string]string{"monitor.name": "M", "block.hash": "theirs"}}
	a.Block.Height = 7
	m := spec.Message{Title: "${monitor.name}", Body: "${alert.state} ${block.number} ${network.slug} ${block.hash}"}
	for state, want := range map[alert.State]string{
		alert.Fired:      "M|fired 7 mainnet theirs",
		alert.Retracted:  "Retracted: M|retracted 7 mainnet theirs",
		alert.Reinstated: "Reinstated: M|reinstated 7 mainnet theirs",
		alert.Confirmed:  "Confirmed: M|confirmed 7 mainnet theirs",
	} {
		a.State = state
		got := Compose(a, m)
		if text := got.Title.String() + "|" + got.Body.String(); text != want {
			t.Errorf("%s: %q, want %q", state, text, want)
		}
	}
	if len(a.Variables) != 2 {
		t.Error("composing changed the alert")
	}
}

// What is retracted may have been too large to be kept: the message then says
// which alert it is about, and shows no placeholder.
func TestComposeWithoutVariables(t *testing.T) {
	a := &alert.Alert{ID: alert.ID{0xaa}, State: alert.Retracted, MonitorName: "Large", NetworkSlug: "mainnet", Tx: "0x1f"}
	a.Block.Height = 7
	got := Compose(a, spec.Message{Title: "${monitor.name}: ${events.0.args.value}", Body: "Sent ${events.0.args.value} in ${transaction.hash}${events}."})
	if text := got.Title.String(); text != "Retracted: Large: …" {
		t.Errorf("title %q", text)
	}
	want := "Sent … in 0x1f.\n\nThis is about alert aa000000000000000000000000000000 of monitor Large: transaction 0x1f in block 7 of mainnet. What matched was too large to be kept."
	if text := got.Body.String(); text != want {
		t.Errorf("body %q", text)
	}
	a.MonitorName, a.MonitorID, a.Tx = "", "m-1", ""
	if text := Compose(a, spec.Message{Title: "T", Body: "B"}).Body.String(); !strings.Contains(text, "of monitor m-1: in block 7") {
		t.Errorf("body %q", text)
	}
	// A fired alert is sent as the peer would, unknown placeholders and all.
	a.State = alert.Fired
	if text := Compose(a, spec.Message{Title: "T", Body: "${x}"}).Body.String(); text != "${x}" {
		t.Errorf("fired: %q", text)
	}
}
