package proc

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// Log is what a program wrote to its outputs, in a file that all its runs share.
type Log struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
}

// tailBytes is how much of a log is shown when a test fails.
const tailBytes = 12 << 10

// NewLog makes the log at path. Its end is shown when the test fails.
func NewLog(t testing.TB, path string) *Log {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := &Log{path: path, file: f}
	t.Cleanup(func() {
		if t.Failed() {
			text := l.After(max(0, l.Mark()-tailBytes))
			t.Logf("the end of %s:\n%s", path, text)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Write appends.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *Log) notef(format string, args ...any) {
	fmt.Fprintf(l, "--- "+format+"\n", args...)
}

// Mark is a place in the log: its end, now.
func (l *Log) Mark() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// After is what was written after a mark.
func (l *Log) After(mark int64) string {
	data, err := os.ReadFile(l.path)
	if err != nil {
		return err.Error()
	}
	return string(data[min(mark, int64(len(data))):])
}

// Line is the first line after a mark that has all the parts.
func (l *Log) Line(mark int64, parts ...string) (string, error) {
next:
	for line := range strings.Lines(l.After(mark)) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		return strings.TrimSpace(line), nil
	}
	return "", fmt.Errorf("no line of %s has %q", l.path, parts)
}
