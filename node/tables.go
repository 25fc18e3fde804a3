package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// tablesInterval is how often the tables of a tenant source are looked at, unless
// they tell by themselves.
const tablesInterval = 5 * time.Second

// tables takes tenants over from the tables of another program's database, on the
// leader.
type tables struct {
	*Node
	source *postgres.Source
	seen   *postgres.Seen // at the last look

	mu      sync.Mutex
	done    map[string]taken  // tenants as they were taken over, or refused; empty until this node leads
	refused map[string]string // why tenants keep what they had, by slug; "" is the whole source
}

// taken is what a tenant was taken over from, or refused for.
type taken struct {
	mark    string
	quota   uint64 // Tenant.QuotaIndex
	shared  uint64 // log index of the shared networks, where it was refused: others may help
	holder  uint64 // birth of who has the name already, and is not of the tables; 0: nobody
	refused bool
}

// is reports whether a tenant would be taken over from the same again.
func (t taken) is(now taken) bool {
	return t.mark == now.mark && t.quota == now.quota && t.holder == now.holder && (!t.refused || t.shared == now.shared)
}

func (n *Node) openTables() error {
	if n.opts.PostgresSourceURL == "" {
		return nil
	}
	source, err := postgres.NewSource(n.opts.PostgresSourceURL)
	if err != nil {
		return fmt.Errorf("--postgres-source-url: %w", err)
	}
	n.clean.push(source.Close)
	n.tables = &tables{Node: n, source: source, done: map[string]taken{}, refused: map[string]string{}}
	return nil
}

// run follows the tables until ctx ends.
func (t *tables) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := t.opts.SourceInterval
		if leads, _ := t.group.Leads(); !leads || t.group.Barrier(ctx) != nil {
			t.forget()
			pause = min(pause, time.Second)
		} else {
			t.note("", t.look(ctx))
		}
		t.wait(ctx, pause)
	}
}

// wait returns after a while, or when the tables tell that they have changed.
func (t *tables) wait(ctx context.Context, pause time.Duration) {
	limited, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if leads, _ := t.group.Leads(); leads && t.source.Wait(limited, func() bool {
		now, err := t.source.Look(limited, t.seen)
		return err != nil || t.seen == nil || now == t.seen || maps.Equal(now.Marks, t.seen.Marks)
	}) == nil {
		return
	}
	<-limited.Done()
}

// takeOvers is how many tenants are taken over at a time: reading and committing wait,
// checking takes the processor.
const takeOvers = 8

// look takes over what has changed.
func (t *tables) look(ctx context.Context) error {
	seen, err := t.source.Look(ctx, t.seen)
	if err != nil {
		return err
	}
	t.seen = seen
	v := t.state.View()
	if len(seen.Marks) == 0 && t.hasTenants(fsm.SourceTables) {
		return errors.New("the tables of the tenant source hold no tenant at all: nothing was deleted; to end the last tenant, set its is_active to false")
	}
	t.recall(v)
	around, err := t.surroundings(v)
	if err != nil {
		return err
	}
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(takeOvers)
	for slug, mark := range seen.Marks {
		now := t.asOf(v, slug, mark, around)
		t.mu.Lock()
		same := t.done[slug].is(now)
		t.mu.Unlock()
		if same {
			continue
		}
		if within.Err() != nil {
			break
		}
		work.Go(func() error { return t.follow(within, slug, mark, around) })
	}
	switch err := work.Wait(); {
	case errors.Is(err, consensus.ErrNotLeader):
		return nil // whoever leads now sees to the others
	case err != nil:
		return err
	}
	return t.dropGone(ctx, v, seen)
}

// recall takes up what the leader before has taken over.
func (t *tables) recall(v *fsm.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.done) > 0 {
		return
	}
	for held := range v.Tenants() {
		if held.Source == fsm.SourceTables && held.Mark != "" {
			t.done[held.ID] = taken{mark: held.Mark, quota: held.QuotaIndex}
		}
	}
}

// asOf is what a tenant would be taken over from now.
func (t *tables) asOf(v *fsm.View, slug, mark string, around surroundings) taken {
	out := taken{mark: mark, shared: around.index}
	if held, ok := v.Tenant(slug); ok {
		out.quota = held.QuotaIndex
		if held.Source != fsm.SourceTables {
			out.holder = held.Born
		}
	}
	return out
}

// follow takes one tenant over. Its error ends the look.
func (t *tables) follow(ctx context.Context, slug, mark string, around surroundings) error {
	if leads, _ := t.group.Leads(); !leads {
		return consensus.ErrNotLeader
	}
	rows, err := t.source.Tenant(ctx, slug)
	switch {
	case errors.Is(err, postgres.ErrUnfit):
		err = fmt.Errorf("%w: %w", err, errRefused) // the others are not kept waiting for it
	case err != nil:
		return err
	case rows == nil:
		return nil // it was deleted meanwhile: the next look sees that
	default:
		err = t.takeOver(ctx, rows, mark, around)
	}
	t.note(slug, err)
	if err != nil && !errors.Is(err, errRefused) {
		return nil // it is tried again at the next look
	}
	now := t.asOf(t.state.View(), slug, mark, around)
	now.refused = err != nil // what is not mended is not looked at again
	t.mu.Lock()
	t.done[slug] = now
	t.mu.Unlock()
	return nil
}

// dropGone deletes the tenants that the tables do not have any more, and tells no more
// of those that never were.
func (t *tables) dropGone(ctx context.Context, v *fsm.View, seen *postgres.Seen) error {
	t.mu.Lock()
	gone := func(slug string) bool { _, there := seen.Marks[slug]; return slug != "" && !there }
	maps.DeleteFunc(t.done, func(slug string, was taken) bool { return was.refused && gone(slug) })
	maps.DeleteFunc(t.refused, func(slug, _ string) bool { return gone(slug) })
	t.metrics.tables.Set(float64(len(t.refused)))
	t.mu.Unlock()
	for held := range v.Tenants() {
		if _, ok := seen.Marks[held.ID]; ok || held.Source != fsm.SourceTables {
			continue
		}
		c := &fsm.DeleteTenant{Tenant: held.ID, Expect: held.Current.Number, At: time.Now().UnixMilli(), Source: fsm.SourceTables}
		if _, err := t.byTables(ctx, c, "tenant.delete", held.ID); err != nil && !errors.Is(err, fsm.ErrNotFound) {
			return err
		}
		t.mu.Lock()
		delete(t.done, held.ID)
		t.mu.Unlock()
		t.note(held.ID, nil)
		t.log.Warn("a tenant is gone from the tables of the tenant source and was deleted", "tenant", held.ID)
	}
	return nil
}

func (t *tables) byTables(ctx context.Context, c fsm.Command, action, tenant string) (any, error) {
	return t.proposeAudited(ctx, c, fsm.Audit{Tenant: tenant, Actor: "tables", Address: t.opts.Name, Action: action, Object: tenant})
}

// note keeps why a tenant keeps what it had, and tells it when that is news.
func (t *tables) note(slug string, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	t.mu.Lock()
	was := t.refused[slug]
	if why == "" {
		delete(t.refused, slug)
	} else {
		t.refused[slug] = why
	}
	n := len(t.refused)
	t.mu.Unlock()
	t.metrics.tables.Set(float64(n))
	switch {
	case why == was:
	case why == "":
		t.log.Info("the tables of the tenant source are taken over again", "tenant", slug)
	default:
		t.log.Error("the tables of the tenant source were not taken over: what was there stays", "tenant", slug, "error", why)
	}
}

// forget ends what only a leader knows.
func (t *tables) forget() {
	t.mu.Lock()
	clear(t.done)
	clear(t.refused)
	t.mu.Unlock()
	t.metrics.tables.Set(0)
}

// problems are for the status.
func (t *tables) problems() (out []string) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for slug, why := range t.refused {
		if slug == "" {
			out = append(out, why)
			continue
		}
		first, _, _ := strings.Cut(why, "\n")
		out = append(out, fmt.Sprintf("tenant %s keeps what it had: the tables of the tenant source: %s", slug, first))
	}
	slices.Sort(out)
	return out
}

// SourceSQL makes the tables of a tenant source tell what changes.
var SourceSQL = postgres.SourceSQL
