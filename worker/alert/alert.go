package alert

import (
	"encoding/json"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Alert is one match as the tenant perceives it: which monitor, which
// transaction, in which block, and what can be said about it.
type Alert struct {
	ID          ID     `json:"id"`
	Tenant      string `json:"tenant"`
	MonitorID   string `json:"monitor_id"`
	MonitorName string `json:"monitor_name"`
	Network     string `json:"network"`      // the network's key: "slug" or "tenant/slug"
	NetworkSlug string `json:"network_slug"` // as the monitor's document names it

	Block     fsm.BlockRef `json:"block"`
	BlockTime time.Time    `json:"block_time"`    // as the chain states it; whole seconds on most chains
	Seen      time.Time    `json:"seen,omitzero"` // when the watcher learned of the block
	Tx        string       `json:"tx"`            // transaction hash, or signature on Solana
	State     State        `json:"state"`

	// Variables are the template variables (spec triggers-and-notifications §3).
	Variables map[string]string `json:"variables,omitempty"`
	// Match is the match object with its chain key (spec evm-matching §6), the
	// body of raw webhooks and the input of scripts.
	Match json.RawMessage `json:"match,omitempty"`

	Version uint64 `json:"version"` // of the tenant's configuration that judged the block
	// Position is that of the announcement that brought State about, in its
	// network's sequence. Of what is said about an alert, the greatest is the last word.
	Position uint64 `json:"position"`
	// Origin is what Position was before a restore moved it up; 0: the same. Keys are
	// made of it, so that what is told again after a restore has its key again.
	Origin uint64 `json:"origin,omitempty"`
}

// Key is the key of the alert's delivery to an entry of the monitor's triggers; see
// NewKey.
func (a *Alert) Key(trigger string, occurrence int) Key {
	position := a.Position
	if a.Origin != 0 {
		position = a.Origin
	}
	return NewKey(a.ID, trigger, occurrence, a.Block.Hash, a.State, position)
}

// Delivery is one alert on its way to one trigger.
type Delivery struct {
	Key     Key    `json:"key"`
	Alert   *Alert `json:"alert"`
	Trigger string `json:"trigger"` // the trigger's id in the tenant's documents
	// Occurrence counts the earlier entries of the trigger in the monitor's list.
	Occurrence int `json:"occurrence,omitempty"`
	// After is what the same trigger was to hear of the alert before this: until
	// that has been settled this one waits. Zero: it waits for nothing.
	After Key `json:"after,omitzero"`
}

// Deliveries are the deliveries of an alert to the triggers of its monitor, in
// the order of the list. A trigger listed more than once is served as often.
func Deliveries(a *Alert, triggers []string) []Delivery {
	seen := make(map[string]int, len(triggers))
	out := make([]Delivery, 0, len(triggers))
	for _, t := range triggers {
		out = append(out, Delivery{Key: a.Key(t, seen[t]), Alert: a, Trigger: t, Occurrence: seen[t]})
		seen[t]++
	}
	return out
}
