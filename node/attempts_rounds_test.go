package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// Attempts of a delivery are numbered one after the other, whether they were quick
// repetitions, came from the outbox, or were made since an operator had it redelivered.
func TestAttemptsAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1})
		file := filepath.Join(c.Folder(), "tenants/t000/triggers/hook.json")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		patient := strings.NewReplacer(`"max_retries": 0`, `"max_retries": 2`, `"retry_policy"`, `"retry_schedule": ["1s", "2s"], "retry_policy"`).Replace(string(data))
		if err := os.WriteFile(file, []byte(patient), 0o600); err != nil {
			t.Fatal(err)
		}
		takeOver(c)
		c.Receiver.Refuse(http.StatusServiceUnavailable)
		c.Extend("net", 1)
		c.Extend("net", 0)
		n := c.Member("a").Node()
		key := ""
		shows := func(want ...int) error {
			d, err := n.ShowDelivery(t.Context(), key)
			if err != nil || len(d.History) != len(want) {
				return fmt.Errorf("%d attempts, %w; want %d", len(d.History), err, len(want))
			}
			for i, a := range d.History {
				if a.N != i+1 || a.Round != want[i] {
					return fmt.Errorf("attempt %d is shown as %d of round %d, want round %d", i+1, a.N, a.Round, want[i])
				}
			}
			if int(d.Attempts) != want[len(want)-1] {
				return fmt.Errorf("%d rounds, want %d", d.Attempts, want[len(want)-1])
			}
			return nil
		}
		c.Eventually(settle, func() error {
			for d := range c.View().DeadLetters() {
				key = d.Key
			}
			if key == "" {
				return errors.New("no dead letter")
			}
			return shows(1, 1, 1, 2, 3)
		})
		c.Receiver.Refuse(0)
		if _, err := n.ChangeDeliveries(t.Context(), "redeliver", api.DeliveryOrder{Keys: []string{key}}); err != nil {
			t.Fatal(err)
		}
		c.Eventually(settle, func() error { return shows(1, 1, 1, 2, 3, 1) })
	})
}
