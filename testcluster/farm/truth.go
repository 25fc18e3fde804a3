package farm

import (
	"fmt"
	"slices"
)

// Canonical is an alert that the canonical chain gives reason for.
type Canonical struct {
	Alert string
	Block string // hash
	Above uint64 // blocks on top of it
}

// Truth is what the canonical chain says of one monitor's alerts.
type Truth struct {
	Mode      string // of the monitor; empty: its document has none
	Depth     uint64 // how many blocks must lie on top before it judges
	Confirmed uint64 // how many before mode both confirms
	Alerts    []Canonical
}

// Check tells where a receiver's final view is not the truth: each alert that
// lies deep enough is there, in its block, and whatever else was told is
// retracted. A monitor without a mode, as in OpenZeppelin Monitor, tells each alert
// of its canonical block, and retracts nothing.
func (t Truth) Check(list []Delivery) (errs []error) {
	final := Final(list)
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("mode %q: "+format, append([]any{t.Mode}, args...)...))
	}
	owed := map[string]bool{}
	for _, a := range t.Alerts {
		if a.Above < t.Depth {
			continue
		}
		owed[a.Alert] = true
		got, ok := final[a.Alert]
		told := func(d Delivery) bool { return d.Alert == a.Alert && d.Block == a.Block }
		switch {
		case !ok:
			wrong("alert %s of block %s never came", a.Alert, a.Block)
		case t.Mode == "" && !slices.ContainsFunc(list, told):
			wrong("alert %s of block %s came of other blocks only, last of %s", a.Alert, a.Block, got.Block)
		case t.Mode != "" && got.Block != a.Block:
			wrong("alert %s of block %s is believed to be in %s (%s)", a.Alert, a.Block, got.Block, got.State)
		case !slices.Contains(t.last(a.Above), got.State):
			wrong("alert %s of block %s is %s in the end", a.Alert, a.Block, got.State)
		}
	}
	for _, got := range list {
		if t.Mode == "" && got.State != fired {
			wrong("alert %s is %s: documents without a mode know no such thing", got.Alert, got.State)
		}
	}
	for id, got := range final {
		if !owed[id] && t.Mode != "" && got.State != "retracted" {
			wrong("alert %s of block %s is not on the chain, and %s in the end", id, got.Block, got.State)
		}
	}
	return errs
}

// last are the states that may be the last of an alert that has so many blocks on
// top.
func (t Truth) last(above uint64) []string {
	switch {
	case t.Mode == "":
		return []string{fired}
	case t.Mode == "both" && above >= t.Confirmed:
		return []string{"confirmed"}
	default:
		return []string{fired, "reinstated"}
	}
}
