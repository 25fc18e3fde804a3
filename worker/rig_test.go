package worker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is the node of tests that need one only; cohort is its main cohort.
const (
	node   = "node-1"
	cohort = node
)

// rig is a cluster without its log: the real state, a receiver and scripted chains.
type rig struct {
	t     testing.TB
	state *fsm.State

	mu       sync.Mutex
	index    uint64
	chains   map[string]*chain
	payloads map[fsm.Hash][]byte
	missing  map[fsm.Hash]bool // payloads that are not to be had
	asked    map[fsm.Hash]int  // how often a payload was handed out
	sent     []sent            // what the receiver accepted
	recorded []Recorded
	adopted  map[string]<-chan outbox.Attempt
	refuse   map[string]notify.Result // by trigger: the receiver refuses
	silent   map[string]chan struct{} // by trigger: the receiver answers when it is closed
	shared   map[string]*spec.Network
	versions map[string]uint64
	broken   []string   // rules broken, seen by the fakes
	unplaced bool       // new tenants are assigned to nobody
	source   fsm.Source // of what is configured from now on
	window   uint32     // finality depth of networks
}

// sent is a notification that the receiver accepted.
type sent struct {
	Key      string
	Tenant   string
	Monitor  string
	Trigger  string
	Block    fsm.BlockRef
	Position uint64
	Version  uint64
	Epoch    uint64 // of the worker that sent it
	Alert    alert.ID
	State    alert.State
}

// chain is the announced branch of a network.
type chain struct {
	network string
	salt    int
	branch  []fsm.BlockRef
}

func newRig(t testing.TB) *rig {
	r := &rig{
		t: t, state: fsm.New(), chains: map[string]*chain{}, payloads: map[fsm.Hash][]byte{}, missing: map[fsm.Hash]bool{},
		asked: map[fsm.Hash]int{}, adopted: map[string]<-chan outbox.Attempt{}, refuse: map[string]notify.Result{},
		silent: map[string]chan struct{}{}, shared: map[string]*spec.Network{}, versions: map[string]uint64{}, window: fsm.DefaultWindow,
	}
	r.register(node)
	return r
}

// register is the start of a node's process. It answers with its boot.
func (r *rig) register(name string) uint64 {
	r.t.Helper()
	boot, ok := r.must(&fsm.RegisterNode{Name: name, Server: name + "@1", Address: name + ":7000", Version: "1", Roles: fsm.AllRoles}).(uint64)
	if !ok {
		r.t.Fatal("no boot")
	}
	return boot
}

// move assigns tenants to a node, and tells how many were taken.
func (r *rig) move(to string, force bool, tenants ...string) int {
	r.t.Helper()
	c := &fsm.Move{Force: force, At: 1}
	for _, id := range tenants {
		c.Moves = append(c.Moves, fsm.Moved{Tenant: id, Cohort: mustTenant(r.t, r.state.View(), id).Cohort, To: to, Reason: fsm.ReasonManual})
	}
	n, ok := r.must(c).(int)
	if !ok {
		r.t.Fatal("no number")
	}
	return n
}

// merge puts a cohort into another one if that is allowed now.
func (r *rig) merge(from, into string) bool {
	v := r.state.View()
	a, ok := v.Cohort(from)
	if !ok || from == into {
		return false
	}
	b, ok := v.Cohort(into)
	if !ok {
		return false
	}
	_, err := r.apply(&fsm.Merge{From: from, Into: into, FromEpoch: a.Epoch, IntoEpoch: b.Epoch})
	return err == nil
}

// apply puts a command into the log.
func (r *rig) apply(c fsm.Command) (any, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index++
	return r.state.Apply(r.index, entry)
}

func (r *rig) must(c fsm.Command) any {
	r.t.Helper()
	out, err := r.apply(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// addresses are the accounts that get one transaction in every block.
const addresses = 3

func address(i int) string { return fmt.Sprintf("0x%040x", 0xa0+i) }

func txHash(block fsm.Hash, i int) fsm.Hash {
	return sha256.Sum256(append(block[:], byte(i)))
}

// payloadOf is a block with one transaction to each address.
func payloadOf(ref fsm.BlockRef) []byte {
	var list []transfer
	for i := range addresses {
		list = append(list, transfer{txHash(ref.Hash, i), i})
	}
	return payloadWith(ref, list)
}

// transfer is a transaction to one of the addresses.
type transfer struct {
	hash fsm.Hash
	to   int
}

// payloadWith is a block with transactions.
func payloadWith(ref fsm.BlockRef, list []transfer) []byte {
	txs, receipts := []map[string]any{}, []map[string]any{}
	for i, tx := range list {
		hash := tx.hash.String()
		txs = append(txs, map[string]any{
			"hash": hash, "from": fmt.Sprintf("0x%040x", 1), "to": address(tx.to), "value": fmt.Sprintf("%#x", ref.Height),
			"input": "0x", "gas": "0x5208", "nonce": "0x0", "transactionIndex": fmt.Sprintf("%#x", i),
		})
		receipts = append(receipts, map[string]any{
			"transactionHash": hash, "blockHash": ref.Hash.String(), "status": "0x1", "gasUsed": "0x5208", "logs": []any{},
		})
	}
	block := map[string]any{
		"number": fmt.Sprintf("%#x", ref.Height), "hash": ref.Hash.String(), "parentHash": fsm.Hash{}.String(),
		"timestamp": fmt.Sprintf("%#x", 1_700_000_000+ref.Height), "transactions": txs,
	}
	text := func(v any) json.RawMessage {
		out, err := json.Marshal(v)
		if err != nil {
			panic(err) // plain maps and strings
		}
		return out
	}
	return chainevm.Payload(text(block), text(receipts), nil)
}

// extend announces n new blocks of a network.
func (r *rig) extend(network string, n int) {
	r.t.Helper()
	for range n {
		r.announce(network, r.nextBlock(network))
	}
}

func (r *rig) chain(network string) *chain {
	c := r.chains[network]
	if c == nil {
		c = &chain{network: network}
		r.chains[network] = c
	}
	return c
}

// nextBlock makes the next block of a chain's branch.
func (r *rig) nextBlock(network string) fsm.Entry {
	c := r.chain(network)
	e := fsm.Entry{Kind: fsm.Extend, Seen: time.Now().UnixMilli()}
	e.Ref.Height = 100
	if n := len(c.branch); n > 0 {
		e.Ref.Height, e.Parent = c.branch[n-1].Height+1, c.branch[n-1].Hash
	}
	e.Ref.Hash = sha256.Sum256(fmt.Appendf(nil, "%s %d %d %s", network, e.Ref.Height, c.salt, e.Parent))
	c.branch = append(c.branch, e.Ref)
	r.mu.Lock()
	r.payloads[e.Ref.Hash] = payloadOf(e.Ref)
	r.mu.Unlock()
	return e
}

// rollback takes the newest blocks off; other blocks follow.
func (r *rig) rollback(network string, depth int) fsm.Entry {
	c := r.chain(network)
	c.branch = c.branch[:len(c.branch)-depth]
	c.salt++
	return fsm.Entry{Kind: fsm.Rollback, Ref: c.branch[len(c.branch)-1], Seen: time.Now().UnixMilli()}
}

// announce answers with the position of the last entry.
func (r *rig) announce(network string, entries ...fsm.Entry) uint64 {
	r.t.Helper()
	n, ok := r.state.View().Network(network)
	if !ok {
		r.t.Fatalf("network %s is not wanted", network)
	}
	if n.Lease.Holder == "" {
		r.must(&fsm.GrantLease{Network: network, Holder: cohort, IfEpoch: n.Lease.Epoch, Window: r.window})
		n, _ = r.state.View().Network(network)
	}
	position, ok := r.must(&fsm.Announce{Network: network, Epoch: n.Lease.Epoch, Entries: entries}).(uint64)
	if !ok {
		r.t.Fatal("no position")
	}
	return position
}

// watching is a monitor of one address on some networks.
type watching struct {
	networks []string
	address  int
	triggers []string
	paused   bool
	mode     string
}

// tenantDoc is the configuration of a tenant.
type tenantDoc struct {
	networks map[string]*spec.Network
	monitors map[string]watching
	hooks    []string
}

func networkDoc(slug string, depth uint64) *spec.Network {
	id := uint64(1)
	return &spec.Network{
		Type: spec.EVM, Slug: slug, Name: slug, ChainID: &id, ConfirmationBlocks: depth, BlockTime: 12 * time.Second,
		Cron:    "*/5 * * * * *",
		RPCURLs: []spec.RPCURL{{Type: "rpc", URL: spec.Plain("https://rpc.example/key"), Weight: 100}},
	}
}

func hook(id string) *spec.Trigger {
	return &spec.Trigger{
		Name: id, Type: spec.TriggerWebhook, Retry: spec.DefaultRetryPolicy(),
		Webhook: &spec.Webhook{
			URL: spec.Plain("https://hooks.example/" + id), Method: "POST", PayloadMode: spec.PayloadRaw,
			Headers: map[string]*spec.Secret{},
		},
	}
}

func (d tenantDoc) folder() *spec.Folder {
	f := &spec.Folder{Networks: d.networks, Monitors: map[string]*spec.Monitor{}, Triggers: map[string]*spec.Trigger{}}
	for name, w := range d.monitors {
		f.Monitors[name] = &spec.Monitor{
			Name: name, Networks: w.networks, Paused: w.paused, Mode: w.mode, Addresses: []spec.Address{{Address: address(w.address)}},
			Match:    spec.MatchConditions{Transactions: []spec.Transaction{{Status: spec.StatusAny}}},
			Triggers: w.triggers,
		}
	}
	for _, id := range d.hooks {
		f.Triggers[id] = hook(id)
	}
	return f
}

// unsealed leaves secrets as they are.
type unsealed struct{}

func (unsealed) SealAll(context.Context, string, []*spec.Secret) error { return nil }
func (unsealed) OpenAll(string, []*spec.Secret) error                  { return nil }
func (unsealed) OpenStored(_, _, sealed string) (string, error)        { return sealed, nil }

// setShared puts a shared network in force with a depth.
func (r *rig) setShared(slug string, depth uint64) {
	r.t.Helper()
	r.shared[slug] = networkDoc(slug, depth)
	p, err := store.PackShared(r.t.Context(), r.shared, unsealed{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.commit(fsm.Shared, p)
}

// setTenant puts a tenant's configuration in force.
func (r *rig) setTenant(id string, d tenantDoc) {
	r.t.Helper()
	p, err := store.Pack(r.t.Context(), id, d.folder(), r.shared, unsealed{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.commit(id, p)
}

func (r *rig) commit(tenant string, p *store.Packed) {
	r.t.Helper()
	r.must(&fsm.PutBlobs{Blobs: p.Blobs, At: 1})
	r.must(&fsm.SetTenantVersion{Tenant: tenant, Expect: r.versions[tenant], Manifest: p.Manifest, At: 1, Source: r.source})
	r.versions[tenant]++
	if tenant != fsm.Shared && r.versions[tenant] == 1 && !r.unplaced {
		r.move(node, false, tenant)
		r.merge(mustTenant(r.t, r.state.View(), tenant).Cohort, cohort)
	}
}

func (r *rig) deleteTenant(id string) {
	r.t.Helper()
	r.must(&fsm.DeleteTenant{Tenant: id, Expect: r.versions[id], At: 1})
	delete(r.versions, id)
}

// simple is a tenant with one monitor of address 0 on the network "net".
func simple(networks ...string) tenantDoc {
	if len(networks) == 0 {
		networks = []string{"net"}
	}
	return tenantDoc{monitors: map[string]watching{"m": {networks: networks, triggers: []string{"hook"}}}, hooks: []string{"hook"}}
}

func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) broke(format string, args ...any) {
	r.broken = append(r.broken, fmt.Sprintf(format, args...))
}

// pass lets virtual time go on, and then everything that is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// cursor is the position of the slowest cursor on a network.
func (r *rig) cursor(network string) uint64 {
	v := r.state.View()
	c, ok := v.Cursor(network, cohort)
	for other := range v.Cursors(network) {
		if !ok || c.Parked() || other.Position < c.Position {
			c, ok = other, true
		}
	}
	if !ok {
		return 0
	}
	return c.Position
}

// drained waits, in virtual time, until everything announced is judged.
func (r *rig) drained(networks ...string) {
	r.t.Helper()
	pass(time.Minute)
	v := r.state.View()
	for _, key := range networks {
		n, _ := v.Network(key)
		if got := r.cursor(key); got != n.Next-1 {
			r.t.Errorf("network %s: the cursor is at %d, %d are announced", key, got, n.Next-1)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.broken {
		r.t.Error(b)
	}
}

// deliveries lists what the receiver accepted so far.
func (r *rig) deliveries() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// alerts lists what was recorded so far.
func (r *rig) alerts() []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.recorded)
}

// hide makes a payload unavailable; found makes all available again.
func (r *rig) hide(hash fsm.Hash) { r.locked(func() { r.missing[hash] = true }) }

func (r *rig) found() { r.locked(func() { clear(r.missing) }) }

// heights lists what a tenant was told of, by height, with repetitions.
func (r *rig) heights(tenant, monitor string) []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []uint64
	for _, s := range r.sent {
		if s.Tenant == tenant && s.Monitor == monitor {
			out = append(out, s.Block.Height)
		}
	}
	slices.Sort(out)
	return out
}

func (r *rig) wantHeights(tenant, monitor string, want ...uint64) {
	r.t.Helper()
	if got := r.heights(tenant, monitor); !slices.Equal(got, want) {
		r.t.Errorf("%s/%s was told of %v, want %v", tenant, monitor, got, want)
	}
}

// span is from, from+1 … to.
func span(from, to uint64) (out []uint64) {
	for h := from; h <= to; h++ {
		out = append(out, h)
	}
	return out
}

// repeated lists the keys that the receiver saw more than once.
func (r *rig) repeated() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[string]int{}
	for _, s := range r.sent {
		n[s.Key]++
	}
	maps.DeleteFunc(n, func(_ string, n int) bool { return n == 1 })
	return slices.Sorted(maps.Keys(n))
}

// keyOf is the key of a delivery as it must be.
func keyOf(tenant, monitor, network, trigger string, occurrence int, block fsm.BlockRef, address int) string {
	id := alert.NewID(tenant, monitor, network, txHash(block.Hash, address).String())
	return alert.NewKey(id, trigger, occurrence, block.Hash, alert.Fired, 0).String()
}
