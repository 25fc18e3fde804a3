package match

import "strings"

// Severity tells how much a Problem matters.
type Severity string

// The severities.
const (
	// SeverityError is a condition that can never do what it says.
	SeverityError Severity = "error"
	// SeverityWarning is something that is probably not meant, though the monitor
	// may match by its other conditions.
	SeverityWarning Severity = "warning"
)

// Problem is one thing in a monitor that compiling has found. It never
// prevents the monitor from running: a condition that cannot hold just does not
// match, as in the peer.
type Problem struct {
	Path       string   `json:"path"` // JSON path within the monitor, like match_conditions.events[0].expression
	Severity   Severity `json:"severity"`
	Message    string   `json:"message"`
	Suggestion string   `json:"suggestion,omitempty"` // what to write instead, or what to do
}

// String is the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Path)
	b.WriteString(": ")
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		b.WriteString("; ")
		b.WriteString(p.Suggestion)
	}
	return b.String()
}

// HasErrors reports whether any problem is an error.
func HasErrors(problems []Problem) bool {
	for _, p := range problems {
		if p.Severity == SeverityError {
			return true
		}
	}
	return false
}
