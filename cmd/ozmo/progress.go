package main

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing anywhere else.
type progress struct {
	w     io.Writer
	label string
	bar   *progressbar.ProgressBar
}

func newProgress(w io.Writer, label string) *progress { return &progress{w: w, label: label} }

// set says how far the work is.
func (p *progress) set(done, total uint64) {
	if !isTerminal(p.w) {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(int64(total),
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(p.label),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	_ = p.bar.Set64(int64(done)) // a bar that cannot be drawn is no reason to stop
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
	}
}

// newByteProgress counts what is written to it: a bar on a terminal, nothing
// anywhere else. A total that is not known is -1.
func newByteProgress(w io.Writer, label string, total int64) (counter io.Writer, finish func()) {
	if !isTerminal(w) {
		return io.Discard, func() {}
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(label),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	return bar, func() { _ = bar.Finish() } // as above
}
