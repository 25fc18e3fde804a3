package outbox

import "context"

// Contact tells whether this node may send. A node that the leader has not heard
// for a while may have lost its tenants to another one without knowing.
type Contact interface {
	// Held reports whether the leader answered recently enough. It is cheap.
	Held() bool
	// Wait returns once contact is held, or with the error of ctx.
	Wait(ctx context.Context) error
}

// always is the contact of a node that needs none.
type always struct{}

func (always) Held() bool                 { return true }
func (always) Wait(context.Context) error { return nil }
