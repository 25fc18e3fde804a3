package console

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Type is the type of trigger that this channel serves. It is an extension:
// no document of OpenZeppelin Monitor has it.
const Type = spec.TriggerConsole

// Channel writes to one writer. It implements notify.Channel.
type Channel struct {
	mu sync.Mutex
	w  io.Writer
}

// New makes a channel that writes to w, one Write an alert.
func New(w io.Writer) *Channel { return &Channel{w: w} }

// Send writes the alert. It fails only when the writer does.
func (c *Channel) Send(_ context.Context, n *notify.Notification) (notify.Result, error) {
	start := time.Now()
	text := Format(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	written, err := io.WriteString(c.w, text)
	if err == nil && written < len(text) {
		err = io.ErrShortWrite
	}
	res := notify.Result{Latency: time.Since(start), Bytes: written}
	if err != nil {
		return res, fmt.Errorf("console: %w: %w", notify.ErrRefused, err)
	}
	return res, nil
}

// Format is what Send writes: who, where, what matched with its arguments, and
// how long it took from the block's time to the notification's.
func Format(n *notify.Notification) string {
	a := n.Alert
	var b strings.Builder
	line := func(label, text string) { fmt.Fprintf(&b, "  %-12s %s\n", label, clean(text)) }
	fmt.Fprintf(&b, "%s %s\n", strings.ToUpper(a.State.String()), clean(a.MonitorName))
	line("tenant", a.Tenant)
	line("network", a.Network)
	line("block", strconv.FormatUint(a.Block.Height, 10)+" "+a.Block.Hash.String())
	line("transaction", a.Tx)
	arguments(&b, "event", "events", a.Variables)
	arguments(&b, "function", "functions", a.Variables)
	// Better the moment the watcher learned of the block than the block's own
	// time, which is whole seconds and the chain's word.
	since := a.Seen
	if since.IsZero() {
		since = a.BlockTime
	}
	if !since.IsZero() {
		line("after", n.Time.Sub(since).Round(time.Millisecond).String())
	}
	b.WriteString("\n")
	return b.String()
}

// arguments lists what matched of one kind, from the template variables.
func arguments(b *strings.Builder, label, kind string, vars map[string]string) {
	for n := 0; ; n++ {
		at := kind + "." + strconv.Itoa(n) + "."
		signature, ok := vars[at+"signature"]
		if !ok {
			return
		}
		fmt.Fprintf(b, "  %-12s %s\n", label, clean(signature))
		var names []string
		for name := range vars {
			if p, ok := strings.CutPrefix(name, at+"args."); ok {
				names = append(names, p)
			}
		}
		slices.Sort(names)
		for _, p := range names {
			fmt.Fprintf(b, "  %-12s   %s = %s\n", "", clean(p), clean(vars[at+"args."+p]))
		}
	}
}

// clean keeps text that strangers wrote from moving the cursor, changing
// colours or starting lines of its own.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
