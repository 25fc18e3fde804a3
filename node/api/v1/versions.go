package v1

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// ConfigurationVersion is a version of a tenant's configuration in short.
type ConfigurationVersion struct {
	Number   uint64    `json:"number"`
	At       time.Time `json:"at"`
	Index    uint64    `json:"index" doc:"Log index of the change."`
	Actor    string    `json:"actor,omitempty" doc:"Who made it, as far as the audit log goes back."`
	Action   string    `json:"action,omitempty" doc:"By what."`
	Object   string    `json:"object,omitempty" doc:"Of what."`
	ETag     string    `json:"etag" doc:"Of all its documents: that of the configuration while it is in force."`
	Networks int       `json:"networks"`
	Monitors int       `json:"monitors"`
	Triggers int       `json:"triggers"`
	Scripts  int       `json:"scripts"`
}

// VersionPath names a version.
type VersionPath struct {
	Number uint64 `path:"number" minimum:"1" doc:"Of the version."`
}

type versionGet struct {
	TenantPath
	VersionPath
	ReadYourWrites
	Preconditions
}

type versionRestore struct {
	TenantPath
	VersionPath
	ReadYourWrites
	Preconditions
	DryRun bool `query:"dry_run" doc:"Check everything and tell what would change, and change nothing."`
}

func (a *API) versionRoutes() {
	register(a, "version.list", func(ctx context.Context, in *listInput) (*pageOutput[ConfigurationVersion], error) {
		v := a.backend.View()
		t, err := tenant(ctx, v, in.Tenant)
		if err != nil {
			return nil, err
		}
		return versions(v, t, in.Paging)
	})
	register(a, "version.get", func(ctx context.Context, in *versionGet) (*configurationOutput[Configuration], error) {
		v := a.backend.View()
		t, err := tenant(ctx, v, in.Tenant)
		if err != nil {
			return nil, err
		}
		version, err := numbered(t, in.Number)
		if err != nil {
			return nil, err
		}
		return wholly(v, version, in.Preconditions)
	})
	register(a, "version.restore", func(ctx context.Context, in *versionRestore) (*configured, error) {
		return a.configure(ctx, &whole{
			tenant: in.Tenant, how: How{DryRun: in.DryRun}, when: in.Preconditions, object: strconv.FormatUint(in.Number, 10),
			read: func(d *draft) (*spec.Bundle, spec.Problems, error) {
				version, err := numbered(d.before, in.Number)
				if err != nil {
					return nil, nil, err
				}
				b, err := bundleOf(d.view, version.Manifest)
				return b, nil, err
			},
		})
	})
}

// numbered is a version among those that are kept.
func numbered(t *fsm.Tenant, number uint64) (fsm.Version, error) {
	version, ok := t.Number(number)
	if !ok || version.Manifest == nil {
		return version, fmt.Errorf("version %d of tenant %q: it never was, or is not kept any more: %w", number, t.ID, fsm.ErrNotFound)
	}
	return version, nil
}

// versions is a page of what is kept, the newest first.
func versions(v *fsm.View, t *fsm.Tenant, p Paging) (*pageOutput[ConfigurationVersion], error) {
	before, err := p.before()
	if err != nil {
		return nil, err
	}
	made := map[uint64]*fsm.Audit{}
	for e := range v.AuditOf(t.ID) {
		if e.Version != 0 {
			made[e.Version] = e
		}
	}
	out := &pageOutput[ConfigurationVersion]{Body: Page[ConfigurationVersion]{Items: []ConfigurationVersion{}}}
	for _, version := range slices.Backward(append(slices.Clone(t.Previous), t.Current)) {
		if before != 0 && version.Number >= before {
			continue
		}
		if len(out.Body.Items) == p.Limit {
			out.Body.Next = strconv.FormatUint(out.Body.Items[p.Limit-1].Number, 10)
			break
		}
		one := ConfigurationVersion{Number: version.Number, At: time.UnixMilli(version.At).UTC(), Index: version.Index, ETag: quoted(wholeTag(version))}
		one.Networks, one.Monitors, one.Triggers, one.Scripts = countDocuments(version.Manifest)
		if e := made[version.Number]; e != nil {
			one.Actor, one.Action, one.Object = e.Actor, e.Action, e.Object
		}
		out.Body.Items = append(out.Body.Items, one)
	}
	return out, nil
}

func countDocuments(m *fsm.Manifest) (networks, monitors, triggers, scripts int) {
	for _, d := range m.Docs {
		switch d.Kind {
		case fsm.DocNetwork:
			networks++
		case fsm.DocMonitor:
			monitors++
		case fsm.DocTrigger:
			triggers++
		case fsm.DocScript:
			scripts++
		default:
		}
	}
	return networks, monitors, triggers, scripts
}
