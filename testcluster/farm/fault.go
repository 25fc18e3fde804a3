package farm

import (
	"fmt"
	"time"
)

// Kind is what a receiver does wrong.
type Kind uint8

// The kinds of faults. What a mail server does in place of an HTTP status
// stands in brackets.
const (
	Healthy  Kind = iota
	Refused       // nobody listens
	Reset         // the connection is reset while the body is read
	TooMany       // 429 with a Retry-After (451)
	Broken        // 500 (451)
	Gone          // 410 (550)
	NotFound      // 404, for good (550)
	Loris         // an answer that comes a byte at a time and never ends
	BadTLS        // a certificate of nobody's (for receivers with TLS)
	Garbage       // an answer that is not of the protocol
	Hang          // no answer at all
	Slow          // takes what comes, after a while
)

var kindNames = [...]string{
	"healthy", "refused", "reset", "429", "500", "410", "404", "slow-loris", "bad TLS", "garbage", "hang", "slow",
}

// String is the name that tests print.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// Fault is what a receiver does wrong, until it is set to another one.
type Fault struct {
	Kind Kind
	// After is how long senders are told to wait (TooMany), or what Slow takes.
	After time.Duration
	// Times is how many attempts of each key the fault is for, of those kinds that
	// read what they refuse; 0: all.
	Times int
}

// perKey reports whether the fault may be over for a key.
func (f Fault) perKey() bool {
	switch f.Kind {
	case TooMany, Broken, Gone, NotFound, Loris, Garbage, Hang:
		return f.Times > 0
	default:
		return false
	}
}

// shut reports whether connections that are open hide the fault.
func (f Fault) shut() bool { return f.Kind == Refused || f.Kind == BadTLS }
