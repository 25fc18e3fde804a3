// Command ozmo is the whole product in one binary: the cluster node and the
// tools around it, one file per command.
//
// This package owns what the person at the terminal sees: the commands and
// their flags, the layering of settings (flags, then environment, then file),
// tables, JSON, error messages and exit codes:
//
//	0   it worked
//	1   it did not, or findings were made that must not be passed over
//	2   the command was not understood: flags, environment or settings file
//	3   something would change, where --exit-code asks for that
//	78  the cluster uses what only a newer version knows
//
// Results go to standard output, all else to standard error. The package never
// decides anything about chains, monitors or alerts: it calls the packages that
// do.
package main
