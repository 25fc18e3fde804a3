package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const network = "net"

// journal is a Journal that holds the watcher to every rule there is.
type journal struct {
	cache  blockcache.Cache
	window int

	mu      sync.Mutex
	epoch   uint64
	next    uint64
	branch  []fsm.BlockRef // the current branch, from first on
	first   uint64
	entries []watcher.Announcement
	batches []int // sizes
	broken  error // the first rule broken
	faults  []journalFault
}

type journalFault int

const (
	refuse     journalFault = iota + 1 // nothing happens, an error is returned
	loseAnswer                         // it happens, an error is returned
	panics
)

func newJournal(cache blockcache.Cache) *journal {
	return &journal{cache: cache, window: 64, epoch: 7, next: 1}
}

func (j *journal) Head(string) (watcher.Head, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return watcher.Head{}, false
	}
	window := j.branch[max(0, len(j.branch)-j.window):]
	h := watcher.Head{Next: j.next, Window: slices.Clone(window), First: j.first}
	if len(window) > 0 {
		h.Tip = window[len(window)-1]
	}
	return h, true
}

func (j *journal) Announce(_ context.Context, name string, epoch uint64, entries []watcher.Announcement) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var fault journalFault
	if len(j.faults) > 0 {
		fault, j.faults = j.faults[0], j.faults[1:]
	}
	switch {
	case name != network:
		j.broke("network %q", name)
	case epoch != j.epoch:
		return fmt.Errorf("announce: %w", watcher.ErrFenced)
	case len(entries) == 0 || len(entries) > 64:
		j.broke("%d entries at once", len(entries))
	case fault == panics:
		panic("journal")
	case fault == refuse:
		return errors.New("no leader")
	}
	branch, first := slices.Clone(j.branch), j.first
	free := len(j.entries) == 0 // the next Extend follows nothing
	for _, a := range entries {
		switch a.Kind {
		case watcher.Extend:
			if n := len(branch); !free && (branch[n-1].Height+1 != a.Ref.Height || branch[n-1].Hash != a.Parent) {
				return fmt.Errorf("%w: %v after %v", watcher.ErrConflict, a.Ref, branch[n-1])
			}
			if free && len(branch) == 0 {
				first = a.Ref.Height
			}
			branch, free = append(branch, a.Ref), false
			if _, ok := j.cache.Get(context.Background(), network, a.Ref.Hash); !ok {
				j.broke("block %v was announced and not stored", a.Ref)
			}
			if a.Time.IsZero() {
				j.broke("block %v has no time", a.Ref)
			}
		case watcher.Rollback:
			i := slices.Index(branch, a.Ref)
			switch {
			case i >= 0:
				branch = branch[:i+1]
			case a.Ref.Height+1 == first: // below everything
				branch = []fsm.BlockRef{a.Ref}
			default:
				return fmt.Errorf("%w: rollback to %v", watcher.ErrConflict, a.Ref)
			}
		case watcher.Skip:
			if n := len(branch); n > 0 && branch[n-1].Height+1 != a.From || a.To < a.From {
				j.broke("skip from %d to %d after %v", a.From, a.To, branch)
			}
			branch, first, free = nil, a.To+1, true
		default:
			j.broke("kind %v", a.Kind)
		}
	}
	if len(branch) == 0 {
		j.broke("a skip without a block after it")
	}
	j.branch, j.first = branch, first
	j.entries = append(j.entries, entries...)
	j.next += uint64(len(entries))
	j.batches = append(j.batches, len(entries))
	if fault == loseAnswer {
		return errors.New("leadership lost")
	}
	return nil
}

func (j *journal) broke(format string, args ...any) {
	if j.broken == nil {
		j.broken = fmt.Errorf(format, args...)
	}
}

func (j *journal) fail(faults ...journalFault) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, faults...)
}

func (j *journal) heal() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = nil
}

func (j *journal) tip() fsm.BlockRef {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.branch) == 0 {
		return fsm.BlockRef{}
	}
	return j.branch[len(j.branch)-1]
}

func (j *journal) log() []watcher.Announcement {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// matches compares the final branch with the chain's, from the first announced
// height on, and tells whether a rule was broken on the way.
func (j *journal) matches(c *fakechain.Chain) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	if len(j.branch) == 0 {
		return errors.New("nothing was announced")
	}
	branch := j.branch
	if branch[0].Height < j.first {
		branch = branch[1:] // the anchor of a branch that replaced everything
	}
	want := c.Refs()
	i := slices.IndexFunc(want, func(r fsm.BlockRef) bool { return r.Height == j.first })
	if i < 0 || !slices.Equal(branch, want[i:]) {
		return fmt.Errorf("the journal's branch is %v, the chain's %v", tail(branch), tail(want))
	}
	return nil
}

func tail(refs []fsm.BlockRef) []fsm.BlockRef { return refs[max(0, len(refs)-6):] }

// client is a chain.Client that reads a fakechain without a network between.
type client struct {
	chain *fakechain.Chain
	heads chan chain.Head // nil: no head source

	mu      sync.Mutex
	ceiling uint64           // the node knows nothing above; 0: everything
	pin     *fakechain.Block // what the node holds canonical at its height
	missing uint64           // a height the node has no block for; 0: none
	blocks  []error
	polls   []error
	calls   map[string]int
}

var errPanicNow = errors.New("panic now")

func newClient(c *fakechain.Chain) *client { return &client{chain: c, calls: map[string]int{}} }

func (c *client) enter(what string, faults *[]error) (ceiling uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[what]++
	if len(*faults) > 0 {
		err, *faults = (*faults)[0], (*faults)[1:]
	}
	if errors.Is(err, errPanicNow) {
		panic(err)
	}
	return c.ceiling, err
}

func (c *client) failBlocks(errs ...error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks = append(c.blocks, errs...)
}

func (c *client) failPolls(errs ...error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polls = append(c.polls, errs...)
}

func (c *client) setCeiling(h uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ceiling = h
}

func (c *client) setPin(b *fakechain.Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin = b
}

func (c *client) setMissing(h uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing = h
}

func (c *client) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ceiling, c.blocks, c.polls = 0, nil, nil
}

func (c *client) Head(context.Context) (chain.Head, error) {
	ceiling, err := c.enter("head", &c.polls)
	if err != nil {
		return chain.Head{}, err
	}
	b := c.chain.Head()
	if ceiling != 0 && ceiling < b.Number {
		b = c.chain.At(ceiling)
	}
	return headOf(b), nil
}

func headOf(b *fakechain.Block) chain.Head {
	return chain.Head{Height: b.Number, Hash: b.Hash, Parent: b.Parent, Seen: time.Now()}
}

func (c *client) Heads(ctx context.Context) (<-chan chain.Head, error) {
	if c.heads == nil {
		return nil, chain.ErrNoHeadSource
	}
	out := make(chan chain.Head)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case h := <-c.heads:
				select {
				case out <- h:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

func (c *client) Block(ctx context.Context, height uint64) (*chain.Block, error) {
	what := "block"
	if chain.IsRefetch(ctx) {
		what = "refetch"
	}
	ceiling, err := c.enter(what, &c.blocks)
	if err != nil {
		return nil, err
	}
	b := c.chain.At(height)
	c.mu.Lock()
	if c.pin != nil && c.pin.Number == height {
		b = c.pin
	}
	if c.missing != 0 && c.missing == height {
		b = nil
	}
	c.mu.Unlock()
	return convert(b, ceiling)
}

func (c *client) BlockByHash(_ context.Context, hash fsm.Hash) (*chain.Block, error) {
	ceiling, err := c.enter("byhash", &c.blocks)
	if err != nil {
		return nil, err
	}
	return convert(c.chain.ByHash(hash), ceiling)
}

func convert(b *fakechain.Block, ceiling uint64) (*chain.Block, error) {
	if b == nil || ceiling != 0 && b.Number > ceiling {
		return nil, chain.ErrNotFound
	}
	return &chain.Block{Ref: b.Ref(), Parent: b.Parent, Time: time.Unix(int64(b.Time), 0), Payload: b.Hash[:]}, nil
}

func (*client) Close() error { return nil }

func document() *spec.Network {
	return &spec.Network{
		Type: spec.EVM, Slug: network, Name: "Net", BlockTime: 2 * time.Second, ConfirmationBlocks: 1,
		Cron: "*/5 * * * * *",
	}
}

// follow runs a watcher until the returned function is called, which reports
// how Run ended.
func follow(t testing.TB, o watcher.Options) (stop func() error) {
	t.Helper()
	w, err := watcher.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// elapse lets virtual time pass, until everything that happens in it is done.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
