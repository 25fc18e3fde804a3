package v1

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// writes are the tries to change a tenant that others are changing too, out of turn: where
// there is no leader to give turns, or who had one was too slow. Between them it waits a
// little, by chance: whoever is nearest to the leader would win every time. It does not
// wait longer and longer: it would lose more and more.
const (
	writes    = 64
	writePace = 12 * time.Millisecond
)

var errCrowded = fmt.Errorf("%w: others are changing this tenant all the time: try again", api.ErrUnavailable)

// again reports whether to try a change once more that came too late, and waits
// before that until View shows what it came too late for. Err is what the change has
// come to otherwise.
func (a *API) again(ctx context.Context, try int, result error) (yes bool, err error) {
	if !errors.Is(result, fsm.ErrConflict) {
		return false, result
	}
	if try >= writes {
		return false, errCrowded
	}
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-time.After(rand.N(writePace)):
	}
	a.metrics.late.Inc()
	if err := a.backend.CatchUp(ctx); err != nil {
		return false, err
	}
	return true, nil
}

// draft is a version of a tenant in the making.
type draft struct {
	ctx      context.Context
	a        *API
	view     *fsm.View
	tenant   string // fsm.Shared for the shared networks
	before   *fsm.Tenant
	manifest fsm.Manifest
	blobs    [][]byte
}

func (d *draft) add(p *store.Packed) {
	for _, doc := range p.Manifest.Docs {
		d.replace(doc)
	}
	d.blobs = append(d.blobs, p.Blobs...)
}

func (d *draft) replace(doc fsm.Doc) {
	d.drop(doc.Kind, doc.ID)
	d.manifest.Docs = append(d.manifest.Docs, doc)
	d.manifest.Normalize()
}

func (d *draft) drop(k fsm.DocKind, id string) {
	d.manifest.Docs = slices.DeleteFunc(slices.Clone(d.manifest.Docs), func(o fsm.Doc) bool { return o.Kind == k && o.ID == id })
	d.manifest.Normalize()
}

// draft begins with what is in force in the present view.
func (a *API) draft(ctx context.Context, id string) (*draft, error) {
	d := &draft{ctx: ctx, a: a, view: a.backend.View(), tenant: id, before: new(fsm.Tenant)}
	if t, ok := d.view.Tenant(id); ok {
		d.before = t
		d.manifest = *t.Current.Manifest
		d.manifest.Docs = slices.Clone(d.manifest.Docs)
	} else if id != fsm.Shared {
		return nil, errNotThere
	}
	if id != fsm.Shared {
		if _, err := tenant(ctx, d.view, id); err != nil {
			return nil, err
		}
	}
	if d.before.Current.Number != 0 && d.before.Source != fsm.SourceAPI {
		return nil, conflictf("%s come from %s, which alone changes them", whose(id), originOf(d.before.Source))
	}
	return d, d.view.Prefetch(&d.manifest)
}

// originOf is who else says what documents are.
func originOf(s fsm.Source) string {
	if s == fsm.SourceTables {
		return "the tables of a database"
	}
	return "the operator's folder"
}

func whose(tenant string) string {
	if tenant == fsm.Shared {
		return "the shared networks"
	}
	return "the documents of this tenant"
}

// commit puts the draft in force, if it is any different.
func (d *draft) commit(e fsm.Audit) (v fsm.Version, changed bool, err error) {
	if d.isInForce() {
		return d.before.Current, false, nil
	}
	now := d.a.now().UnixMilli()
	manifest, err := d.a.backend.PlaceContents(d.ctx, d.view, d.tenant, d.manifest, d.blobs)
	if err != nil {
		return v, false, err
	}
	e.Tenant = d.tenant
	result, err := d.a.audited(d.ctx, &fsm.SetTenantVersion{
		Tenant: d.tenant, Expect: d.before.Current.Number, Manifest: manifest, At: now, Source: fsm.SourceAPI,
	}, e, d.before.Born)
	if err != nil {
		return v, false, err
	}
	v, _ = result.(fsm.Version)
	return v, true, nil
}

// change makes a draft and commits it in its turn, again while others change the tenant
// out of theirs.
func (a *API) change(ctx context.Context, tenant string, edit func(*draft) (*written, fsm.Audit, error)) (*written, error) {
	release, err := a.turn(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer release()
	for try := 1; ; try++ {
		d, err := a.draft(ctx, tenant)
		if err != nil {
			return nil, err
		}
		out, entry, err := edit(d)
		if err != nil {
			return nil, err
		}
		v, changed, err := d.commit(entry)
		once, err := a.again(ctx, try, err)
		if once {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Body.Version, out.Body.Changed, out.Index = v.Number, changed, v.Index
		now := a.backend.View()
		out.Body.Effect = effects(now, tenant, v)
		if t, ok := now.Tenant(tenant); ok {
			out.Policy, out.Left = documentLimits(now, t)
		}
		return out, nil
	}
}

// effects tells where a version begins to hold: where its coverage says so, however
// long that is ago. One that another has replaced before anything was announced has
// none; what was announced then is judged with that one.
func effects(v *fsm.View, tenant string, version fsm.Version) []Effect {
	out := []Effect{}
	if tenant == fsm.Shared {
		return out
	}
	t, ok := v.Tenant(tenant)
	if !ok { // not made yet, or deleted at once
		t = new(fsm.Tenant)
	}
	for _, key := range version.Manifest.Wanted {
		n, ok := v.Network(key)
		if !ok {
			continue
		}
		e := Effect{Network: key, Position: begins(t, n, version)}
		tip, begun := n.Branch.Tip()
		if height, known := n.HeightAt(e.Position); known {
			e.Height = height
		} else if begun && e.Position == n.Next {
			e.Height = tip.Height + 1
		}
		out = append(out, e)
	}
	return out
}

// begins is the first position of a network that is judged with a version.
func begins(t *fsm.Tenant, n *fsm.Network, version fsm.Version) uint64 {
	for _, run := range t.Coverage[n.Key] { // where a part is left out, in several
		if run.Version == version.Number {
			return run.From
		}
	}
	for _, entry := range n.Entries {
		if entry.Index > version.Index {
			return entry.Position
		}
	}
	return n.Next
}

// draftOf is a draft of a tenant that may have to be made first.
func (a *API) draftOf(ctx context.Context, id string, create bool) (*draft, error) {
	d, err := a.draft(ctx, id)
	if !create || !errors.Is(err, errNotThere) || actorOf(ctx).Role != fsm.RoleOperator {
		return d, err
	}
	if err := checkTenantID(id); err != nil {
		return nil, err
	}
	return &draft{ctx: ctx, a: a, view: a.backend.View(), tenant: id, before: new(fsm.Tenant)}, nil
}

// next is the version that a draft would become.
func (d *draft) next() (v fsm.Version, changed bool) {
	if d.isInForce() {
		return d.before.Current, false
	}
	return fsm.Version{Number: d.before.Current.Number + 1, Index: d.view.Index(), Manifest: &d.manifest}, true
}

func (d *draft) isInForce() bool {
	return d.before.Current.Manifest != nil && d.before.Current.Manifest.Same(&d.manifest)
}
