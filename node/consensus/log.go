package consensus

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

type hclogLogger = hclog.Logger

// raftLogger passes Raft's messages on to slog. Raft logs what an operator
// need not act on at info level; that goes to debug. hasPeers reports whether
// the group has other servers.
func raftLogger(to *slog.Logger, hasPeers func() bool) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(&sink{to.With("component", "raft"), hasPeers})
	return l
}

type sink struct {
	to       *slog.Logger
	hasPeers func() bool
}

// perAttempt are errors that Raft reports at every attempt while a server is
// away, several a second: that it is away is said elsewhere, once.
var perAttempt = map[string]bool{
	"failed to heartbeat to":            true,
	"failed to appendEntries to":        true,
	"failed to make requestVote RPC":    true,
	"failed to decode incoming command": true,
	"failed to flush response":          true,
	"failed to accept connection":       true,
}

// Accept is called for every message.
func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	s.to.Log(context.Background(), s.level(level, msg), msg, args...)
}

func (s *sink) level(level hclog.Level, msg string) slog.Level {
	switch {
	case perAttempt[msg]:
		return slog.LevelDebug
	case level == hclog.Error:
		return slog.LevelError
	case msg == "heartbeat timeout reached, starting election" && !s.hasPeers():
		return slog.LevelInfo // what every start of a node alone begins with
	case msg == "no known peers, aborting election":
		return slog.LevelInfo // it waits to be added
	case level == hclog.Warn:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}
