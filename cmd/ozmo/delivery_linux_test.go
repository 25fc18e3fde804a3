package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api"
)

// On a terminal, more than one delivery is asked for first.
func TestDeliveryConfirmation(t *testing.T) {
	o := &operator{changed: api.DeliveriesChanged{Found: 3, Pending: 1, Dead: 2, Tenants: 1, Done: 3}}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	screen, keyboard := terminal(t)
	for answer, want := range map[string]int{"yes\n": exitOK, "no\n": exitFailure} {
		o.mu.Lock()
		o.orders = nil
		o.mu.Unlock()
		if _, err := keyboard.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"delivery", "purge", "--tenant", "acme"}, screen, &stdout, &stderr)
		if code != want || !strings.Contains(stderr.String(), "3 deliveries (1 pending, 2 dead) of 1 tenant will be forgotten for good. Type yes to go on: ") {
			t.Errorf("%q: exit %d\n%s%s", answer, code, stdout.String(), stderr.String())
		}
		if done := strings.Contains(o.said(), `"dry_run":false`); done != (want == exitOK) {
			t.Errorf("%q: the node was asked to %q", answer, o.said())
		}
	}
}
