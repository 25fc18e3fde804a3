package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Deliverer shows deliveries and changes what becomes of them.
type Deliverer interface {
	ListDeliveries(ctx context.Context, c DeliveryChoice) (DeliveryList, error)
	// ShowDelivery finds a delivery by its key, or by the beginning of it.
	ShowDelivery(ctx context.Context, key string) (DeliveryDetail, error)
	// ChangeDeliveries has deliveries made at once ("redeliver"), or forgotten
	// ("purge").
	ChangeDeliveries(ctx context.Context, change string, o DeliveryOrder) (DeliveriesChanged, error)
}

// DeliveryStatus is where a delivery is.
type DeliveryStatus string

// The statuses of a delivery.
const (
	DeliveryPending DeliveryStatus = "pending" // in the outbox: still to be made
	DeliveryDead    DeliveryStatus = "dead"    // given up
	DeliverySent    DeliveryStatus = "sent"    // the receiver accepted it; of a bounded past
)

// DeliveryStatuses lists every status.
var DeliveryStatuses = []DeliveryStatus{DeliveryPending, DeliveryDead, DeliverySent}

// DeliveryChoice chooses deliveries; what is empty chooses all.
type DeliveryChoice struct {
	Tenant   string           `json:"tenant,omitempty"`
	Statuses []DeliveryStatus `json:"statuses,omitempty"` // empty: pending and dead
	Trigger  string           `json:"trigger,omitempty"`
	Monitor  string           `json:"monitor,omitempty"` // id or name
	Network  string           `json:"network,omitempty"` // key, or as the monitor calls it
	Since    time.Time        `json:"since,omitzero"`    // see Delivery.At
	Until    time.Time        `json:"until,omitzero"`
	Limit    int              `json:"limit,omitempty"` // the newest of more; 0: all
}

// Has reports whether deliveries of a status are chosen.
func (c *DeliveryChoice) Has(s DeliveryStatus) bool {
	if len(c.Statuses) == 0 {
		return s == DeliveryPending || s == DeliveryDead
	}
	return slices.Contains(c.Statuses, s)
}

// Check tells all that is wrong with a choice; errors wrap ErrBadRequest.
func (c *DeliveryChoice) Check() error {
	var errs []error
	for _, s := range c.Statuses {
		if !slices.Contains(DeliveryStatuses, s) {
			errs = append(errs, fmt.Errorf("%w: state %q: want pending, dead or sent", ErrBadRequest, s))
		}
	}
	if c.Limit < 0 {
		errs = append(errs, fmt.Errorf("%w: limit %d: want 0 (all) or more", ErrBadRequest, c.Limit))
	}
	if !c.Since.IsZero() && !c.Until.IsZero() && c.Since.After(c.Until) {
		errs = append(errs, fmt.Errorf("%w: since %s lies after until %s", ErrBadRequest, c.Since.Format(time.RFC3339), c.Until.Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

// DeliveryOrder says which deliveries to change: those named, or those chosen.
type DeliveryOrder struct {
	Keys   []string        `json:"keys,omitempty"` // or beginnings of keys that are of one delivery each
	Choice *DeliveryChoice `json:"choice,omitempty"`
	DryRun bool            `json:"dry_run"` // only count
}

// Check tells all that is wrong with an order; errors wrap ErrBadRequest.
func (o *DeliveryOrder) Check() error {
	var errs []error
	if (len(o.Keys) > 0) == (o.Choice != nil) {
		errs = append(errs, fmt.Errorf("%w: want keys of deliveries, or what to choose them by", ErrBadRequest))
	}
	for _, key := range o.Keys {
		errs = append(errs, CheckDeliveryKey(key))
	}
	if o.Choice != nil {
		errs = append(errs, o.Choice.Check())
		if o.Choice.Has(DeliverySent) {
			errs = append(errs, fmt.Errorf("%w: state sent: what was accepted is not kept", ErrBadRequest))
		}
	}
	return errors.Join(errs...)
}

// deliveryKeyLength is the length of a delivery's key.
const deliveryKeyLength = 32

// CheckDeliveryKey refuses what is no delivery's key, nor the beginning of one;
// errors wrap ErrBadRequest.
func CheckDeliveryKey(key string) error {
	if key == "" || len(key) > deliveryKeyLength || strings.Trim(key, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: %q: want the key of a delivery, 32 hexadecimal digits, or the first of them", ErrBadRequest, key)
	}
	return nil
}

// Delivery is one delivery in short. What its content would tell is empty where
// that is not kept.
type Delivery struct {
	Key      string         `json:"key"`
	Tenant   string         `json:"tenant"`
	Monitor  string         `json:"monitor"`
	Network  string         `json:"network"`
	Trigger  string         `json:"trigger"`
	State    string         `json:"alert_state"`
	Status   DeliveryStatus `json:"status"`
	Attempts uint32         `json:"attempts"` // in rounds: the first attempt with its quick repetitions, and each later one, are a round
	// At is when it was handed over to the outbox, died, or was accepted.
	At       time.Time `json:"at"`
	Next     time.Time `json:"next,omitzero"`         // the next attempt; zero: not known, or none
	After    string    `json:"after,omitempty"`       // key of the delivery that must be settled before
	Answered int       `json:"last_status,omitempty"` // of HTTP, of the last answer
	Error    string    `json:"last_error,omitempty"`
	Excerpt  string    `json:"last_excerpt,omitempty"` // of the last answer

	Held *DeliveryHeld `json:"held,omitempty"` // why it waits beyond its schedule; of pending ones
}

// DeliveryHeld is why nothing is attempted at a destination at present: it keeps
// failing, and its breaker is open; or the tenant is over its quota of notifications.
type DeliveryHeld struct {
	Until  time.Time `json:"until"`           // about; then one attempt finds out
	Error  string    `json:"error,omitempty"` // of the last attempt that was made at the trigger
	Failed time.Time `json:"failed,omitzero"` // when that began
	Quota  int       `json:"quota,omitempty"` // notifications an hour that the tenant is over; 0: the destination fails
}

// TenantDead is a tenant with dead letters.
type TenantDead struct {
	Tenant string `json:"tenant"`
	Count  int    `json:"count"`
	// Forgotten had to make room for newer ones.
	Forgotten uint64 `json:"forgotten,omitempty"`
}

// DeliveryList is what a choice has found, the newest first.
type DeliveryList struct {
	Deliveries []Delivery `json:"deliveries"`
	More       bool       `json:"more"`   // there are more than the limit
	Silent     []string   `json:"silent"` // nodes whose journals could not be asked: sent ones may be missing
}

// DeliveryDetail is all that is known of a delivery.
type DeliveryDetail struct {
	Delivery
	MonitorID   string            `json:"monitor_id"`
	Alert       string            `json:"alert"` // id
	Block       BlockRef          `json:"block"`
	Position    uint64            `json:"position"` // of the announcement that brought the state about
	Tx          string            `json:"transaction"`
	Version     uint64            `json:"configuration_version,omitempty"`
	Destination string            `json:"destination"` // without anything secret
	Bytes       int               `json:"bytes"`       // it takes in the outbox, or as a dead letter
	Variables   map[string]string `json:"variables,omitempty"`
	Retracted   bool              `json:"retracted,omitempty"` // since: it is not made again
	History     []DeliveryAttempt `json:"history"`             // as far as the journals go back
	Silent      []string          `json:"silent"`              // nodes whose journals could not be asked
}

// DeliveryAttempt is one attempt that was made.
type DeliveryAttempt struct {
	N           int           `json:"n"`     // of all that the journals have, from 1
	Round       int           `json:"round"` // see Delivery.Attempts; once redelivered, it begins at 1 again
	Began       time.Time     `json:"began"`
	Node        string        `json:"node"`
	Destination string        `json:"destination"`
	Latency     time.Duration `json:"latency_ns"`
	Status      int           `json:"status,omitempty"` // of HTTP
	Outcome     string        `json:"outcome"`          // sent, failed or refused
	Error       string        `json:"error,omitempty"`
	Excerpt     string        `json:"excerpt,omitempty"`
}

// DeliveriesChanged counts what a change has done.
type DeliveriesChanged struct {
	DryRun  bool `json:"dry_run"`
	Found   int  `json:"found"`
	Pending int  `json:"pending"` // of those found
	Dead    int  `json:"dead"`
	Tenants int  `json:"tenants"` // whose they are
	Done    int  `json:"done"`
	// Left were found and are as they were: they changed meanwhile, the outbox had no
	// room, their content is not kept, or they are Retracted.
	Left int `json:"left"`
	// Retracted are not made again: their alerts were retracted since.
	Retracted int `json:"retracted,omitempty"`
	// Held are due at once, but wait until about HeldUntil at most: their
	// destinations keep failing, and are left alone.
	Held      int       `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
}

// deliveryRoutes are the operator's commands on deliveries.
func deliveryRoutes(mux *http.ServeMux, op Deliverer) {
	mux.HandleFunc("POST /v1/deliveries/list", func(w http.ResponseWriter, r *http.Request) {
		var c DeliveryChoice
		if !read(w, r, &c) {
			return
		}
		if err := c.Check(); err != nil {
			answer(w, nil, err)
			return
		}
		list, err := op.ListDeliveries(r.Context(), c)
		answer(w, list, err)
	})
	mux.HandleFunc("GET /v1/deliveries/{key}", func(w http.ResponseWriter, r *http.Request) {
		key := r.PathValue("key")
		if err := CheckDeliveryKey(key); err != nil {
			answer(w, nil, err)
			return
		}
		d, err := op.ShowDelivery(r.Context(), key)
		answer(w, d, err)
	})
	for _, change := range []string{"redeliver", "purge"} {
		mux.HandleFunc("POST /v1/deliveries/"+change, func(w http.ResponseWriter, r *http.Request) {
			var o DeliveryOrder
			if !read(w, r, &o) {
				return
			}
			if err := o.Check(); err != nil {
				answer(w, nil, err)
				return
			}
			done, err := op.ChangeDeliveries(r.Context(), change, o)
			answer(w, done, err)
		})
	}
}
