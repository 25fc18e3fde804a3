package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// screen is where a demo shows things. It remembers when nobody can see them.
type screen struct {
	out    io.Writer
	colour bool
	err    error
}

func newScreen(out io.Writer, lookupEnv func(string) (string, bool)) *screen {
	return &screen{out: out, colour: isTerminal(out) && wantsColour(lookupEnv)}
}

// wantsColour follows no-color.org and leaves terminals alone that are none.
func wantsColour(lookupEnv func(string) (string, bool)) bool {
	if v, ok := lookupEnv("NO_COLOR"); ok && v != "" {
		return false
	}
	term, _ := lookupEnv("TERM")
	return term != "dumb"
}

// The looks of a text on a terminal.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
)

func (s *screen) paint(look, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + look + "m" + text + "\x1b[0m"
}

func (s *screen) show(text string) {
	if _, err := io.WriteString(s.out, text); err != nil && s.err == nil {
		s.err = fmt.Errorf("nothing can be shown any more: %w", err)
	}
}

// demoPlaces are the addresses that a demo names.
type demoPlaces struct {
	chain     chainAddress
	blockTime time.Duration
	rate      float64
	node      string // host:port
	receiver  string
	folder    demoFolder
	program   string // how to call ozmo
	pid       int
}

// banner says what was started.
func (s *screen) banner(p *demoPlaces) {
	var b strings.Builder
	line := func(label, text string) { fmt.Fprintf(&b, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-9s", label)), text) }
	b.WriteString(s.paint(bold, "ozmo demo") + ": a simulated chain, one ozmo node and a receiver of webhooks\n\n")
	line("chain", fmt.Sprintf("%s  %s  chain id %d", p.chain.RPC, p.chain.WS, p.chain.ChainID))
	line("", fmt.Sprintf("a block every %v, %s token transfers a second", p.blockTime, strconv.FormatFloat(p.rate, 'g', -1, 64)))
	line("token", p.chain.Token)
	line("metrics", "http://"+p.node+"/metrics")
	line("readyz", "http://"+p.node+"/readyz")
	line("receiver", p.receiver+"  (checks the signature of every alert)")
	line("data", p.folder.data())
	line("config", p.folder.config()+"  (OpenZeppelin Monitor's format)")
	line("logs", p.folder.path("*.log"))
	b.WriteString("\nAlerts appear when the receiver has them. Ctrl-C ends the demo.\n\n")
	s.show(b.String())
}

// alert shows a received alert. took is nil when it is not known since when
// the alert was due.
func (s *screen) alert(r receipt, took *time.Duration) {
	var b strings.Builder
	look := red
	switch r.State {
	case "retracted":
		look = yellow
	case "reinstated":
		look = green
	}
	after := ""
	if took != nil {
		after = "  " + s.paint(green, milliseconds(*took)) + " after its block was confirmed"
	}
	fmt.Fprintf(&b, "%s  %s%s\n", s.paint(look, strings.ToUpper(clean(r.State))), s.paint(bold, clean(r.Monitor)), after)
	line := func(label, text string) {
		fmt.Fprintf(&b, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-11s", label)), clean(text))
	}
	line("tenant", r.Tenant)
	line("network", r.Network)
	line("block", strconv.FormatUint(r.Height, 10)+"  "+r.BlockHash)
	line("transaction", r.Transaction)
	if r.Status != "" && len(r.Calls) == 0 {
		line("status", r.Status)
		line("from", r.From)
		line("to", r.To)
	}
	for _, c := range r.Calls {
		line("matched", c.Signature)
		for _, a := range c.Args {
			line("  "+clean(a.Name), a.Value)
		}
	}
	b.WriteByte('\n')
	s.show(b.String())
}

// while says where to look next as long as the demo runs.
func (s *screen) while(p *demoPlaces) {
	s.hints("Where to look now, in another terminal:", [][2]string{
		{"curl http://" + p.node + "/metrics", "what the node counts"},
		{p.program + " coverage show default devnet --data " + quoteArg(p.folder.data()), "which blocks were judged"},
		{p.program + " config check " + quoteArg(p.folder.config()), "are the documents in order"},
		{"kill -HUP " + strconv.Itoa(p.pid), "read them again: first set \"paused\" to false in\n" + p.folder.path("config/monitors/every_transfer.json")},
	})
}

// after says where to look next when the demo has ended.
func (s *screen) after(p *demoPlaces) {
	list := [][2]string{
		{p.program + " demo --keep ./demo", "the same, and the folder stays"},
	}
	if p.folder.keep {
		list = [][2]string{{p.program + " config check " + quoteArg(p.folder.config()), "are the documents in order"}}
	}
	s.hints("Where to look next:", append(list,
		[2]string{p.program + " serve --config DIR", "a node on your own documents"},
		[2]string{"https://" + modulePath + "/tree/main/docs", "the documentation"}))
}

func (s *screen) hints(title string, list [][2]string) {
	var b strings.Builder
	b.WriteString(s.paint(bold, title) + "\n")
	for _, hint := range list {
		b.WriteString("  " + hint[0] + "\n")
		for line := range strings.SplitSeq(hint[1], "\n") {
			b.WriteString("      " + s.paint(dim, line) + "\n")
		}
	}
	b.WriteByte('\n')
	s.show(b.String())
}

// quoteArg makes one word of a path for a shell.
func quoteArg(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,", r)
	}
	if path != "" && !slices.ContainsFunc([]rune(path), func(r rune) bool { return !plain(r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// programName is how the user can call this program again.
func programName(lookPath func(string) (string, error)) string {
	self, err := os.Executable()
	if err != nil {
		return "ozmo"
	}
	found, err := lookPath("ozmo")
	if err == nil && sameFile(found, self) {
		return "ozmo"
	}
	return quoteArg(self)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
