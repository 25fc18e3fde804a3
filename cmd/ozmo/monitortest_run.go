package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// testRun judges blocks for one test.
type testRun struct {
	docs     *testDocuments
	index    *evm.Index
	compiled []*evm.Monitor // parallel to the documents' monitors
	out      *printer
	sender   *testSender // nil without --send
	explain  bool
	blocks   uint64 // judged so far
	done     uint64 // the last of them
}

// testMonitors is the command monitor test.
func (a *app) testMonitors(ctx context.Context, o *testOptions, out *printer) error {
	docs, err := loadTest(ctx, o)
	if err != nil {
		return err
	}
	r := &testRun{docs: docs, out: out, explain: o.explain}
	r.compile(a)
	for _, p := range docs.problems {
		line := p.String()
		if p.Severity == spec.SeverityError { // of a monitor that cannot match; String has no word for it
			line = "error: " + line
		}
		out.note(line)
	}
	if o.send {
		r.sender = newTestSender(docs, out.console(), a.log)
	}
	if o.fromFiles() {
		var b *chainevm.Block
		var warnings []string
		if b, warnings, err = readBlock(o); err != nil {
			return err
		}
		for _, w := range warnings {
			out.note("warning: " + w)
		}
		err = r.judge(ctx, b.Number, b)
	} else {
		err = r.fetch(ctx, a, o)
	}
	shown := out.finish(r.blocks, len(docs.monitors))
	switch {
	case err == nil:
		return shown
	case errors.Is(shown, errFindings): // no news beside an error
		return r.stopped(ctx, o, err)
	default:
		return errors.Join(r.stopped(ctx, o, err), shown)
	}
}

// compile makes the monitors ready. Problems are told and stop nothing: what
// cannot be evaluated does not match, here as anywhere.
func (r *testRun) compile(a *app) {
	r.index = evm.NewIndex(evm.Options{OnPanic: func(key match.Key, value any) {
		a.log.Error("panic while judging a monitor; its condition counts as not met", "monitor", key.Monitor, "panic", value)
	}})
	specs := &evm.ABIs{}
	for _, m := range r.docs.monitors {
		doc := *m.doc
		doc.Paused = false // that it is was told
		c, problems := evm.Compile(&doc, specs)
		for _, p := range problems {
			text := p.Message
			if p.Suggestion != "" {
				text += "; " + p.Suggestion
			}
			r.docs.note(spec.Severity(p.Severity), m.file, p.Path, "%s", text)
		}
		r.compiled = append(r.compiled, c)
		r.index.Add(match.Key{Tenant: spec.DefaultTenant, Monitor: m.doc.Name}, c, 0)
	}
}

// fetch judges the blocks of a range.
func (r *testRun) fetch(ctx context.Context, a *app, o *testOptions) error {
	f, err := newFetcher(r.docs.network, a.log)
	if err != nil {
		return err
	}
	defer f.client.Close()
	bar := r.out.bar()
	defer bar.finish()
	return inOrder(ctx, o.from, o.to, o.parallel, f.block, func(height uint64, b *chainevm.Block) error {
		err := r.judge(ctx, height, b)
		if o.from < o.to {
			bar.set(height-o.from+1, o.to-o.from+1)
		}
		return err
	})
}

// judge shows, and sends if wanted, what one block gives.
func (r *testRun) judge(ctx context.Context, height uint64, b *chainevm.Block) error {
	hits := r.index.Match(b, 0)
	for i := range hits {
		m := hits[i].Match(r.docs.network.Slug)
		if err := r.out.match(m); err != nil {
			return err
		}
		if r.sender == nil {
			continue
		}
		results, err := r.sender.send(ctx, m, time.Unix(int64(b.Timestamp), 0))
		for _, d := range results {
			if err := r.out.delivery(&d); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	if r.explain {
		for i, m := range r.docs.monitors {
			for _, miss := range evm.Explain(r.compiled[i], b) {
				if err := r.out.nearMiss(height, m.doc.Name, &miss); err != nil {
					return err
				}
			}
		}
	}
	r.blocks, r.done = r.blocks+1, height
	return nil
}

// stopped is the error of a test that did not get to its end.
func (r *testRun) stopped(ctx context.Context, o *testOptions, err error) error {
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	switch {
	case o.from == o.to:
		return err
	case r.blocks == 0:
		return fmt.Errorf("%w; no block was judged", err)
	default:
		return fmt.Errorf("%w; blocks %d to %d were judged: go on with --from %d", err, o.from, r.done, r.done+1)
	}
}

// bar shows how far a range is, on standard error and only to a person who sees
// nothing else written there meanwhile.
func (p *printer) bar() *progress {
	if p.format == "ndjson" && isTerminal(p.stdout) {
		return newProgress(io.Discard, "")
	}
	return newProgress(p.stderr, "judging blocks")
}
