package spec

import (
	"context"
	"io/fs"
	"time"
)

// Origin is where a document comes from, which decides what it may refer to.
type Origin int

// The origins.
const (
	// OriginFolder: the operator's folder, the default. Every secret but a
	// sealed one; script paths are allowed.
	OriginFolder Origin = iota
	// OriginTenant: a tenant, over the API. Plain secrets only, and script paths are
	// those of stored scripts: a tenant must not read the node's environment or files.
	OriginTenant
	// OriginState: the replicated state. All that may have been stored.
	OriginState
)

// Option changes how documents are read.
type Option func(*options)

type options struct {
	file    string
	origin  Origin
	resolve func(Secret) (string, error) // nil: only plain values are checked
	scripts fs.FS                        // nil: script files are not looked for
	shared  *networkSet                  // networks of the cluster
	now     time.Time
	tenant  bool // a folder inside tenants/
	sealed  bool // sealed secrets are let through, whatever the origin
}

func newOptions(opts []Option) options {
	// The clock only enters a warning about uneven schedules; a fixed default
	// keeps reading a pure function of the input.
	o := options{shared: &networkSet{}, now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithFile names the file in problems.
func WithFile(name string) Option { return func(o *options) { o.file = name } }

// WithOrigin sets where the documents come from; default OriginFolder.
func WithOrigin(origin Origin) Option { return func(o *options) { o.origin = origin } }

// WithSealed lets documents of any origin hold sealed secrets: a document is shown
// with a mark in the place of each, and may come back with them. The caller looks up
// what a mark stands for.
func WithSealed() Option { return func(o *options) { o.sealed = true } }

// WithResolver resolves every secret while reading, as the peer does, so that
// a missing one is a problem and rules on values are applied. Without it only
// plain secrets are checked. The documents keep their references.
func WithResolver(ctx context.Context, r Resolver) Option {
	return func(o *options) {
		o.resolve = func(s Secret) (string, error) { return r.Resolve(ctx, s) }
	}
}

// WithScripts requires every script path to be a file of fsys. ReadFolder does
// so with its own folder.
func WithScripts(fsys fs.FS) Option { return func(o *options) { o.scripts = fsys } }

// WithSharedNetworks lets monitors of a folder refer to networks outside it,
// by slug. The folder's own networks come first.
func WithSharedNetworks(networks map[string]*Network) Option {
	return func(o *options) { o.shared = &networkSet{bySlug: networks} }
}

// WithTenantFolder reads a folder inside tenants/, where only monitors/ must
// exist.
func WithTenantFolder() Option { return func(o *options) { o.tenant = true } }

// WithTime sets the moment from which the next firings of a schedule are
// counted for the recommended max_past_blocks; default a fixed one.
func WithTime(now time.Time) Option { return func(o *options) { o.now = now } }
