package v1

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	_ "github.com/ozmo-dev/ozmo/worker/match/evm" // monitors are compiled
	"github.com/ozmo-dev/ozmo/worker/store"
)

// fake is a node with nothing but a state.
type fake struct {
	t     testing.TB
	state *fsm.State
	turns Turns
	apart bool // no turns

	mu     sync.Mutex
	index  uint64
	down   error         // of what is proposed
	away   error         // of contents that are to be placed
	behind []fsm.Command // committed, and not applied here before CatchUp
	before func()        // called once, before the next proposal

	used   map[string]Consumption // by tenant, in any hour
	silent []string
	alerts func(*fsm.Tenant) []api.Alert                           // nil: one of each tenant
	asked  api.AlertQuery                                          // by the last list
	follow func(context.Context, *fsm.Tenant) <-chan api.AlertNews // nil: what there is
	since  time.Time                                               // of the last stream
}

func (f *fake) View() *fsm.View { return f.state.View() }

func (f *fake) CatchUp(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.behind {
		if _, err := f.apply(c); err != nil {
			return err
		}
	}
	f.behind = nil
	return f.down
}

// Reach waits as a node does: what is committed, it applies.
func (f *fake) Reach(ctx context.Context, index uint64) error {
	if err := f.CatchUp(ctx); err != nil {
		return err
	}
	for {
		changed := f.state.Changed(fsm.TopicTenants) // what tests wait for
		if f.View().Index() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", api.ErrUnavailable, ctx.Err())
		}
	}
}

// Turn implements Backend, as the leader does it or, apart, a node that hears of none.
func (f *fake) Turn(ctx context.Context, tenant string) (release func(), err error) {
	release = func() {}
	if !f.apart {
		if release, err = f.turns.Take(ctx, tenant); err != nil {
			return nil, err
		}
	}
	if err := f.CatchUp(ctx); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (f *fake) Propose(_ context.Context, c fsm.Command) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	if do := f.before; do != nil {
		f.before = nil
		do()
	}
	return f.apply(c)
}

// Usage makes up something that names its tenant's birth alone.
func (f *fake) Usage(_ context.Context, t *fsm.Tenant, from, to time.Time) (UsageReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := UsageReport{Hours: map[time.Time]Consumption{}, Silent: f.silent}
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		r.Hours[at] = f.used[t.ID]
	}
	if n := t.Quota.OrDefault().NotificationsPerHour; n > 0 {
		r.Notifications = &RateNow{Limit: n, Window: 3600, Again: to}
	}
	return r, nil
}

func (f *fake) UsageOfAll(context.Context, time.Time, time.Time) (map[string]Consumption, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used, f.silent, nil
}

func (f *fake) apply(c fsm.Command) (any, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	f.index++
	return f.state.Apply(f.index, entry)
}

func (f *fake) must(c fsm.Command) any {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	result, err := f.apply(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

// Audit implements Backend, from the state: what is older is away while the tenant
// store is.
func (f *fake) Audit(_ context.Context, tenant string, before uint64, limit int) (out []*fsm.Audit, err error) {
	for a := range f.View().AuditOf(tenant) {
		if len(out) < limit && (before == 0 || a.Index < before) {
			out = append(out, a)
		}
	}
	if len(out) < limit {
		return out, f.away
	}
	return out, nil
}

// PlaceContents implements Backend, with all contents in the state.
func (f *fake) PlaceContents(ctx context.Context, v *fsm.View, tenant string, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error) {
	if f.away != nil {
		return m, f.away
	}
	return store.Placing{Put: func(ctx context.Context, chunk [][]byte) error {
		_, err := f.Propose(ctx, &fsm.PutBlobs{Blobs: chunk})
		return err
	}}.Place(ctx, v, tenant, m, blobs)
}

func seal(context, value string) string {
	return fmt.Sprintf("sealed:%x", sha256.Sum256([]byte(context+"\x00"+value)))
}

func (f *fake) SealAll(_ context.Context, tenant string, list []*spec.Secret) error {
	for _, s := range list {
		switch s.Type {
		case spec.SecretPlain:
			*s = spec.Secret{Type: spec.SecretSealed, Value: seal(tenant, s.Value)}
		case spec.SecretSealed:
			if !strings.HasPrefix(s.Value, "sealed:") {
				return errors.New("not sealed")
			}
		case spec.SecretStored:
		default:
			return fmt.Errorf("type %s", s.Type)
		}
	}
	return nil
}

func (f *fake) SealStored(tenant, name, value string) string { return seal(tenant+"/"+name, value) }
func (f *fake) SecretSet(context.Context, string, string)    {}
func (f *fake) Status() api.Status                           { return api.Status{Node: "n"} }
func (f *fake) Ready() []api.Check                           { return []api.Check{{Name: "member"}} }

func (f *fake) Deliveries(t *fsm.Tenant, c api.DeliveryChoice) (out []api.Delivery) {
	for o := range f.View().OutboxOf(t.ID) {
		if at := time.UnixMilli(o.At); o.Born == t.Born && (c.Until.IsZero() || !at.After(c.Until)) && (c.Trigger == "" || c.Trigger == o.Trigger) {
			out = append(out, api.Delivery{Key: o.Key, Tenant: o.Tenant, Trigger: o.Trigger, Status: api.DeliveryPending, At: at})
		}
	}
	return out
}

func (f *fake) Delivery(t *fsm.Tenant, key string) (api.DeliveryDetail, error) {
	o, ok := f.View().FindOutgoing(t.ID, key)
	if !ok || o.Born != t.Born {
		return api.DeliveryDetail{}, fsm.ErrNotFound
	}
	return api.DeliveryDetail{Delivery: api.Delivery{Key: key, Tenant: t.ID}}, nil
}

func (f *fake) MayRedeliver(*fsm.Tenant, string) error { return nil }

// rig is an API on a fake node, with a clock that stands still.
type rig struct {
	*fake
	api *API
	now time.Time
	log bytes.Buffer
}

func newRig(t testing.TB) *rig {
	r := &rig{fake: &fake{t: t, state: fsm.New()}, now: time.UnixMilli(1_800_000_000_000).UTC()}
	r.api = New(Options{
		Backend: r.fake, Logger: slog.New(slog.NewTextHandler(&r.log, nil)), Registerer: prometheus.NewRegistry(),
		Now: func() time.Time { return r.now },
	})
	return r
}

// key makes a key of a tenant, or of an operator, and returns its text.
func (r *rig) key(tenant string, role fsm.Role) string {
	r.t.Helper()
	text := newKeyText()
	r.must(&fsm.PutKey{Key: fsm.Key{ID: text.id, Hash: text.hash(), Tenant: tenant, Role: role, Name: "k", By: "test", At: r.now.UnixMilli()}})
	return text.reveal()
}

func (r *rig) tenant(id string) {
	r.t.Helper()
	r.must(&fsm.SetTenantVersion{Tenant: id, Source: fsm.SourceAPI, At: r.now.UnixMilli()})
}

type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

func newRequest(method, path, body string) (*http.Request, *httptest.ResponseRecorder) {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, httptest.NewRecorder()
}

// do sends a request; headers are given as "Name: value".
func (r *rig) do(key, method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, w := newRequest(method, path, body)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	r.api.ServeHTTP(w, req)
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{r.t, w.Code, w.Header(), string(data)}
}

// want checks the status and that the body contains texts.
func (a answer) want(status int, texts ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Fatalf("%q is not in %s", text, a.body)
		}
	}
	return a
}

func (a answer) decode(v any) answer {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return a
}

const transferABI = `[{"type":"event","name":"Transfer","anonymous":false,"inputs":[
	{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256","indexed":false}]}]`

func networkDoc(slug, url string, chain int) string {
	return fmt.Sprintf(`{"network_type":"EVM","slug":%q,"name":%q,"rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":%q},"weight":100}],
		"chain_id":%d,"block_time_ms":1000,"confirmation_blocks":2,"cron_schedule":"*/5 * * * * *"}`, slug, slug, url, chain)
}

func triggerDoc(name, url string) string {
	return fmt.Sprintf(`{"name":%q,"trigger_type":"webhook","config":{"url":{"type":"plain","value":%q},
		"headers":{"Authorization":{"type":"plain","value":"token-of-%s"}},"payload_mode":"raw"}}`, name, url, name)
}

func monitorDoc(name, network, expression string, triggers ...string) string {
	list, _ := json.Marshal(append([]string{}, triggers...))
	quoted := "null"
	if expression != "" {
		b, _ := json.Marshal(expression)
		quoted = string(b)
	}
	return fmt.Sprintf(`{"name":%q,"networks":[%q],"paused":false,
		"addresses":[{"address":"0x000000000000000000000000000000000000dEaD","contract_spec":%s}],
		"match_conditions":{"functions":[],"events":[{"signature":"Transfer(address,address,uint256)","expression":%s}],"transactions":[]},
		"trigger_conditions":[],"triggers":%s}`, name, network, transferABI, quoted, list)
}

func scriptDoc(language, content string) string {
	return fmt.Sprintf(`{"language":%q,"content":%q}`, language, content)
}

// furnish gives a tenant one of everything, all with the same names; what is said
// of them is the tenant's own.
func (r *rig) furnish(tenant string) {
	r.t.Helper()
	r.tenant(tenant)
	owner := r.key(tenant, fsm.RoleOwner)
	base := "/v1/tenants/" + tenant
	r.do(owner, "PUT", base+"/networks/net", networkDoc("net", "https://"+tenant+".example/rpc-key", 1)).want(201)
	r.do(owner, "PUT", base+"/triggers/hook", triggerDoc("hook of "+tenant, "https://"+tenant+".example/hook-key")).want(201)
	r.do(owner, "PUT", base+"/monitors/mon", monitorDoc("monitor of "+tenant, "net", "value > 1", "hook")).want(201)
	r.do(owner, "PUT", base+"/scripts/run.py", scriptDoc("Python", "# of "+tenant)).want(201)
	r.do(owner, "PUT", base+"/secrets/sec", `{"value":"stored of `+tenant+`"}`).want(204)
	t, _ := r.View().Tenant(tenant)
	r.owe(tenant, fsm.Outgoing{Key: deliveryKey, Tenant: tenant, Born: t.Born, Trigger: "hook", At: r.now.UnixMilli()})
}

// backtest gives furnished tenants a backtest each, and blocks for others.
func (r *rig) backtest(tenants ...string) {
	r.t.Helper()
	for _, tenant := range tenants {
		r.watch(tenant+"/net", 9)
		t, _ := r.View().Tenant(tenant)
		doc, _ := t.Current.Manifest.Find(fsm.DocMonitor, "mon")
		r.must(&fsm.PutBacktest{Job: fsm.Backtest{
			ID: "bt", Tenant: tenant, Name: "monitor of " + tenant, Doc: doc, Watch: doc.Watches[0], Triggers: []string{"hook"}, From: 1, To: 2, By: "test",
		}})
	}
}

// watch has a network watched, and so many blocks of it announced.
func (r *rig) watch(network string, blocks uint64) {
	r.t.Helper()
	n, _ := r.View().Network(network)
	epoch := r.must(&fsm.GrantLease{Network: network, Holder: "n1", IfEpoch: n.Lease.Epoch}).(uint64)
	list := make([]fsm.Entry, blocks)
	for i := range list {
		h := uint64(i) + 1
		list[i] = fsm.Entry{Kind: fsm.Extend, Ref: fsm.BlockRef{Height: h, Hash: fsm.Hash{byte(h)}}, Parent: fsm.Hash{byte(h - 1)}}
	}
	r.must(&fsm.Announce{Network: network, Epoch: epoch, Entries: list})
}

// owe hands deliveries over to the outbox, as a worker does.
func (r *rig) owe(tenant string, list ...fsm.Outgoing) {
	r.t.Helper()
	epoch := r.must(&fsm.RegisterNode{Name: "n1", Server: "n1@1", Roles: fsm.AllRoles})
	r.must(&fsm.Progress{Cohort: "n1", Epoch: epoch.(uint64), Network: tenant + "/net", Outbox: list})
}

const deliveryKey = "0123456789abcdef0123456789abcdef"

// snapshot and restore take the state back to what it was.
func (r *rig) snapshot() []byte {
	r.t.Helper()
	var out bytes.Buffer
	if _, err := r.View().WriteTo(&out); err != nil {
		r.t.Fatal(err)
	}
	return out.Bytes()
}

func (r *rig) restore(snapshot []byte) {
	r.t.Helper()
	if err := r.state.Restore(bytes.NewReader(snapshot)); err != nil {
		r.t.Fatal(err)
	}
	r.index = r.View().Index()
}
