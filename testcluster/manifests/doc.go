// Package manifests reads how a node is started from the files that are
// installed: the StatefulSet, the systemd unit with its environment file, and the
// compose file. What it returns are arguments, environment and probes as the
// program and its surroundings see them, so that a test can run real processes
// with them and not with a copy that goes its own way.
//
// It knows as much of these formats as the files of deploy/ use, and refuses the
// rest rather than guess. It never runs anything and never validates a file as a
// whole: that is what schemas and systemd-analyze are for.
package manifests
