package notify

import (
	"context"
	"errors"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// Errors of channels and of the Sender.
var (
	// ErrNoChannel means that no channel serves the trigger's type.
	ErrNoChannel = errors.New("no channel for this type of trigger")
	// ErrMisconfigured means that the trigger cannot be sent as it stands; no
	// request was made.
	ErrMisconfigured = errors.New("trigger cannot be sent")
	// ErrForbidden is what a dialer returns (wrapped) for a destination that
	// the operator does not allow. Sending again is pointless.
	ErrForbidden = errors.New("destination is not allowed")
	// ErrTimeout means that the destination did not answer in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrRefused means that the destination answered, but not with success.
	ErrRefused = errors.New("not accepted")
	// ErrPanic means that a channel panicked.
	ErrPanic = errors.New("the channel panicked")
	// ErrOpen means that no attempt was made: the destination has failed again
	// and again, and is left alone for Result.RetryAfter.
	ErrOpen = errors.New("not attempted, the destination keeps failing")
	// ErrLimited means that no attempt was made: by a rate limit, or since all
	// attempts that may be made at a time hang, it would not have been its turn
	// soon. It may be after Result.RetryAfter.
	ErrLimited = errors.New("not attempted, too much at a time")
)

// Notification is one delivery about to be sent.
type Notification struct {
	Alert   *alert.Alert
	Key     alert.Key
	Trigger *spec.Trigger // its secrets are resolved to plain
	// TriggerID is the trigger's id in the tenant's documents. It is for records, and
	// empty for a sample, of which there are none.
	TriggerID string

	// Round counts from 1: the first attempts are one, and each time that an outbox
	// comes back to the delivery is another. Attempt counts those within a round, from
	// 1. They never change what is sent.
	Round, Attempt int
	// Time is when this round of attempts began. Signatures are computed from
	// it, so that the attempts of one round are identical byte for byte. Who
	// sends again much later sets a new time, since receivers refuse old ones.
	Time time.Time
}

// Result is what came of one attempt, also when it failed.
type Result struct {
	Status     int           // HTTP status; 0 when there was no answer
	Latency    time.Duration // until the answer's header, or the failure
	Bytes      int           // of what was sent, or would have been: the body, or the mail with its protocol
	Excerpt    string        // beginning of the answer, at most 1 KiB, without the trigger's secrets
	RetryAfter time.Duration // how long the destination asked to wait; 0 = it did not
	Permanent  bool          // the same attempt can only fail again
}

// Channel sends notifications of one type of trigger. Send makes one attempt;
// a nil error means that the destination accepted it. It is safe for
// concurrent use and returns soon after ctx is done.
type Channel interface {
	Send(ctx context.Context, n *Notification) (Result, error)
}

// Channels are the channels of a node by type of trigger.
type Channels map[string]Channel
