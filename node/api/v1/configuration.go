package v1

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Bounds on a body with a whole configuration, which may be a large one on a slow
// line.
const (
	maxConfiguration      = 32 << 20
	configurationPatience = time.Minute
)

// Configuration is all documents of a tenant, as each is shown alone.
type Configuration struct {
	Version  uint64                     `json:"version"`
	Networks map[string]json.RawMessage `json:"networks" nullable:"false"`
	Monitors map[string]json.RawMessage `json:"monitors" nullable:"false"`
	Triggers map[string]json.RawMessage `json:"triggers" nullable:"false"`
	Scripts  map[string]json.RawMessage `json:"scripts" nullable:"false"`
}

// SharedConfiguration is all shared networks.
type SharedConfiguration struct {
	Version  uint64                     `json:"version"`
	Networks map[string]json.RawMessage `json:"networks" nullable:"false"`
}

// Change is what becomes of one document.
type Change struct {
	Kind   string `json:"kind" enum:"network,monitor,trigger,script"`
	ID     string `json:"id"`
	Change string `json:"change" enum:"created,updated,deleted"`
}

// Configured is what a change of a whole configuration has come to.
type Configured struct {
	Version   uint64    `json:"version" doc:"Of the configuration; of a dry run, the one that would be next."`
	Changed   bool      `json:"changed" doc:"False: it was like that already."`
	DryRun    bool      `json:"dry_run" doc:"True: nothing was changed."`
	Changes   []Change  `json:"changes" nullable:"false"`
	Unchanged int       `json:"unchanged" doc:"Documents that stay as they are."`
	Effect    []Effect  `json:"effect" nullable:"false" doc:"By network that the tenant's monitors watch."`
	Warnings  []Warning `json:"warnings" nullable:"false"`
}

type configurationOutput[T any] struct {
	ETag  string `header:"ETag"`
	Index uint64 `header:"X-Ozmo-Index"`
	Body  T
}

type configured struct {
	Status int
	ETag   string   `header:"ETag"`
	Index  uint64   `header:"X-Ozmo-Index" doc:"Log index of the change; see the parameter index."`
	Policy []string `header:"RateLimit-Policy" doc:"The tenant's quotas of documents."`
	Left   []string `header:"RateLimit" doc:"What is left of them."`
	Body   Configured
}

const modeMerge = "merge"

// How says how a configuration is put.
type How struct {
	DryRun bool   `query:"dry_run" doc:"Check everything and tell what would change, and change nothing."`
	Mode   string `query:"mode" enum:"replace,merge" default:"replace" doc:"replace: what is not in the body is deleted, and {} in the place of a kind says that there are none of it; merge: it stays."`
}

type configurationGet struct {
	TenantPath
	ReadYourWrites
	Preconditions
}

type configurationPut struct {
	TenantPath
	ReadYourWrites
	Preconditions
	How
	Create bool `query:"create" doc:"Make the tenant where there is none. For operators."`
	DocumentBody
}

type sharedConfigurationGet struct {
	ReadYourWrites
	Preconditions
}

type sharedConfigurationPut struct {
	ReadYourWrites
	Preconditions
	How
	DocumentBody
}

func (a *API) configurationRoutes() {
	register(a, "configuration.get", func(ctx context.Context, in *configurationGet) (*configurationOutput[Configuration], error) {
		v := a.backend.View()
		t, err := tenant(ctx, v, in.Tenant)
		if err != nil {
			return nil, err
		}
		return wholly(v, t.Current, in.Preconditions)
	})
	register(a, "configuration.put", func(ctx context.Context, in *configurationPut) (*configured, error) {
		return a.configure(ctx, &whole{tenant: in.Tenant, create: in.Create, how: in.How, when: in.Preconditions, read: a.sent(in.Body, in.How)})
	})
	register(a, "sharedconfiguration.get", func(_ context.Context, in *sharedConfigurationGet) (*configurationOutput[SharedConfiguration], error) {
		v := a.backend.View()
		all, err := wholly(v, shared(v).Current, in.Preconditions)
		if err != nil {
			return nil, err
		}
		return &configurationOutput[SharedConfiguration]{
			ETag: all.ETag, Index: all.Index, Body: SharedConfiguration{Version: all.Body.Version, Networks: all.Body.Networks},
		}, nil
	})
	register(a, "sharedconfiguration.put", func(ctx context.Context, in *sharedConfigurationPut) (*configured, error) {
		return a.configure(ctx, &whole{tenant: fsm.Shared, how: in.How, when: in.Preconditions, read: a.sent(in.Body, in.How)})
	})
}

// wholeTag stands for the content of all documents of a version; empty where there
// is no version.
func wholeTag(v fsm.Version) string {
	if v.Manifest == nil || v.Number == 0 {
		return ""
	}
	digest := sha256.New()
	for _, d := range v.Manifest.Docs {
		fmt.Fprintf(digest, "%d %q %x\n", d.Kind, d.ID, d.Hash)
	}
	return hex.EncodeToString(digest.Sum(nil)[:16])
}

// wholly shows a version.
func wholly(v *fsm.View, version fsm.Version, when Preconditions) (*configurationOutput[Configuration], error) {
	tag := wholeTag(version)
	if err := when.reads(tag); err != nil {
		return nil, err
	}
	b, err := bundleOf(v, version.Manifest)
	if err != nil {
		return nil, err
	}
	out := &configurationOutput[Configuration]{ETag: quoted(tag), Index: v.Index(), Body: Configuration{
		Version: version.Number, Networks: map[string]json.RawMessage{}, Monitors: map[string]json.RawMessage{},
		Triggers: map[string]json.RawMessage{}, Scripts: map[string]json.RawMessage{},
	}}
	into := map[string]map[string]json.RawMessage{
		spec.BundleNetworks: out.Body.Networks, spec.BundleMonitors: out.Body.Monitors,
		spec.BundleTriggers: out.Body.Triggers, spec.BundleScripts: out.Body.Scripts,
	}
	for one := range documentsOf(b) {
		conceal(one.doc)
		if into[one.member][one.id], err = spec.Encode(one.doc); err != nil {
			return nil, fmt.Errorf("%s %q: %w", one.kind.doc, one.id, err)
		}
	}
	return out, nil
}

// whole is a change of all documents of a tenant.
type whole struct {
	tenant string
	object string // as the audit log names it; empty: the tenant
	create bool
	how    How
	when   Preconditions
	// read gives the documents, their secrets as they are to be stored but for plain
	// ones.
	read func(d *draft) (*spec.Bundle, spec.Problems, error)
}

// sent reads the documents of a request.
func (a *API) sent(body []byte, how How) func(*draft) (*spec.Bundle, spec.Problems, error) {
	return func(d *draft) (*spec.Bundle, spec.Problems, error) {
		b, problems := spec.ParseBundle(body, spec.WithOrigin(spec.OriginTenant), spec.WithSealed(), spec.WithTime(a.now()))
		for one := range documentsOf(b) {
			if len(one.doc.Secrets()) == 0 {
				continue
			}
			var before document
			if old, exists := d.manifest.Find(one.kind.doc, one.id); exists {
				var err error
				if before, err = one.kind.load(d.view, old); err != nil {
					return nil, nil, err
				}
			}
			problems = append(problems, one.placed(b, keepSealed(one.doc, before))...)
		}
		if how.Mode != modeMerge {
			problems = append(problems, forgotten(b, d)...)
		}
		return b, problems, nil
	}
}

// forgotten refuses a body that would replace documents by saying nothing of their
// kind: that is a mistake more often than a wish.
func forgotten(b *spec.Bundle, d *draft) (problems spec.Problems) {
	kinds := []*kind{networks, monitors, triggers, scripts}
	members := []string{spec.BundleNetworks, spec.BundleMonitors, spec.BundleTriggers, spec.BundleScripts}
	if d.tenant == fsm.Shared {
		members = members[:1]
	}
	fail := func(path, format string, args ...any) {
		problems = append(problems, spec.Problem{Path: path, Severity: spec.SeverityError, Message: fmt.Sprintf(format, args...)})
	}
	left := slices.DeleteFunc(slices.Clone(members), func(member string) bool { return !b.LeftOut(member) })
	if len(left) == len(members) {
		fail("", "has no %s: give what is to be there instead of all that is; %s deletes everything", strings.Join(members, ", no "), emptied(members))
		return problems
	}
	for i, member := range members {
		if n := len(idsOf(&d.manifest, kinds[i].doc)); b.LeftOut(member) && n > 0 {
			fail(member, "is left out, and there are documents of the kind (%d) that would be deleted: give %s to delete them, or mode=merge to keep what is not in the body", n, emptied(members[i:i+1]))
		}
	}
	return problems
}

// emptied is a body with members without documents.
func emptied(members []string) string {
	return `{"` + strings.Join(members, `":{},"`) + `":{}}`
}

// configure changes all documents of a tenant at once, or none.
func (a *API) configure(ctx context.Context, w *whole) (*configured, error) {
	if w.how.DryRun {
		if err := a.backend.CatchUp(ctx); err != nil {
			return nil, err
		}
	} else {
		release, err := a.turn(ctx, w.tenant)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	for try := 1; ; try++ {
		out, err := a.configureOnce(ctx, w)
		once, err := a.again(ctx, try, err)
		if once {
			continue // another one was quicker
		}
		return out, err
	}
}

func (a *API) configureOnce(ctx context.Context, w *whole) (*configured, error) {
	d, err := a.draftOf(ctx, w.tenant, w.create)
	if err != nil {
		return nil, err
	}
	if err := w.when.writes(wholeTag(d.before.Current)); err != nil {
		return nil, err
	}
	b, problems, err := w.read(d)
	if err != nil {
		return nil, err
	}
	more, err := d.bundle(b, w.how.Mode == modeMerge, problems.Err() != nil)
	problems = append(problems, more...)
	if err := errors.Join(problems.Err(), err); err != nil {
		return nil, err
	}
	out := &configured{Status: http.StatusOK, Body: Configured{DryRun: w.how.DryRun, Warnings: warnings(problems)}}
	if d.before.Current.Number == 0 && !w.how.DryRun && w.tenant != fsm.Shared {
		out.Status = http.StatusCreated
	}
	out.Body.Changes, out.Body.Unchanged = differences(d.before.Current.Manifest, &d.manifest)
	var version fsm.Version
	if w.how.DryRun {
		version, out.Body.Changed = d.next()
	} else if version, out.Body.Changed, err = d.commit(fsm.Audit{Object: cmp.Or(w.object, w.tenant), After: counted(out.Body.Changes, out.Body.Unchanged)}); err != nil {
		return nil, err
	}
	view := a.backend.View()
	if w.how.DryRun {
		view = d.view
	}
	out.ETag, out.Index = quoted(wholeTag(version)), version.Index
	out.Body.Version, out.Body.Effect = version.Number, effects(view, w.tenant, version)
	if t, ok := view.Tenant(w.tenant); ok {
		out.Policy, out.Left = documentLimits(view, t)
	}
	return out, nil
}

// differences are what distinguishes a manifest from the one before, which may be
// none. Both are sorted.
func differences(before, after *fsm.Manifest) (changes []Change, unchanged int) {
	changes = []Change{}
	note := func(d fsm.Doc, what string) { changes = append(changes, Change{d.Kind.String(), d.ID, what}) }
	if before == nil {
		before = new(fsm.Manifest)
	}
	for _, d := range after.Docs {
		switch old, exists := before.Find(d.Kind, d.ID); {
		case !exists:
			note(d, "created")
		case old.Hash != d.Hash:
			note(d, "updated")
		default:
			unchanged++
		}
	}
	for _, d := range before.Docs {
		if _, stays := after.Find(d.Kind, d.ID); !stays {
			note(d, "deleted")
		}
	}
	return changes, unchanged
}

// counted says in a line what has changed.
func counted(changes []Change, unchanged int) string {
	n := map[string]int{}
	for _, c := range changes {
		n[c.Kind+"s "+c.Change]++
	}
	var parts []string
	for _, kind := range []string{"network", "monitor", "trigger", "script"} {
		for _, change := range []string{"created", "updated", "deleted"} {
			if key := kind + "s " + change; n[key] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n[key], key))
			}
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d documents unchanged", unchanged)), ", ")
}
