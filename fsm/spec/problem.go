package spec

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// ErrInvalid is wrapped by the error that Problems.Err returns.
var ErrInvalid = errors.New("invalid configuration")

// Severity tells how much a Problem matters.
type Severity string

// The severities, most serious first.
const (
	// SeverityError refuses the document.
	SeverityError Severity = "error"
	// SeverityWarning accepts it, though it probably does not do what was meant.
	SeverityWarning Severity = "warning"
	// SeverityNotice says that something is kept but has no effect here.
	SeverityNotice Severity = "notice"
)

// Problem is one thing wrong in one document. Message holds what was found,
// what is expected and, where there is one, a suggestion. It never holds a
// secret.
type Problem struct {
	File     string   `json:"file,omitempty"` // slash-separated, relative to the folder; empty outside a folder
	Path     string   `json:"path,omitempty"` // JSON path, like rpc_urls[1].weight; empty for the whole document
	Message  string   `json:"message"`
	Severity Severity `json:"severity"`
}

// String is the problem on one line: "file: path: message", led by the
// severity when it is not an error.
func (p Problem) String() string {
	var b strings.Builder
	if p.Severity != SeverityError && p.Severity != "" {
		b.WriteString(string(p.Severity))
		b.WriteString(": ")
	}
	for _, part := range []string{p.File, p.Path} {
		if part != "" {
			b.WriteString(part)
			b.WriteString(": ")
		}
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is what reading found, in the order of files and, within a file, of
// paths.
type Problems []Problem

// Errors returns the problems that refuse a document.
func (ps Problems) Errors() Problems { return ps.of(SeverityError) }

// Warnings returns the problems of severity warning.
func (ps Problems) Warnings() Problems { return ps.of(SeverityWarning) }

// Notices returns the problems of severity notice.
func (ps Problems) Notices() Problems { return ps.of(SeverityNotice) }

func (ps Problems) of(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Err is nil when no problem is an error. Otherwise it is a *ProblemsError
// with the errors among the problems, and wraps ErrInvalid.
func (ps Problems) Err() error {
	if errs := ps.Errors(); len(errs) > 0 {
		return &ProblemsError{Problems: errs}
	}
	return nil
}

// ProblemsError carries the problems that refuse a document.
type ProblemsError struct{ Problems Problems }

// Error lists the problems one per line.
func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.Is(err, ErrInvalid) hold.
func (e *ProblemsError) Unwrap() error { return ErrInvalid }

// sorted orders problems by file and path, keeping the order of report within
// one path.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), comparePaths(a.Path, b.Path))
	})
	return ps
}

// comparePaths compares text by text but numbers by value, so that [2] comes
// before [10].
func comparePaths(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			if c := cmp.Or(cmp.Compare(x, y), strings.Compare(a[:x], b[:y])); c != 0 {
				return c
			}
			a, b = a[x:], b[y:]
			continue
		}
		if c := cmp.Compare(a[0], b[0]); c != 0 {
			return c
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
