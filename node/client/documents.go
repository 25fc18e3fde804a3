package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// Shared stands for the shared networks where a tenant is named.
const Shared = ""

// Path escapes the parts of a path and joins them.
func Path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

func tenantPath(tenant string, parts ...string) string {
	if tenant == Shared {
		return Path(append([]string{"v1"}, parts...)...)
	}
	return Path(append([]string{"v1", "tenants", tenant}, parts...)...)
}

// How often a request is made that a node cannot answer now, and how long it waits
// at most for the next try.
const (
	tries       = 6
	longestWait = 10 * time.Second
)

// call asks, and asks again what was refused for the moment, or whose connection has
// ended: all that goes through it may be done twice, but for what has to be new.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	for try := 1; ; try++ {
		var content io.Reader
		if body != nil {
			content = bytes.NewReader(body)
		}
		resp, err := c.sendWith(ctx, method, path, query, header, content)
		wait, again := later(err)
		if !again || try == tries || header.Get("If-None-Match") != "" || ctx.Err() != nil {
			return resp, err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// later reports whether an error may go away by itself, and when it is time to see.
func later(err error) (time.Duration, bool) {
	if r, refused := errors.AsType[*Refusal](err); refused {
		return min(max(r.Wait, time.Second), longestWait), r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests
	}
	// A server ends connections that nobody has used for a while, or when it stops.
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, broken) {
			return 100 * time.Millisecond, true
		}
	}
	return 0, false
}

// read asks and decodes the answer.
func read[T any](ctx context.Context, c *Client, method, path string, query url.Values, header http.Header, body any) (v T, h http.Header, err error) {
	var data []byte
	if body != nil {
		if header == nil {
			header = http.Header{}
		}
		header.Set("Content-Type", "application/json")
		if data, err = json.Marshal(body); err != nil {
			return v, nil, err
		}
	}
	resp, err := c.call(ctx, method, path, query, header, data)
	if err != nil {
		return v, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return v, resp.Header, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return v, nil, fmt.Errorf("the answer of the %s cannot be read: %w", c.Where(), err)
	}
	return v, resp.Header, nil
}

// NotFound reports whether an error is that there is no such thing, or none for the
// key.
func NotFound(err error) bool { return status(err) == http.StatusNotFound }

// Changed reports whether an error is that something was not as it was expected.
func Changed(err error) bool { return status(err) == http.StatusPreconditionFailed }

func status(err error) int {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Status
	}
	return 0
}

// Script is a stored script.
type Script struct {
	Language string `json:"language"` // of spec: JavaScript, Python or Bash
	Content  string `json:"content"`
}

// Configuration is all documents of a tenant, or the shared networks.
type Configuration struct {
	Version  uint64                     `json:"version,omitempty"`
	Networks map[string]json.RawMessage `json:"networks,omitempty"` // by slug
	Monitors map[string]json.RawMessage `json:"monitors,omitempty"` // by id
	Triggers map[string]json.RawMessage `json:"triggers,omitempty"` // by id
	Scripts  map[string]Script          `json:"scripts,omitempty"`  // by path
}

// whole is a configuration that says of every kind what there is to be: of one that is
// left out, a node deletes nothing.
func (c Configuration) whole() any {
	return struct {
		Networks map[string]json.RawMessage `json:"networks"`
		Monitors map[string]json.RawMessage `json:"monitors"`
		Triggers map[string]json.RawMessage `json:"triggers"`
		Scripts  map[string]Script          `json:"scripts"`
	}{orNone(c.Networks), orNone(c.Monitors), orNone(c.Triggers), orNone(c.Scripts)}
}

func orNone[T any](docs map[string]T) map[string]T {
	if docs == nil {
		return map[string]T{}
	}
	return docs
}

// DocumentChange is what became of one document.
type DocumentChange struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Change string `json:"change"` // created, updated or deleted
}

// Applied is what a configuration has come to.
type Applied struct {
	Version   uint64           `json:"version"`
	Changed   bool             `json:"changed"`
	Changes   []DocumentChange `json:"changes"`
	Unchanged int              `json:"unchanged"`
	Effect    []v1.Effect      `json:"effect"`
	Warnings  []v1.Warning     `json:"warnings"`
}

// Terms say how a configuration is applied.
type Terms struct {
	DryRun bool   // nothing is changed
	Merge  bool   // what is not in it stays
	Create bool   // the tenant, if it is not there; for operators
	Match  string // what is there must have this tag; empty: whatever it has
}

// Configuration gets all documents of a tenant, or the shared networks, and the tag
// they have.
func (c *Client) Configuration(ctx context.Context, tenant string) (Configuration, string, error) {
	out, h, err := read[Configuration](ctx, c, http.MethodGet, tenantPath(tenant, "configuration"), nil, nil, nil)
	return out, h.Get("ETag"), err
}

// Apply puts a configuration in force.
func (c *Client) Apply(ctx context.Context, tenant string, given Configuration, t Terms) (Applied, error) {
	query, header := url.Values{}, http.Header{}
	if t.DryRun {
		query.Set("dry_run", "true")
	}
	if t.Merge {
		query.Set("mode", "merge")
	}
	if t.Create {
		query.Set("create", "true")
	}
	if t.Match != "" {
		header.Set("If-Match", t.Match)
	}
	var body any = given
	if !t.Merge {
		body = given.whole()
	}
	out, _, err := read[Applied](ctx, c, http.MethodPut, tenantPath(tenant, "configuration"), query, header, body)
	return out, err
}

// Documents lists the documents of a kind: "networks", "monitors", "triggers" or
// "scripts".
func (c *Client) Documents(ctx context.Context, tenant, kind string) ([]v1.Listed, error) {
	return pages[v1.Listed](ctx, c, tenantPath(tenant, kind))
}

func pages[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	out := []T{}
	query := url.Values{"limit": {"500"}}
	for {
		p, _, err := read[v1.Page[T]](ctx, c, http.MethodGet, path, query, nil, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if p.Next == "" {
			return out, nil
		}
		query.Set("cursor", p.Next)
	}
}

// Document gets a document as it is shown.
func (c *Client) Document(ctx context.Context, tenant, kind, id string) (json.RawMessage, error) {
	out, _, err := read[json.RawMessage](ctx, c, http.MethodGet, tenantPath(tenant, kind, id), nil, nil, nil)
	return out, err
}

// PutDocument creates or replaces a document, or, if it has to be new, creates it.
func (c *Client) PutDocument(ctx context.Context, tenant, kind, id string, doc json.RawMessage, isNew bool) (v1.Written, error) {
	header := http.Header{}
	if isNew {
		header.Set("If-None-Match", "*")
	}
	out, _, err := read[v1.Written](ctx, c, http.MethodPut, tenantPath(tenant, kind, id), nil, header, doc)
	return out, err
}

// DeleteDocument deletes a document.
func (c *Client) DeleteDocument(ctx context.Context, tenant, kind, id string) (v1.Written, error) {
	out, _, err := read[v1.Written](ctx, c, http.MethodDelete, tenantPath(tenant, kind, id), nil, nil, nil)
	return out, err
}

// Tenants lists the tenants; for operators.
func (c *Client) Tenants(ctx context.Context) ([]v1.Tenant, error) {
	return pages[v1.Tenant](ctx, c, Path("v1", "tenants"))
}

// Tenant shows a tenant in short.
func (c *Client) Tenant(ctx context.Context, id string) (v1.Tenant, error) {
	out, _, err := read[v1.Tenant](ctx, c, http.MethodGet, tenantPath(id), nil, nil, nil)
	return out, err
}

// CreateTenant makes a tenant, if it is not there; created tells which.
func (c *Client) CreateTenant(ctx context.Context, id string) (t v1.Tenant, created bool, err error) {
	resp, err := c.call(ctx, http.MethodPut, tenantPath(id), nil, nil, nil)
	if err != nil {
		return t, false, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&t)
	return t, resp.StatusCode == http.StatusCreated, err
}

// DeleteTenant deletes a tenant with all it has.
func (c *Client) DeleteTenant(ctx context.Context, id string) error {
	_, _, err := read[nothing](ctx, c, http.MethodDelete, tenantPath(id), nil, nil, nil)
	return err
}

// Quota is what a tenant may have, and has, with the tag of what operators have set.
func (c *Client) Quota(ctx context.Context, tenant string) (v1.Quota, string, error) {
	out, h, err := read[v1.Quota](ctx, c, http.MethodGet, tenantPath(tenant, "quota"), nil, nil, nil)
	return out, h.Get("ETag"), err
}

// SetQuota says what a tenant may have, in place of what has the tag.
func (c *Client) SetQuota(ctx context.Context, tenant, tag string, want v1.WantedLimits) (v1.Quota, error) {
	out, _, err := read[v1.Quota](ctx, c, http.MethodPut, tenantPath(tenant, "quota"), nil, http.Header{"If-Match": {tag}}, want)
	return out, err
}

// remoteSecrets lists a tenant's secrets over the API.
func (c *Client) remoteSecrets(ctx context.Context, tenant string) ([]api.SecretStatus, error) {
	out, _, err := read[v1.Page[api.SecretStatus]](ctx, c, http.MethodGet, tenantPath(tenant, "secrets"), nil, nil, nil)
	return out.Items, err
}

func (c *Client) setRemoteSecret(ctx context.Context, s api.Secret) error {
	body := map[string]string{"value": s.Value}
	_, _, err := read[nothing](ctx, c, http.MethodPut, tenantPath(s.Tenant, "secrets", s.Name), nil, nil, body)
	return err
}

func (c *Client) deleteRemoteSecret(ctx context.Context, tenant, name string, force bool) error {
	query := url.Values{"force": {strconv.FormatBool(force)}}
	_, _, err := read[nothing](ctx, c, http.MethodDelete, tenantPath(tenant, "secrets", name), query, nil, nil)
	return err
}
