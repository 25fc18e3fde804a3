package v1

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// document is what all kinds of documents have.
type document interface{ Secrets() []*spec.Secret }

// kind is a kind of document.
type kind struct {
	doc   fsm.DocKind
	parse func(data []byte, opts ...spec.Option) (document, spec.Problems)
	load  func(v *fsm.View, d fsm.Doc) (document, error)
	name  func(document) string
	// prepare checks a document against the rest of its tenant and packs it. What
	// the change means for other documents goes into the draft too.
	prepare func(d *draft, id string, doc document) (spec.Problems, error)
	// release refuses to delete what others refer to.
	release func(d *draft, id string) error
}

// parsed keeps a document that was refused from looking like one.
func parsed[T any, D interface {
	*T
	document
}](doc D, problems spec.Problems) (document, spec.Problems) {
	if doc == nil {
		return nil, problems
	}
	return doc, problems
}

func loaded[T any, D interface {
	*T
	document
}](doc D, err error) (document, error) {
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// etag stands for a document's content; empty where there is none.
func etag(d fsm.Doc, exists bool) string {
	if !exists {
		return ""
	}
	return d.Hash.String()[2:34]
}

// The parts of requests are exported for huma, which looks at no others.

// ItemPath names a document.
type ItemPath struct {
	ID string `path:"id" maxLength:"128" doc:"Id of the document; of a network, its slug."`
}

// TenantPath names a tenant.
type TenantPath struct {
	Tenant string `path:"tenant" maxLength:"63" doc:"Id of the tenant."`
}

// ReadYourWrites has a request see what was done before; see awaitIndex.
type ReadYourWrites struct {
	Index uint64 `query:"index" doc:"Wait, for 5 seconds at most, until the node that answers has applied this log index; see X-Ozmo-Index."`
}

// Paging says which part of a list is wanted.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"1024" doc:"Where to go on: next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"Items of the page."`
}

// Listed is a document in a list.
type Listed struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	ETag string `json:"etag"`
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one."`
}

type pageOutput[T any] struct{ Body Page[T] }

// Effect says from where on a change holds on a network.
type Effect struct {
	Network  string `json:"network"`
	Position uint64 `json:"position" doc:"Of the first announcement that is judged with the change."`
	Height   uint64 `json:"height,omitempty" doc:"Of the block that it brought, or is expected to bring."`
}

// Warning is what is probably not as it was meant.
type Warning struct {
	Severity string `json:"severity"`
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Written is what a change of a document has come to.
type Written struct {
	ID       string    `json:"id"`
	Version  uint64    `json:"version" doc:"Of the tenant's configuration."`
	Changed  bool      `json:"changed" doc:"False: it was like that already."`
	Effect   []Effect  `json:"effect" nullable:"false" doc:"By network that the tenant's monitors watch."`
	Warnings []Warning `json:"warnings" nullable:"false"`
}

type written struct {
	Status int
	ETag   string   `header:"ETag"`
	Index  uint64   `header:"X-Ozmo-Index" doc:"Log index of the change; see the parameter index."`
	Policy []string `header:"RateLimit-Policy" doc:"The tenant's quotas of documents."`
	Left   []string `header:"RateLimit" doc:"What is left of them."`
	Body   Written
}

type documentOutput struct {
	ETag string `header:"ETag"`
	Body json.RawMessage
}

// DocumentBody is a document, which fsm/spec reads.
type DocumentBody struct {
	Body json.RawMessage
}

const idForm = "expected an id of 1 to 128 printable characters without white space around them"

func badID(id string) bool {
	return id == "" || id == "." || id == ".." || len(id) > 128 || !utf8.ValidString(id) || strings.TrimSpace(id) != id || strings.ContainsFunc(id, unicode.IsControl)
}

// checkID refuses what cannot be a document's id.
func checkID(id string) error {
	if badID(id) {
		return huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "path.id", Message: idForm})
	}
	return nil
}

func (a *API) put(ctx context.Context, k *kind, tenant, id string, body []byte, when Preconditions) (*written, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return a.change(ctx, tenant, func(d *draft) (*written, fsm.Audit, error) {
		old, exists := d.manifest.Find(k.doc, id)
		if err := when.writes(etag(old, exists)); err != nil {
			return nil, fsm.Audit{}, err
		}
		doc, problems := k.parse(body, spec.WithOrigin(spec.OriginTenant), spec.WithSealed(), spec.WithTime(a.now()))
		if err := problems.Err(); err != nil {
			return nil, fsm.Audit{}, err
		}
		var before document
		if exists {
			var err error
			if before, err = k.load(d.view, old); err != nil {
				return nil, fsm.Audit{}, err
			}
		}
		if err := keepSealed(doc, before).Err(); err != nil {
			return nil, fsm.Audit{}, err
		}
		more, err := k.prepare(d, id, doc)
		if err == nil {
			err = more.Err()
		}
		if err != nil {
			return nil, fsm.Audit{}, err
		}
		next, _ := d.manifest.Find(k.doc, id)
		out := &written{Status: http.StatusOK, ETag: quoted(etag(next, true))}
		if !exists {
			out.Status = http.StatusCreated
		}
		out.Body.ID, out.Body.Warnings = id, warnings(append(problems, more...))
		entry := fsm.Audit{Object: id, After: shown(doc)}
		if exists {
			entry.Before = shown(before)
		}
		return out, entry, nil
	})
}

func (a *API) remove(ctx context.Context, k *kind, tenant, id string, when Preconditions) (*written, error) {
	return a.change(ctx, tenant, func(d *draft) (*written, fsm.Audit, error) {
		old, exists := d.manifest.Find(k.doc, id)
		if !exists {
			return nil, fsm.Audit{}, errNotThere
		}
		if err := when.writes(etag(old, exists)); err != nil {
			return nil, fsm.Audit{}, err
		}
		before, err := k.load(d.view, old)
		if err != nil {
			return nil, fsm.Audit{}, err
		}
		d.drop(k.doc, id)
		if k.release != nil {
			if err := k.release(d, id); err != nil {
				return nil, fsm.Audit{}, err
			}
		}
		out := &written{Status: http.StatusOK}
		out.Body.ID, out.Body.Warnings = id, []Warning{}
		return out, fsm.Audit{Object: id, Before: shown(before)}, nil
	})
}

func (a *API) get(v *fsm.View, k *kind, t *fsm.Tenant, id string, when Preconditions) (*documentOutput, error) {
	d, ok := t.Current.Manifest.Find(k.doc, id)
	if !ok {
		return nil, errNotThere
	}
	if err := when.reads(etag(d, true)); err != nil {
		return nil, err
	}
	doc, err := k.load(v, d)
	if err != nil {
		return nil, err
	}
	conceal(doc)
	data, err := spec.Encode(doc)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", k.doc, id, err)
	}
	return &documentOutput{ETag: quoted(etag(d, true)), Body: data}, nil
}

func (a *API) list(v *fsm.View, k *kind, t *fsm.Tenant, p Paging) (*pageOutput[Listed], error) {
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Listed]{Body: Page[Listed]{Items: []Listed{}}}
	for _, d := range t.Current.Manifest.Docs {
		if d.Kind != k.doc || after != "" && d.ID <= after {
			continue
		}
		if len(out.Body.Items) == p.Limit {
			out.Body.Next = out.Body.Items[p.Limit-1].ID
			break
		}
		name, err := a.names.of(d.Hash, func() (string, error) {
			doc, err := k.load(v, d)
			if err != nil {
				return "", err
			}
			return k.name(doc), nil
		})
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, Listed{ID: d.ID, Name: name, ETag: quoted(etag(d, true))})
	}
	return out, nil
}

func quoted(tag string) string { return `"` + tag + `"` }

func warnings(problems spec.Problems) []Warning {
	out := []Warning{}
	for _, p := range problems {
		if p.Severity != spec.SeverityError {
			out = append(out, Warning{Severity: string(p.Severity), Location: location(p.Path), Message: p.Message})
		}
	}
	return out
}
