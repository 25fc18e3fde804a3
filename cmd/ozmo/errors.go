package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitChanges  = 3
	exitOutdated = 78 // EX_CONFIG: trying again cannot help
	exitTooOld   = 78 // what sysexits.h calls a configuration error: starting again does not help
)

// errFindings ends a command with exit code 1 when it has already printed why.
var errFindings = errors.New("there are findings")

// errChanges ends a dry run with exit code 3 when something would change.
var errChanges = errors.New("something would change")

// usageError is a command line, variable or settings file that is not
// understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// mistakes is several things wrong at once. Its text has one line for each.
type mistakes []string

func (m *mistakes) addf(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

// Error is the one mistake, or a list.
func (m mistakes) Error() string {
	if len(m) == 1 {
		return m[0]
	}
	return "several things are wrong:\n  " + strings.Join(m, "\n  ")
}

// err is nil when nothing is wrong.
func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// several is an error of more than one, as errors.Join makes them.
type several interface {
	error
	Unwrap() []error
}

// add takes over an error, or each of several.
func (m *mistakes) add(err error) {
	if many, ok := errors.AsType[several](err); ok {
		for _, e := range many.Unwrap() {
			m.addf("%s", e)
		}
	} else if err != nil {
		m.addf("%s", err)
	}
}

// report prints what a command has failed with and returns the exit code.
func (a *app) report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errFindings) {
		return exitFailure
	}
	if errors.Is(err, errChanges) {
		return exitChanges
	}
	fmt.Fprintf(stderr, "ozmo: %s\n", strings.TrimSpace(err.Error()))
	if _, ok := errors.AsType[usageError](err); ok || !a.running {
		fmt.Fprintf(stderr, "Run '%s --help' to see how it is used.\n", cmd.CommandPath())
		return exitUsage
	}
	if text := advice(err); text != "" {
		fmt.Fprintln(stderr, text)
	}
	if errors.Is(err, node.ErrTooOld) {
		return exitTooOld
	}
	return exitFailure
}
