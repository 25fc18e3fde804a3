package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// printer shows what a test finds. Only ndjson shows it at once; the others at
// the end, whatever was found until then.
type printer struct {
	stdout, stderr io.Writer
	format         string
	object         bool // JSON holds more than the matches

	matchTable, deliveryTable table.Writer

	matches, failed int
	list            []json.RawMessage
	misses          []nearMiss
	more            int // near misses that are not shown
	deliveries      []delivered
}

// maxMisses bounds the near misses of a table; busy contracts have very many.
const maxMisses = 100

// nearMiss is a transaction that a monitor could have matched.
type nearMiss struct {
	Monitor     string       `json:"monitor"`
	Block       uint64       `json:"block"`
	Transaction string       `json:"transaction"`
	Reasons     []missReason `json:"reasons"`
}

// missReason is one condition that did not hold.
type missReason struct {
	Path      string      `json:"path,omitempty"`
	Signature string      `json:"signature,omitempty"`
	Log       *int        `json:"log,omitempty"` // index in the transaction's logs
	Message   string      `json:"message"`
	Values    []missValue `json:"values,omitempty"`
}

// missValue is one comparison inside an expression.
type missValue struct {
	Condition string `json:"condition"`
	Value     string `json:"value"`
	Holds     bool   `json:"holds"`
	Reached   bool   `json:"reached"` // false when the rest had decided before
	Error     string `json:"error,omitempty"`
}

func newPrinter(stdout, stderr io.Writer, format string, o *testOptions) *printer {
	return &printer{
		stdout: stdout, stderr: stderr, format: format, object: o.explain || o.send,
		matchTable:    newTable("block", "transaction", "monitor", "matched on"),
		deliveryTable: newTable("transaction", "monitor", "trigger", "destination", "result"),
	}
}

// note tells something beside the result.
func (p *printer) note(text string) { fmt.Fprintln(p.stderr, clean(text)) }

// console is where the console channel writes: never between JSON.
func (p *printer) console() io.Writer {
	if p.format == "table" {
		return p.stdout
	}
	return p.stderr
}

func (p *printer) match(m *match.Match) error {
	p.matches++
	if p.format == "table" {
		p.matchTable.AppendRow(table.Row{m.Block.Height, clean(m.Transaction), clean(m.MonitorName), matchedOn(m)})
		return nil
	}
	text, err := m.JSON()
	if err != nil {
		return err
	}
	if p.format == "ndjson" {
		return writeJSONLine(p.stdout, json.RawMessage(text))
	}
	p.list = append(p.list, text)
	return nil
}

// matchedOn lists the conditions that held, with the arguments.
func matchedOn(m *match.Match) string {
	var lines []string
	add := func(on []match.Condition, args []match.Call) {
		for i, c := range on {
			lines = append(lines, clean(c.Signature))
			if i >= len(args) {
				continue
			}
			for n, a := range args[i].Args {
				name := a.Name
				if name == "" {
					name = "#" + strconv.Itoa(n)
				}
				lines = append(lines, "  "+clean(name)+" = "+clean(a.Value))
			}
		}
	}
	add(m.MatchedOn.Events, m.Args.Events)
	add(m.MatchedOn.Functions, m.Args.Functions)
	for _, t := range m.MatchedOn.Transactions {
		line := "transaction " + t.Status
		if t.Expression != nil {
			line += ": " + clean(*t.Expression)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		lines = append(lines, "address")
	}
	return strings.Join(lines, "\n")
}

func (p *printer) nearMiss(height uint64, monitor string, found *evm.NearMiss) error {
	miss := nearMiss{Monitor: monitor, Block: height, Transaction: found.Transaction.String()}
	for _, r := range found.Reasons {
		reason := missReason{Path: r.Path, Signature: r.Signature, Message: r.Message}
		if r.Log >= 0 {
			reason.Log = &r.Log
		}
		for _, s := range r.Steps {
			reason.Values = append(reason.Values, valueOf(s))
		}
		miss.Reasons = append(miss.Reasons, reason)
	}
	switch {
	case p.format == "ndjson":
		return writeJSONLine(p.stdout, map[string]any{"near_miss": miss})
	case p.format == "table" && len(p.misses) == maxMisses:
		p.more++
	default:
		p.misses = append(p.misses, miss)
	}
	return nil
}

func valueOf(s expr.Step) missValue {
	v := missValue{Condition: s.Condition, Value: s.Left, Holds: s.Holds, Reached: s.Evaluated}
	if e, ok := errors.AsType[*expr.Error](s.Err); ok {
		v.Error = e.Message
	} else if s.Err != nil {
		v.Error = s.Err.Error()
	}
	return v
}

func (p *printer) delivery(d *delivered) error {
	if !d.OK {
		p.failed++
	}
	switch p.format {
	case "ndjson":
		return writeJSONLine(p.stdout, map[string]any{"delivery": d})
	case "json":
		p.deliveries = append(p.deliveries, *d)
	default:
		p.deliveryTable.AppendRow(table.Row{d.Transaction, clean(d.Monitor), clean(d.Trigger), clean(d.Destination), clean(d.outcome())})
	}
	return nil
}

// finish prints what was kept. The error is errFindings when a delivery failed.
func (p *printer) finish(blocks uint64, monitors int) error {
	var err error
	switch {
	case p.format == "json" && p.object:
		err = writeJSON(p.stdout, struct {
			Matches    []json.RawMessage `json:"matches"`
			NearMisses []nearMiss        `json:"near_misses"`
			Deliveries []delivered       `json:"deliveries"`
		}{orEmpty(p.list), orEmpty(p.misses), orEmpty(p.deliveries)})
	case p.format == "json":
		err = writeJSON(p.stdout, orEmpty(p.list))
	case p.format == "table":
		p.finishTable(blocks, monitors)
	}
	if p.failed > 0 {
		err = errors.Join(err, errFindings)
	}
	return err
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (p *printer) finishTable(blocks uint64, monitors int) {
	if p.matches > 0 {
		writeTable(p.stdout, p.matchTable)
		fmt.Fprintln(p.stdout)
	}
	for i := range p.misses {
		p.misses[i].writeText(p.stdout)
	}
	if p.more > 0 {
		fmt.Fprintf(p.stdout, "... and %s; --output ndjson shows them all\n\n", count(p.more, "more near miss"))
	}
	if p.deliveryTable.Length() > 0 {
		writeTable(p.stdout, p.deliveryTable)
		fmt.Fprintln(p.stdout)
	}
	fmt.Fprintf(p.stdout, "%s in %s, judged by %s\n", count(p.matches, "match"), count(blocks, "block"), count(monitors, "monitor"))
}

func (m *nearMiss) writeText(w io.Writer) {
	fmt.Fprintf(w, "near miss of %q: block %d, transaction %s\n", m.Monitor, m.Block, m.Transaction)
	for _, r := range m.Reasons {
		var about []string
		for _, part := range []string{r.Path, r.Signature} {
			if part != "" {
				about = append(about, clean(part))
			}
		}
		if r.Log != nil {
			about = append(about, "log "+strconv.Itoa(*r.Log))
		}
		if len(about) > 0 {
			fmt.Fprintf(w, "  %s:\n  ", strings.Join(about, ", "))
		}
		fmt.Fprintf(w, "  %s\n", clean(r.Message))
		for _, v := range r.Values {
			fmt.Fprintf(w, "      %s\n", v.text())
		}
	}
	fmt.Fprintln(w)
}

func (v *missValue) text() string {
	text := clean(v.Condition) + ": "
	switch {
	case !v.Reached:
		return text + "not reached"
	case v.Error != "":
		return text + "cannot be evaluated: " + clean(v.Error)
	case v.Holds:
		return text + "holds, the value is " + clean(v.Value)
	default:
		return text + "does not hold, the value is " + clean(v.Value)
	}
}
