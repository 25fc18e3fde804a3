package alert

import (
	"errors"
	"fmt"
)

// ErrBadState means that a text or number is not the state of an alert.
var ErrBadState = errors.New("want fired, retracted, reinstated or confirmed")

// State is what has become of an alert. The zero value is not a state.
type State uint8

// The states of an alert, numerically those of fsm.AlertState.
const (
	Fired      State = iota + 1 // the transaction was judged in a block of the chain
	Retracted                   // that block was rolled back
	Reinstated                  // the transaction was judged again after that, in whatever block
	Confirmed                   // its block lies as deep as the network asks; monitors of mode "both" only
)

// States lists every state.
var States = []State{Fired, Retracted, Reinstated, Confirmed}

// String is the state's name, or "unknown".
func (s State) String() string {
	switch s {
	case Fired:
		return "fired"
	case Retracted:
		return "retracted"
	case Reinstated:
		return "reinstated"
	case Confirmed:
		return "confirmed"
	default:
		return "unknown"
	}
}

// ParseState reads a state's name; errors wrap ErrBadState.
func ParseState(name string) (State, error) {
	for _, s := range States {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("alert state %q: %w", name, ErrBadState)
}

// MarshalText writes the state's name and refuses what is not a state.
func (s State) MarshalText() ([]byte, error) {
	if s < Fired || s > Confirmed {
		return nil, fmt.Errorf("alert state %d: %w", s, ErrBadState)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a state's name; errors wrap ErrBadState.
func (s *State) UnmarshalText(text []byte) (err error) {
	*s, err = ParseState(string(text))
	return err
}
