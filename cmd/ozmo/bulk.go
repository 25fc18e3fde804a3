package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

// tenantPatience is how long the change of one tenant may take, with its tries.
const tenantPatience = 2 * time.Minute

// job is one tenant to be changed. Documents are read when its turn comes, so that
// not all of them are held at once.
type job struct {
	tenant string
	read   func(context.Context) (*files.Documents, spec.Problems, error)
}

// bulk changes any number of tenants.
type bulk struct {
	c           *client.Client
	jobs        []job
	shared      func(context.Context) (*files.Documents, spec.Problems, error) // nil: there are none
	applyShared bool
	missing     func(spec.Problems) []files.Missing

	dryRun, prune bool
	notices       bool // they were told when the documents were read; warnings are in any case
	concurrency   int
	progress      *progress
	each          func(*appliedTenant) // is told of every tenant, one after the other; nil: nobody

	confirmed map[gone]bool // what may be deleted; nil: everything

	// unsent tells that shared networks would change in a dry run, so that what the
	// server says of tenants' documents that refer to them would be wrong.
	unsent bool
}

// gone is a document that is to be deleted.
type gone struct{ tenant, kind, id string }

// appliedTenant is what became of one tenant.
type appliedTenant struct {
	Tenant    string             `json:"tenant,omitempty"`
	Shared    bool               `json:"shared,omitempty"` // the shared networks, of no tenant
	Version   uint64             `json:"version"`
	Changed   bool               `json:"changed"`
	DryRun    bool               `json:"dry_run"`
	Changes   []files.Difference `json:"changes"`
	Unchanged int                `json:"unchanged"`
	Effect    []v1.Effect        `json:"effect"`
	Warnings  []v1.Warning       `json:"warnings"`
	Error     string             `json:"error,omitempty"`

	local  bool          // the server was not asked
	told   spec.Problems // warnings that were told before
	advice string        // on Error, for people
}

// parallel does something for every job, and shows how far it is.
func (b *bulk) parallel(ctx context.Context, do func(j *job)) {
	var g errgroup.Group
	g.SetLimit(b.concurrency)
	var mu sync.Mutex
	done := uint64(0)
	for i := range b.jobs {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			do(&b.jobs[i])
			mu.Lock()
			defer mu.Unlock()
			done++
			if len(b.jobs) > 1 {
				b.progress.set(done, uint64(len(b.jobs)))
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	b.progress.finish()
}

// check reads everything, and tells what is wrong with it.
func (b *bulk) check(ctx context.Context) (spec.Problems, []files.Missing) {
	var mu sync.Mutex
	var all spec.Problems
	add := func(where string, problems spec.Problems, err error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, problems...)
		if err != nil && problems.Err() == nil {
			all = append(all, spec.Problem{File: where, Message: err.Error(), Severity: spec.SeverityError})
		}
	}
	if b.shared != nil {
		_, problems, err := b.shared(ctx)
		add("", problems, err)
	}
	b.parallel(ctx, func(j *job) {
		_, problems, err := j.read(ctx)
		add("tenant "+j.tenant, problems, err)
	})
	slices.SortStableFunc(all, func(x, y spec.Problem) int { return strings.Compare(x.File, y.File) })
	return all, b.missing(all)
}

// deletions are the documents that are not wanted any more.
func (b *bulk) deletions(ctx context.Context) ([]gone, error) {
	var mu sync.Mutex
	var out []gone
	var failed []error
	add := func(j *job) {
		_, differences, err := b.plan(ctx, j)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", whoseText(j.tenant), err))
		}
		out = append(out, gones(j.tenant, differences)...)
	}
	if b.shared != nil && b.applyShared {
		add(&job{client.Shared, b.shared})
	}
	b.parallel(ctx, add)
	slices.SortFunc(out, func(x, y gone) int {
		return cmp.Or(strings.Compare(x.tenant, y.tenant), strings.Compare(x.kind, y.kind), strings.Compare(x.id, y.id))
	})
	return out, errors.Join(failed...)
}

func gones(tenant string, differences []files.Difference) (out []gone) {
	for _, d := range differences {
		if d.Change == files.Deleted {
			out = append(out, gone{tenant, d.Kind, d.ID})
		}
	}
	return out
}

// confirm has nothing else be deleted.
func (b *bulk) confirm(list []gone) {
	b.confirmed = make(map[gone]bool, len(list))
	for _, g := range list {
		b.confirmed[g] = true
	}
}

// planned is what is to be sent.
type planned struct {
	docs  *files.Documents
	tag   string // of what is in force
	isNew bool   // there is no such tenant yet, or none for the key
	there uint64 // version in force
	same  bool   // nothing is to be done
	told  spec.Problems
}

// plan compares what is wanted with what is in force.
func (b *bulk) plan(ctx context.Context, j *job) (*planned, []files.Difference, error) {
	docs, problems, err := j.read(ctx)
	if err == nil {
		err = problems.Err()
	}
	if err != nil || docs == nil {
		return nil, nil, err
	}
	p := &planned{docs: docs, told: problems.Warnings()}
	if b.notices {
		p.told = problems
	}
	current, tag, err := b.c.Configuration(ctx, j.tenant)
	switch {
	case client.NotFound(err):
		p.isNew = true
	case err != nil:
		return nil, nil, err
	default:
		p.tag, p.there = tag, current.Version
	}
	if p.tag == `""` {
		p.tag = "" // there is no version: nothing to expect
	}
	there, err := files.Parse(current)
	if err != nil {
		return nil, nil, err
	}
	docs.Align(there)
	differences, err := files.Compare(docs, there, b.prune)
	p.same = p.tag != "" && len(differences) == 0 && files.SameSecrets(docs, there)
	return p, differences, err
}

// apply changes all, and tells what became of them.
func (b *bulk) apply(ctx context.Context) *bulkSum {
	s := &bulkSum{DryRun: b.dryRun, Tenants: []*appliedTenant{}}
	var mu sync.Mutex
	add := func(r *appliedTenant) {
		mu.Lock()
		defer mu.Unlock()
		s.add(r)
		if b.each != nil {
			b.each(r)
		}
	}
	var shared *job
	if b.shared != nil && b.applyShared {
		if docs, _, err := b.shared(ctx); docs != nil || err != nil { // the folder has some
			shared = &job{client.Shared, b.shared}
		}
	}
	prune := b.prune
	if shared != nil {
		b.prune = false // tenants may still watch what is to go
		r := b.one(ctx, shared)
		b.prune = prune
		b.unsent = b.dryRun && r.Changed
		add(r)
		if r.Error != "" {
			return s // what tenants refer to may not be there
		}
	}
	b.parallel(ctx, func(j *job) { add(b.one(ctx, j)) })
	if shared != nil && prune && ctx.Err() == nil {
		if r := b.one(ctx, shared); r.Changed && slices.ContainsFunc(r.Changes, func(d files.Difference) bool { return d.Change == files.Deleted }) || r.Error != "" {
			add(r)
		}
	}
	return s
}

// one changes one tenant.
func (b *bulk) one(ctx context.Context, j *job) *appliedTenant {
	ctx, cancel := context.WithTimeout(ctx, tenantPatience)
	defer cancel()
	r := &appliedTenant{Tenant: j.tenant, Shared: j.tenant == client.Shared, DryRun: b.dryRun, Changes: []files.Difference{}}
	err := errMeanwhile
	for try := 1; try <= 3 && errors.Is(err, errMeanwhile); try++ {
		err = b.once(ctx, j, r)
	}
	if err != nil {
		err = missing(err, "%s", ofOwner(j.tenant))
		r.Error, r.advice = err.Error(), advice(err)
	}
	r.Effect = fillEffect(r.Effect)
	fill(&r.Warnings)
	return r
}

func (b *bulk) once(ctx context.Context, j *job, r *appliedTenant) error {
	p, differences, err := b.plan(ctx, j)
	if err != nil {
		return err
	}
	r.told = p.told
	if b.confirmed != nil {
		for _, g := range gones(j.tenant, differences) {
			if !b.confirmed[g] {
				return fmt.Errorf("%s %q is new since the question and would be deleted: apply again", g.kind, g.id)
			}
		}
	}
	pruning := r.Shared && b.prune && b.dryRun // what tenants watch now, they would not any more
	if b.unsent && !r.Shared || pruning {
		r.local, r.Version, r.Changes, r.Changed = true, p.there, differences, len(differences) > 0
		if r.Changed {
			r.Version++
		}
		return nil
	}
	if p.same {
		r.Version, r.Unchanged = p.there, p.docs.Count()
		return nil
	}
	given, err := p.docs.Configuration()
	if err != nil {
		return err
	}
	done, err := b.c.Apply(ctx, j.tenant, given, client.Terms{
		DryRun: b.dryRun, Merge: !b.prune, Create: p.isNew && !r.Shared, Match: p.tag,
	})
	if client.Changed(err) {
		return errMeanwhile
	}
	if err != nil {
		return err
	}
	r.Version, r.Changed, r.Unchanged, r.Effect, r.Warnings = done.Version, done.Changed, done.Unchanged, done.Effect, done.Warnings
	r.Changes = told(done.Changes, differences)
	return nil
}

// told are the changes as the server has them, with the fields as they were found
// here. A document of which no field differs has another secret.
func told(changes []client.DocumentChange, differences []files.Difference) []files.Difference {
	known := make(map[[2]string][]files.Field, len(differences))
	for _, d := range differences {
		known[[2]string{d.Kind, d.ID}] = d.Fields
	}
	out := make([]files.Difference, 0, len(changes))
	for _, c := range changes {
		d := files.Difference{Kind: c.Kind, ID: c.ID, Change: c.Change, Fields: known[[2]string{c.Kind, c.ID}]}
		if d.Change == files.Updated && len(d.Fields) == 0 {
			d.Fields = []files.Field{{Path: "a secret"}}
		}
		out = append(out, d)
	}
	return out
}
