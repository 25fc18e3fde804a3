package consensus

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

type hclogLogger = hclog.Logger

// raftLogger passes Raft's messages on to slog. Raft logs what an operator
// need not act on at info level; that goes to debug.
func raftLogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(sink{to.With("component", "raft")})
	return l
}

type sink struct{ to *slog.Logger }

// Accept is called for every message.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	var at slog.Level
	switch level {
	case hclog.Error:
		at = slog.LevelError
	case hclog.Warn:
		at = slog.LevelWarn
		if msg == "heartbeat timeout reached, starting election" {
			at = slog.LevelInfo // what every start begins with
		}
	default:
		at = slog.LevelDebug
	}
	s.to.Log(context.Background(), at, msg, args...)
}
