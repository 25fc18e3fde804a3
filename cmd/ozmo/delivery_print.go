package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ozmo-dev/ozmo/node/api"
)

const (
	errorWidth = 80 // of an error in a table, in characters
	shortKey   = 8  // of another delivery's key in a table
)

// shorten keeps the beginning of a text, on one line.
func shorten(s string, width int) string {
	text := []rune(clean(strings.Join(strings.Fields(s), " ")))
	if len(text) <= width {
		return string(text)
	}
	return string(text[:width-1]) + "…"
}

// whose is what errors say of whose they are; other columns show it.
var whose = regexp.MustCompile(`\btenant [^ :]+: trigger "(?:[^"\\]|\\.)*": `)

// reason shortens an error, to one line: what went wrong stays, and stands at the
// end. It is cut from the left where one thing ends and the next begins, or else
// on the right.
func reason(s string, width int) string {
	const cut, next = "…", ": "
	whole := clean(whose.ReplaceAllString(strings.Join(strings.Fields(s), " "), ""))
	for text := whole; ; {
		if utf8.RuneCountInString(text) <= width {
			return text
		}
		_, rest, ok := strings.Cut(text, next)
		if !ok {
			return shorten(whole, width)
		}
		text = cut + rest
	}
}

func writeDeliveries(w io.Writer, list []api.Delivery, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no deliveries")
		return
	}
	t := newTable("KEY", "TENANT", "MONITOR", "TRIGGER", "ALERT STATE", "STATUS", "ROUNDS", "NEXT", "LAST ERROR")
	for _, d := range list {
		failure := d.Error
		if d.Held != nil && d.Held.Error != "" && (d.Attempts == 0 || d.Held.Quota > 0) {
			failure = d.Held.Error // why it was never attempted, or is not now
		}
		t.AppendRow(table.Row{
			clean(d.Key), clean(d.Tenant), or(clean(d.Monitor)), clean(d.Trigger), or(clean(d.State)), d.Status, d.Attempts,
			nextText(&d, now), or(reason(failure, errorWidth)),
		})
	}
	writeTable(w, t)
}

// nextText is when the next attempt is due, as seen from now.
func nextText(d *api.Delivery, now time.Time) string {
	switch {
	case d.Status != api.DeliveryPending:
		return none
	case d.After != "":
		return "after " + clean(d.After[:min(shortKey, len(d.After))])
	case d.Held != nil && d.Held.Until.After(now) && d.Held.Until.After(d.Next):
		return "held, " + ago(d.Held.Until.Sub(now))
	case d.Next.IsZero():
		return none
	case !d.Next.After(now):
		return "due"
	}
	return "in " + ago(d.Next.Sub(now))
}

// writeDelivery shows one delivery.
func writeDelivery(w io.Writer, d *api.DeliveryDetail, now time.Time) {
	line := func(name, format string, args ...any) {
		if text := strings.TrimRight(fmt.Sprintf(format, args...), " "); text != "" {
			fmt.Fprintf(w, "%-13s%s\n", name, text)
		}
	}
	stamp := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	line("delivery", "%s", clean(d.Key))
	line("tenant", "%s", clean(d.Tenant))
	line("monitor", "%s", named(d.Monitor, d.MonitorID))
	line("alert", "%s", clean(d.Alert))
	line("alert state", "%s", clean(d.State))
	line("network", "%s", clean(d.Network))
	if d.Block.Height > 0 || d.Tx != "" {
		line("block", "%d %s (position %d)", d.Block.Height, d.Block.Hash, d.Position)
		line("transaction", "%s", clean(d.Tx))
	}
	line("trigger", "%s", clean(d.Trigger))
	line("destination", "%s", clean(d.Destination))
	switch d.Status {
	case api.DeliveryPending:
		made := "not attempted yet"
		if d.Attempts > 0 {
			made = count(int(d.Attempts), "round") + " of attempts so far"
		}
		line("status", "pending since %s, %s, %d bytes", stamp(d.At), made, d.Bytes)
		if d.After != "" {
			line("next", "when delivery %s is settled", clean(d.After))
		} else if !d.Next.IsZero() {
			next := d.Next
			if d.Held != nil && d.Held.Until.After(next) {
				next = d.Held.Until
			}
			line("next", "%s (%s)", stamp(next), nextText(&d.Delivery, now))
		}
		if h := d.Held; h != nil && h.Quota > 0 {
			line("quota", "over the tenant's quota of %s an hour: it waits its turn", count(h.Quota, "notification"))
		} else if h != nil && h.Until.After(now) {
			line("breaker", "open until about %s (in %s): the destination keeps failing, and is left alone", stamp(h.Until), ago(h.Until.Sub(now)))
			if h.Error != "" {
				line("", "it has failed last at %s: %s", stamp(h.Failed), clean(h.Error))
			}
		}
	case api.DeliveryDead:
		line("status", "dead since %s, after %s of attempts, %d bytes", stamp(d.At), count(int(d.Attempts), "round"), d.Bytes)
		if d.Bytes == 0 {
			line("", "its content was too large to be kept: it cannot be redelivered")
		}
		if d.Retracted {
			line("", "its alert was retracted since: it is not made again")
		}
	case api.DeliverySent:
		line("status", "sent at %s, in round %d", stamp(d.At), d.Attempts)
	default:
		line("status", "neither in the outbox nor a dead letter any more; last attempted at %s", stamp(d.At))
	}
	line("last error", "%s", clean(d.Error))
	if d.Answered != 0 {
		line("last answer", "%d %s", d.Answered, clean(d.Excerpt))
	}
	if len(d.History) > 0 {
		fmt.Fprintln(w)
		t := newTable("ATTEMPT", "ROUND", "BEGAN", "NODE", "STATUS", "LATENCY", "OUTCOME", "ERROR", "ANSWER")
		for _, a := range d.History {
			status := none
			if a.Status != 0 {
				status = fmt.Sprint(a.Status)
			}
			t.AppendRow(table.Row{
				a.N, a.Round, stamp(a.Began), clean(a.Node), status, ago(a.Latency), clean(a.Outcome),
				or(reason(a.Error, errorWidth)), or(shorten(a.Excerpt, errorWidth)),
			})
		}
		writeTable(w, t)
	}
	if len(d.Silent) > 0 {
		fmt.Fprintf(w, "\nattempts of these nodes are missing, they do not answer: %s\n", strings.Join(d.Silent, ", "))
	}
	if len(d.Variables) > 0 {
		fmt.Fprintln(w)
		t := newTable("VARIABLE", "VALUE")
		for _, name := range slices.Sorted(maps.Keys(d.Variables)) {
			t.AppendRow(table.Row{clean(name), shorten(d.Variables[name], errorWidth)})
		}
		writeTable(w, t)
	}
}

// named is a name with its id, where that says more.
func named(name, id string) string {
	if name = clean(name); id == "" || id == name {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, clean(id))
}
