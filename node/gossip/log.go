package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// sayAgain is how often a message of one kind is repeated.
const sayAgain = time.Minute

// bridge takes the library's log lines, "[LEVEL] memberlist: text", and gives
// them levels that suit an operator. What happens whenever a node dies is no
// warning: its death is logged once, by this package.
type bridge struct {
	to      *slog.Logger
	dropped func(reason string)

	mu     sync.Mutex
	said   map[string]time.Time
	closed bool
}

func newBridge(to *slog.Logger, dropped func(string)) *bridge {
	return &bridge{to: to, dropped: dropped, said: map[string]time.Time{}}
}

// usual are the beginnings of lines that say nothing new to an operator.
var usual = []string{
	"Failed fallback TCP ping", "Failed to send", "Push/Pull with", "failed to join", "failed to receive",
	"Refuting an alive message", "Conflicting address", "Failed to read remote state", "Failed to push local state",
	"Failed to forward ack", "Got ping for unexpected node", "Decrypt packet failed", "handler queue full",
}

// Enabled, Handle, WithAttrs and WithGroup make it a slog.Handler, by which
// slog.NewLogLogger turns it into the logger that the library wants.
func (b *bridge) Enabled(context.Context, slog.Level) bool { return true }

func (b *bridge) Handle(ctx context.Context, r slog.Record) error {
	level, text := parseLine(r.Message)
	switch {
	case strings.HasPrefix(text, "Decrypt packet failed"):
		b.dropped(dropKey)
		b.say(ctx, slog.LevelWarn, "packets arrive that are not encrypted with a key of this cluster", "detail", text)
		return nil
	case strings.HasPrefix(text, "handler queue full"):
		b.dropped(dropOverload)
		b.say(ctx, slog.LevelWarn, "more gossip arrives than this node can handle", "detail", text)
		return nil
	}
	for _, prefix := range usual {
		if strings.HasPrefix(text, prefix) {
			level = slog.LevelDebug
		}
	}
	b.limited(ctx, level, kindOf(text), "gossip library", "detail", text)
	return nil
}

func (b *bridge) WithAttrs([]slog.Attr) slog.Handler { return b }
func (b *bridge) WithGroup(string) slog.Handler      { return b }

// say logs; above debug, each message no more than once a minute.
func (b *bridge) say(ctx context.Context, level slog.Level, message, key, value string) {
	b.limited(ctx, level, message, message, key, value)
}

func (b *bridge) limited(ctx context.Context, level slog.Level, kind, message, key, value string) {
	b.mu.Lock()
	quiet := b.closed
	if level > slog.LevelDebug {
		now := time.Now()
		if last, ok := b.said[kind]; ok && now.Sub(last) < sayAgain {
			quiet = true
		} else {
			b.said[kind] = now
		}
	}
	b.mu.Unlock()
	if !quiet {
		b.to.Log(ctx, level, message, key, value)
	}
}

// close silences what the library's last goroutines have to say.
func (b *bridge) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// parseLine splits the level off. The library's warnings and errors are about
// single messages; none of them is an error of the node.
func parseLine(line string) (slog.Level, string) {
	level := slog.LevelDebug
	line = strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if name, text, ok := strings.Cut(rest, "]"); ok {
			if strings.HasPrefix(name, "WARN") || strings.HasPrefix(name, "ERR") {
				level = slog.LevelWarn
			}
			line = strings.TrimSpace(text)
		}
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// kindOf is what lines that differ in names and numbers only have in common:
// their first words.
func kindOf(text string) string {
	const words = 3
	fields := strings.Fields(text)
	return strings.Join(fields[:min(words, len(fields))], " ")
}
