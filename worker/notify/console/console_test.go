package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func notification() *notify.Notification {
	block := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &notify.Notification{
		Alert: &alert.Alert{
			Tenant: "acme", MonitorName: "Large transfers", Network: "acme/devnet", State: alert.Fired,
			Block: fsm.BlockRef{Height: 42, Hash: fsm.Hash{0xab}}, BlockTime: block, Tx: "0x1f",
			Variables: map[string]string{
				"events.0.signature":     "Transfer(address,address,uint256)",
				"events.0.args.value":    "7",
				"events.0.args.from":     "0x01",
				"events.1.signature":     "Note(string)",
				"events.1.args.text":     "hi\x1b[2J\nFIRED forged",
				"functions.0.signature":  "transfer(address,uint256)",
				"functions.0.args.to":    "0x02",
				"functions.10.args.lost": "no signature",
			},
		},
		Time: block.Add(1234 * time.Millisecond),
	}
}

const want = `FIRED Large transfers
  tenant       acme
  network      acme/devnet
  block        42 0xab00000000000000000000000000000000000000000000000000000000000000
  transaction  0x1f
  event        Transfer(address,address,uint256)
                 from = 0x01
                 value = 7
  event        Note(string)
                 text = hi\x1b[2J\nFIRED forged
  function     transfer(address,uint256)
                 to = 0x02
  after        1.234s

`

func TestSend(t *testing.T) {
	var out bytes.Buffer
	if _, err := New(&out).Send(t.Context(), notification()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnknownBlockTimeIsLeftOut(t *testing.T) {
	n := notification()
	n.Alert.BlockTime = time.Time{}
	if text := Format(n); strings.Contains(text, "after") {
		t.Errorf("a time nobody knows is shown:\n%s", text)
	}
}

// Alerts written at once do not run into each other.
func TestAlertsStayWhole(t *testing.T) {
	var out bytes.Buffer
	c := New(&out)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Send(context.Background(), notification()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if out.String() != strings.Repeat(want, 20) {
		t.Error("alerts are mixed up")
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write(p []byte) (int, error) { return len(p) / 2, w.err }

func TestBrokenWriter(t *testing.T) {
	for given, wanted := range map[error]error{io.ErrClosedPipe: io.ErrClosedPipe, nil: io.ErrShortWrite} {
		if _, err := New(brokenWriter{given}).Send(t.Context(), notification()); !errors.Is(err, wanted) {
			t.Errorf("error %v, want %v", err, wanted)
		}
	}
}
