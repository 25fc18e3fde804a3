package api

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Alert is an alert with what became of it. Its id stays the same in whatever block
// its transaction comes to lie.
type Alert struct {
	ID          string            `json:"id"`
	Monitor     string            `json:"monitor" doc:"Its name."`
	MonitorID   string            `json:"monitor_id"`
	Network     string            `json:"network"`
	Transaction string            `json:"transaction"`
	Block       BlockRef          `json:"block" doc:"That its last change is about."`
	State       string            `json:"state" enum:"fired,confirmed,retracted,reinstated,replayed" doc:"After its last change."`
	FiredAt     time.Time         `json:"fired_at" doc:"When the first of its changes was recorded."`
	Version     uint64            `json:"version" doc:"Of the configuration that judged the block."`
	Changes     []AlertChange     `json:"changes" nullable:"false" doc:"By position."`
	Variables   map[string]string `json:"variables,omitempty" doc:"What its messages are made of; not in lists."`
}

// AlertChange is a state that an alert was brought into.
type AlertChange struct {
	State      string          `json:"state" enum:"fired,confirmed,retracted,reinstated,replayed"`
	Position   uint64          `json:"position" doc:"Of the announcement that brought it about."`
	At         time.Time       `json:"at"`
	Block      BlockRef        `json:"block"`
	Deliveries []AlertDelivery `json:"deliveries" nullable:"false"`
}

// AlertDelivery is what had become of a delivery when the change was recorded.
type AlertDelivery struct {
	Key     string `json:"key"`
	Trigger string `json:"trigger"`
	Outcome string `json:"outcome" enum:"sent,outbox,dead"`
}

// AlertChoice chooses alerts; what is empty chooses all.
type AlertChoice struct {
	Monitor     string // id or name
	Network     string // key or slug
	State       string
	Transaction string
}

// Chooses reports whether an alert with these properties is wanted.
func (c *AlertChoice) Chooses(monitorID, monitor, network, transaction string) bool {
	return (c.Monitor == "" || c.Monitor == monitorID || c.Monitor == monitor) &&
		(c.Network == "" || c.Network == network || strings.HasSuffix(network, "/"+c.Network)) &&
		(c.Transaction == "" || strings.EqualFold(c.Transaction, transaction))
}

// AlertPlace is where an alert stands in the list: by when it fired, and its id.
type AlertPlace struct {
	At int64 `json:"at"` // Unix milliseconds
	ID string
}

// Compare orders places by time.
func (p AlertPlace) Compare(o AlertPlace) int {
	return cmp.Or(cmp.Compare(p.At, o.At), cmp.Compare(p.ID, o.ID))
}

// AlertQuery asks for a part of the list.
type AlertQuery struct {
	AlertChoice
	Since, Until time.Time   // when it fired; both included, zero: whenever
	Before       *AlertPlace // nil: from the newest on
	Limit        int
}

// AlertList is a part of the list, the newest first.
type AlertList struct {
	Alerts []Alert
	Next   *AlertPlace // nil: there are no more
	Silent []string    // nodes whose journals could not be asked
}

// AlertEvent is one change of an alert, told as it happens.
type AlertEvent struct {
	Event       string            `json:"event" doc:"Stands for this change: what is told again has the same."`
	ID          string            `json:"id" doc:"Of the alert."`
	State       string            `json:"state" enum:"fired,confirmed,retracted,reinstated,replayed"`
	At          time.Time         `json:"at"`
	Monitor     string            `json:"monitor" doc:"Its name."`
	MonitorID   string            `json:"monitor_id"`
	Network     string            `json:"network"`
	Transaction string            `json:"transaction"`
	Block       BlockRef          `json:"block"`
	Position    uint64            `json:"position"`
	Version     uint64            `json:"version"`
	Deliveries  []AlertDelivery   `json:"deliveries" nullable:"false"`
	Variables   map[string]string `json:"variables,omitempty" doc:"What its messages are made of; left out where that is more than 8 KiB."`
}

// EventID stands for a change of an alert.
func EventID(alert, state string, position uint64) string {
	return fmt.Sprintf("%s.%d.%s", alert, position, state)
}

// AlertNews is what a follower is told: an event, or a gap.
type AlertNews struct {
	Event *AlertEvent
	Gap   *AlertGap
	// Mark is up to when everything was told, in Unix milliseconds.
	Mark int64
}

// AlertGap says that something may be missing.
type AlertGap struct {
	Missed uint64   `json:"missed,omitempty" doc:"Changes that were left out since the reader was too slow."`
	Nodes  []string `json:"nodes,omitempty" doc:"Nodes that do not answer: what they tell comes when they do."`
	Reason string   `json:"reason"`
}
