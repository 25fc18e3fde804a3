package node

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// Whoever asks to be registered after another registration than the last one is
// told of that, and nothing is proposed for somebody who may have ended.
func TestRegistrationFollowsTheLastOne(t *testing.T) {
	n := &Node{
		log: slog.New(slog.DiscardHandler), keeper: secrets.New(secrets.NewKey()),
		state: stateWith(t, &fsm.RegisterNode{Name: "a", Server: "a@1"}, &fsm.RegisterNode{Name: "b", Server: "b@1"}),
	}
	n.opts.RaftMultiplier = 1
	n.contacts.reset(time.Now().Add(-time.Hour))
	for name, tc := range map[string]struct{ after, last uint64 }{
		"b":   {1, 2}, // the first of its name, as it believes
		"a":   {9, 1},
		"new": {5, 0}, // it was removed since
	} {
		c := registration{RegisterNode: fsm.RegisterNode{Name: name, Server: name + "@1", After: tc.after}, SealingKey: n.keeper.ID(), Multiplier: 1}
		got, err := n.acceptRegistration(t.Context(), c) // proposing would fail: there is no group
		if err != nil || got != (registered{Last: tc.last}) {
			t.Errorf("%s: %+v, %v; want to be told of %d", name, got, err, tc.last)
		}
	}
}
