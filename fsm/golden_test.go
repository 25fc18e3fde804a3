package fsm

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

var update = flag.Bool("update", false, "rewrite the golden files of the current version")

// goldenVersion is the folder that today's encoding must equal. Fields are only
// ever added: when one is, this grows, a fixture folder of the new version joins
// the old, and what the old one holds must still be read.
const goldenVersion = "v1"

// fixtures holds, per version of the goldens, one command of each type with
// every field of that version set.
var fixtures = map[string]map[string]Command{"v1": fixturesV1()}

func fixturesV1() map[string]Command {
	manifest := Manifest{Docs: []Doc{
		{
			Kind: DocMonitor, ID: "large-transfers", Hash: HashBlob([]byte("monitor")), Refs: []Hash{HashBlob([]byte("abi"))},
			Watches: []Watch{{Network: "ethereum_mainnet", Slug: "ethereum_mainnet", Depth: 12, Mode: ModeConfirmed}, {Network: "acme/anvil", Slug: "anvil"}},
		},
		{Kind: DocNetwork, ID: "anvil", Hash: HashBlob([]byte("network")), Depth: 12},
		{Kind: DocTrigger, ID: "slack", Hash: HashBlob([]byte("trigger"))},
	}}
	manifest.Normalize()
	manifest = manifest.Placed(true, map[Hash]int64{HashBlob([]byte("monitor")): 7, HashBlob([]byte("abi")): 3, HashBlob([]byte("network")): 7})
	outgoing := Outgoing{
		Key: "d1", Tenant: "acme", Born: 38, Trigger: "slack", Delivery: []byte(`{"alert":"a1"}`),
		At: 1_700_000_000_250, Attempts: 2, Reason: "503 Service Unavailable", NotBefore: 1_700_000_005_250,
		After: "d0", Status: 503, Excerpt: "try again later",
	}
	return map[string]Command{
		"put-blobs":     &PutBlobs{Blobs: [][]byte{[]byte(`{"name":"Large transfers"}`), {0, 1, 255}}, At: 1_700_000_000_000},
		"collect-blobs": &CollectBlobs{Before: 1_700_000_000_000},
		"set-tenant-version": &SetTenantVersion{
			Tenant: "acme", Expect: 3, Manifest: manifest, At: 1_700_000_000_001, Source: SourceAPI,
			Mark: "5f2c", Quota: &Quota{Monitors: 7, Networks: 6, Triggers: 5, TriggersPerMonitor: 4, Bytes: 3, Scripts: 2, BacktestBlocks: 8, RPCPerMinute: 9, NotificationsPerHour: 10, EvaluationMillis: 11}, QuotaExpect: 2,
		},
		"delete-tenant": &DeleteTenant{Tenant: "acme", Expect: 4, At: 1_700_000_000_002, Source: SourceAPI},
		"register-node": &RegisterNode{
			Name: "node-1", Server: "node-1@5f3a9c01", Address: "10.0.0.1:7000", Version: "1.2.3", Roles: RoleWatcher | RoleAPI, Weight: 150, After: 18, Reaches: true,
		},
		"drain-node":  &DrainNode{Name: "node-1", Drain: DrainOperator},
		"remove-node": &RemoveNode{Name: "node-1", Server: "node-1@5f3a9c01"},
		"set-cluster": &SetCluster{Expect: 17, Cluster: Cluster{
			Name: "prod", ID: "k7x2", CA: []byte("-----BEGIN CERTIFICATE-----"), CAKey: []byte("sealed"), Keys: [][]byte{[]byte("second"), []byte("first")},
			Removed: []string{"node-9@0badcafe"},
		}},
		"put-token":     &PutToken{ID: "k3", Hash: HashBlob([]byte("secret")), Expires: 1_700_000_600_000, At: 1_700_000_000_000},
		"use-token":     &UseToken{ID: "k3", Hash: HashBlob([]byte("secret")), Node: "node-2", Request: HashBlob([]byte("request")), At: 1_700_000_000_100},
		"set-placement": &SetPlacement{Tenant: "acme", Pin: "node-2", Weight: 12, Priority: -5, Expect: 98},
		"move": &Move{Force: true, At: 1_700_000_000_200, Moves: []Moved{
			{Tenant: "acme", Cohort: "node-1", To: "node-2", Reason: ReasonLoadRebalance},
			{Tenant: "bolt", To: "node-2", Reason: ReasonInitial},
		}},
		"release":     &Release{Cohort: "@99.0", Epoch: 99},
		"merge":       &Merge{From: "@99.0", Into: "node-2", FromEpoch: 101, IntoEpoch: 40},
		"grant-lease": &GrantLease{Network: "ethereum_mainnet", Holder: "node-1", IfEpoch: 41, Window: 128, Pin: true},
		"announce": &Announce{Network: "ethereum_mainnet", Epoch: 42, Entries: []Entry{
			{Kind: Extend, Ref: ref(19_000_000, "a"), Parent: ref(18_999_999, "a").Hash, Time: 1_700_000_000_000, Seen: 1_700_000_000_321},
			{Kind: Rollback, Ref: ref(18_999_999, "a"), Seen: 1_700_000_001_000},
			{Kind: Skip, From: 19_000_000, Ref: BlockRef{Height: 19_000_100}},
		}},
		"start-network": &StartNetwork{Network: "ethereum_mainnet", Height: 19_000_000, Missed: []uint64{18_999_990, 18_999_994}},
		"progress": &Progress{
			Cohort: "node-1", Epoch: 40, Born: 39, Network: "ethereum_mainnet", To: 77,
			Superseded: []Span{{From: 70, To: 72}},
			Fired: []Fired{{
				Network: "ethereum_mainnet", Block: ref(19_000_000, "a"), Alert: "a1", Tenant: "acme", Born: 38, Monitor: "large-transfers",
				Tx: "0xfeed", State: AlertReinstated, Position: 76, Version: 3, At: 1_700_000_000_200, Content: []byte(`{"id":"a1"}`),
				Deliveries: []Delivered{
					{Key: "d0", Trigger: "mail", Outcome: Sent},
					{Key: "d1", Trigger: "slack", Occurrence: 1, State: AlertReinstated, Position: 76, Outcome: HandedOver, After: "d0"},
				},
			}},
			Outbox: []Outgoing{outgoing},
			Dead:   []Dead{{Outgoing: outgoing, DiedAt: 1_700_000_000_300}},
		},
		"settle": &Settle{At: 1_700_000_000_400, Settled: []Settled{
			{Tenant: "acme", Key: "d1", Outcome: Sent, Attempts: 3},
			{Tenant: "acme", Key: "d2", Outcome: Refused, Attempts: 9, Reason: "410 Gone", Status: 410, Excerpt: "gone", NotBefore: 1_700_000_009_000},
		}},
		"purge":     &Purge{Tenant: "acme", Keys: []string{"d1", "d2"}},
		"redeliver": &Redeliver{Tenant: "acme", Keys: []string{"d1", "d2"}, At: 1_700_000_000_500},
		"replay": &Replay{
			Tenant: "acme", Network: "ethereum_mainnet", Monitor: "large-transfers", Doc: HashBlob([]byte("monitor")),
			From: 18_000_000, To: 18_000_999, Outbox: []Outgoing{outgoing}, At: 1_700_000_000_600,
		},
		"put-secret":  &PutSecret{Tenant: "acme", Name: "slack-hook", Sealed: []byte("sealed"), At: 1_700_000_000_700},
		"drop-secret": &DropSecret{Tenant: "acme", Name: "slack-hook"},
		"put-key": &PutKey{Key: Key{
			ID: "abcdefghij23", Hash: HashBlob([]byte("secret")), Tenant: "acme", Born: 38, Role: RoleOwner, Name: "ci",
			Expires: 1_700_000_900_000, By: "key:zyxwvutsrq76 (root)", At: 1_700_000_000_800, Index: 90,
		}},
		"drop-key":     &DropKey{ID: "abcdefghij23", Tenant: "acme"},
		"set-quota":    &SetQuota{Tenant: "acme", Quota: Quota{Monitors: 500, Networks: 5, Triggers: 50, TriggersPerMonitor: 3, Bytes: 1 << 20, RPCPerMinute: 600, NotificationsPerHour: 100, EvaluationMillis: 20, Scripts: 9, BacktestBlocks: 5000}, Expect: 96},
		"put-backtest": &PutBacktest{Job: goldenBacktest()},
		"work-backtest": &WorkBacktest{
			Tenant: "acme", ID: "bt1", Part: 1, Epoch: 120, Seen: 100, At: 1_700_000_001_200, Node: "node-1", Next: 101, Parent: ref(99, "a").Hash, Last: ref(100, "a").Hash,
			Counts: goldenBacktest().Parts[0].Counts, Matches: goldenBacktest().Parts[0].Matches, Misses: goldenBacktest().Parts[0].Misses,
			Anew: true, Error: "the network is gone",
		},
		"end-backtest":  &EndBacktest{Tenant: "acme", ID: "bt1", Forget: true, At: 1_700_000_001_300},
		"set-store":     &SetStore{Expect: 95, Kind: StorePostgres, Fresh: true},
		"pass-over":     &PassOver{Tenant: "acme", Born: 38, Network: "ethereum_mainnet", Least: 12_288, At: 1_700_000_001_400},
		"move-contents": &MoveContents{Tenant: "acme", Born: 38, Expect: 3, Outside: true, Sizes: []ContentSize{{Hash: HashBlob([]byte("abi")), Size: 3}}},
		"audited": audited(Audit{
			Index: 97, At: 1_700_000_000_900, Tenant: "acme", Actor: "key:abcdefghij23 (ci)", Role: "owner", Address: "10.1.2.3", Action: "secret.put",
			Object: "slack-hook", Before: `{"type":"sealed"}`, After: `{"type":"sealed"} `, Version: 3, Seq: 12,
		}, 38, &PutSecret{Tenant: "acme", Name: "slack-hook", Sealed: []byte("sealed"), At: 1_700_000_000_900}),
	}
}

// audited is NewAudited of what may be.
func audited(entry Audit, born uint64, c Command) *Audited {
	a, err := NewAudited(entry, born, c)
	if err != nil {
		panic(err)
	}
	return a
}

// inners are read from what is written beside them.
var inners = cmpopts.IgnoreUnexported(Audited{})

func TestGoldenCommands(t *testing.T) {
	covered := map[Type]bool{}
	for _, version := range slices.Sorted(maps.Keys(fixtures)) {
		for _, name := range slices.Sorted(maps.Keys(fixtures[version])) {
			want := fixtures[version][name]
			t.Run(version+"/"+name, func(t *testing.T) {
				path := filepath.Join("testdata", "commands", version, name+".golden")
				if version == goldenVersion {
					covered[want.Type()] = true
					encoded := mustEncode(t, want)
					if *update {
						writeFile(t, path, []byte(breakLines(hex.EncodeToString(encoded))))
					}
					if golden := readHex(t, path); !bytes.Equal(encoded, golden) {
						t.Errorf("encoding changed:\n got %x\nwant %x", encoded, golden)
					}
				}
				got, err := Decode(readHex(t, path))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, inners); diff != "" {
					t.Errorf("decoded differently (-want +got):\n%s", diff)
				}
			})
		}
	}
	for kind := range registry {
		if !covered[kind] {
			t.Errorf("command type %d has no golden file", kind)
		}
	}
}

// A golden file says little about a field that its fixture leaves empty.
func TestGoldenCommandsSetEveryField(t *testing.T) {
	given := map[string]bool{"Entry.Position": true, "Entry.Index": true, "Cluster.Index": true} // by the log
	for name, c := range fixtures[goldenVersion] {
		set := map[string]bool{}
		fieldsSet(reflect.ValueOf(c), set)
		for field, ok := range set {
			if !ok && !given[field] {
				t.Errorf("%s: no value of %s is set", name, field)
			}
		}
	}
}

func fieldsSet(v reflect.Value, set map[string]bool) {
	switch v.Kind() {
	case reflect.Map:
		for _, key := range v.MapKeys() {
			fieldsSet(v.MapIndex(key), set)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fieldsSet(v.Elem(), set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fieldsSet(v.Index(i), set)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			set[name] = set[name] || !v.Field(i).IsZero()
			fieldsSet(v.Field(i), set)
		}
	default:
	}
}

// What a newer version adds to a command must not stop this one from reading
// it, and what an older one leaves out is zero.
func TestFieldsMayBeAdded(t *testing.T) {
	for name, want := range fixtures[goldenVersion] {
		encoded := mustEncode(t, want)
		wider := append([]byte{encoded[0]}, widen(t, encoded[1:])...)
		if bytes.Equal(wider, encoded) {
			t.Fatalf("%s: nothing was added", name)
		}
		got, err := Decode(wider)
		if err != nil {
			t.Errorf("%s with added fields: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, inners); diff != "" {
			t.Errorf("%s with added fields (-want +got):\n%s", name, diff)
		}
		empty, err := Decode([]byte{encoded[0], 0x80}) // a map without fields
		if err != nil || !reflect.ValueOf(empty).Elem().IsZero() {
			t.Errorf("%s without fields: %v, %v", name, empty, err)
		}
	}
}

// widen adds a field to every struct in a body, as a newer version would.
func widen(t *testing.T, body []byte) []byte {
	t.Helper()
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Canonical, h.RawToString = true, false
	h.MapType = reflect.TypeFor[map[string]any]()
	var v any
	if err := codec.NewDecoderBytes(body, h).Decode(&v); err != nil {
		t.Fatal(err)
	}
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				add(inner)
			}
			v["zz"] = map[string]any{"new": []any{uint64(1), "two"}}
		case []any:
			for _, inner := range v {
				add(inner)
			}
		}
	}
	add(v)
	var out []byte
	if err := codec.NewEncoderBytes(&out, h).Encode(v); err != nil {
		t.Fatal(err)
	}
	return out
}

// goldenScript builds a state that has a record of every type and a value in
// every field of the v1 snapshot. It is frozen with the snapshot.
func goldenScript() []Command {
	docs := [][]byte{[]byte("monitor"), []byte("abi"), []byte("network"), []byte("trigger"), []byte("shared")}
	first := fixturesV1()["set-tenant-version"].(*SetTenantVersion)
	first.Expect, first.Source, first.Quota = 0, SourceFolder, nil
	second := *first
	second.Expect, second.At = 1, 1_700_000_000_005
	second.Manifest = Manifest{Docs: slices.Clone(first.Manifest.Docs[:2]), Wanted: []string{"ethereum_mainnet"}}
	shared := Manifest{Docs: []Doc{{Kind: DocNetwork, ID: "ethereum_mainnet", Hash: HashBlob([]byte("shared")), Depth: 12}}}
	extend := func(height uint64, branch, parent string) Entry {
		return Entry{Kind: Extend, Ref: ref(height, branch), Parent: ref(height-1, parent).Hash, Time: int64(height), Seen: int64(height) + 1}
	}
	out := func(key string) Outgoing {
		return Outgoing{Key: key, Tenant: "acme", Born: 4, Trigger: "slack", Delivery: []byte("{}"), At: 3, Attempts: 1, Reason: "timeout", NotBefore: 9, After: "d0", Status: 503, Excerpt: "busy"}
	}
	bolt := func(expect uint64, wanted ...string) *SetTenantVersion {
		return &SetTenantVersion{Tenant: "bolt", Expect: expect, Manifest: Manifest{Docs: []Doc{}, Wanted: wanted}, At: 1_700_000_000_007}
	}
	return []Command{
		&PutBlobs{Blobs: docs, At: 1_700_000_000_000}, // 1
		&RegisterNode{Name: "node-1", Server: "node-1@5f3a9c01", Address: "10.0.0.1:7000", Version: "1.2.3", Roles: AllRoles, Weight: 150, Reaches: true}, // 2
		&SetTenantVersion{Tenant: Shared, Manifest: shared, At: 1_700_000_000_001},                                                                        // 3
		first, // 4
		&Move{At: 1_700_000_000_002, Moves: []Moved{{Tenant: "acme", To: "node-1", Reason: ReasonInitial}}}, // 5
		&StartNetwork{Network: "acme/anvil", Height: 7, Missed: []uint64{3, 5}},                             // 6
		&GrantLease{Network: "ethereum_mainnet", Holder: "node-1", Window: 4},                               // 7
		&Announce{Network: "ethereum_mainnet", Epoch: 7, Entries: []Entry{ // 8
			extend(100, "a", "a"), extend(101, "a", "a"), extend(102, "a", "a"), extend(103, "a", "a"), extend(104, "a", "a"),
		}},
		&Progress{ // 9
			Cohort: "@5.0", Epoch: 5, Network: "ethereum_mainnet", To: 3, Superseded: []Span{{From: 2, To: 2}},
			Fired: []Fired{{
				Network: "ethereum_mainnet", Block: ref(102, "a"), Alert: "a1", Tenant: "acme", Born: 4, Monitor: "large-transfers", Tx: "0xfeed",
				State: AlertRetracted, Position: 3, Version: 1, At: 2, Content: []byte("a1"),
				Deliveries: []Delivered{{Key: "d1", Trigger: "slack", Occurrence: 1, State: AlertRetracted, Position: 3, Outcome: HandedOver, After: "d0"}},
			}},
			Outbox: []Outgoing{out("d1"), out("d2")},
			Dead:   []Dead{{Outgoing: out("d3"), DiedAt: 4}},
		},
		&Announce{Network: "ethereum_mainnet", Epoch: 7, Entries: []Entry{{Kind: Rollback, Ref: ref(102, "a"), Seen: 105}, extend(103, "b", "a")}}, // 10
		&second, // 11
		&Settle{At: 5, Settled: []Settled{{Tenant: "acme", Key: "d2", Outcome: Refused, Attempts: 2, Reason: "410 Gone", Status: 410, Excerpt: "gone"}}}, // 12
		&Announce{Network: "ethereum_mainnet", Epoch: 7, Entries: []Entry{{Kind: Skip, From: 104, Ref: BlockRef{Height: 104}}}},                          // 13
		&GrantLease{Network: "ethereum_mainnet", Holder: "node-2", IfEpoch: 7, Window: 4, Pin: true},                                                     // 14
		&StartNetwork{Network: "acme/anvil", Height: 9, Missed: []uint64{8}},                                                                             // 15: the pause made the first one void
		bolt(0, "ethereum_mainnet"), // 16
		&Announce{Network: "ethereum_mainnet", Epoch: 14, Entries: []Entry{ // 17
			extend(105, "c", "c"), extend(106, "c", "c"),
			{Kind: Rollback, Ref: ref(104, "d"), Seen: 107},
			extend(105, "d", "d"),
			{Kind: Skip, From: 106, Ref: BlockRef{Height: 108}},
		}},
		bolt(1), // 18: its cursor, of the cohort of those never assigned, drains
		&DrainNode{Name: "node-1", Drain: DrainOperator}, // 19
		&SetCluster{Cluster: Cluster{Name: "prod", ID: "k7x2", CA: []byte("pem"), CAKey: []byte("sealed"), Keys: [][]byte{[]byte("first")}}}, // 20
		&PutToken{ID: "k3", Hash: HashBlob([]byte("secret")), Expires: 1_700_000_600_000, At: 1_700_000_000_000},                             // 21
		&UseToken{ID: "k3", Hash: HashBlob([]byte("secret")), Node: "node-2", Request: HashBlob([]byte("request")), At: 1_700_000_000_100},   // 22
		&SetPlacement{Tenant: "acme", Pin: "node-2", Weight: 12, Priority: -5},                                                               // 23
		&Move{At: 1_700_000_000_008, Moves: []Moved{{Tenant: "acme", Cohort: "@5.0", To: "node-2", Reason: ReasonLoadRebalance}}},            // 24
	}
}

// goldenTenancy gives the golden state a tenant of the API, keys and audit logs.
func goldenTenancy() []Command {
	f := fixturesV1()
	put, quota, change := f["put-key"].(*PutKey), f["set-quota"].(*SetQuota), f["audited"].(*Audited)
	put.Key.Tenant, quota.Tenant, quota.Expect = "corp", "corp", 0
	entry := change.Entry
	entry.Tenant = "corp"
	outside := Manifest{Docs: []Doc{{Kind: DocTrigger, ID: "far", Hash: HashBlob([]byte("far"))}}}
	outside = outside.Placed(true, map[Hash]int64{HashBlob([]byte("far")): 3})
	born := &SetTenantVersion{Tenant: "corp", Manifest: Manifest{Docs: []Doc{}}, Source: SourceAPI, At: 10}
	return []Command{
		born, quota, put,
		&PutKey{Key: Key{ID: "root", Role: RoleOperator, At: 11}},
		&SetStore{Kind: StorePostgres},
		&SetTenantVersion{Tenant: "corp", Expect: 1, Manifest: outside, Source: SourceAPI, At: 12},
		audited(entry, 0, &PutSecret{Tenant: "corp", Name: "slack-hook", Sealed: []byte("sealed"), At: 12}),
		audited(entry, 0, &DropSecret{Tenant: "corp", Name: "slack-hook"}),
		audited(Audit{Actor: "socket", Action: "key.delete", Object: "none"}, 0, &PutKey{Key: Key{ID: "second", Role: RoleOperator, At: 13}}),
	}
}

// goldenLetters gives the golden state secrets, a replay, and more dead letters
// than are kept, of which few stay.
func goldenLetters() []Command {
	many := &Replay{Tenant: "acme", Network: "ethereum_mainnet", Monitor: "large-transfers", Doc: HashBlob([]byte("monitor")), From: 90, To: 99, At: 6}
	all := &Settle{At: 7}
	purge := &Purge{Tenant: "acme"}
	for i := range KeepDead {
		key := fmt.Sprintf("r%04d", i)
		many.Outbox = append(many.Outbox, Outgoing{Key: key, Trigger: "slack", Delivery: []byte("{}")})
		all.Settled = append(all.Settled, Settled{Tenant: "acme", Key: key, Outcome: Refused})
		if i > 1 {
			purge.Keys = append(purge.Keys, key)
		}
	}
	return []Command{
		many, all, purge,
		&PutSecret{Tenant: "acme", Name: "slack-hook", Sealed: []byte("sealed"), At: 8},
		&Redeliver{Tenant: "acme", Keys: []string{"r0000"}, At: 9},
	}
}

// goldenBehind gives the golden state a tenant for which something was left out, at the
// log index at which it begins.
func goldenBehind(born uint64) []Command {
	wants := Manifest{Docs: []Doc{}, Wanted: []string{"base"}}
	return []Command{
		&SetTenantVersion{Tenant: "dune", Manifest: wants, At: 14},
		&SetTenantVersion{Tenant: "bolt", Expect: 2, Manifest: wants, At: 14},
		&Move{Moves: []Moved{{Tenant: "dune", To: "node-1", Reason: ReasonLaggard}}, At: 15},
		&GrantLease{Network: "base", Holder: "node-1"},
		&Announce{Network: "base", Epoch: born + 3, Entries: []Entry{{Kind: Extend, Ref: ref(9, "a"), Parent: ref(8, "a").Hash, Time: 9, Seen: 10}}},
		&PassOver{Tenant: "dune", Born: born, Network: "base", Least: 1, At: 16},
	}
}

func TestGoldenSnapshot(t *testing.T) {
	path := filepath.Join("testdata", "snapshots", "v1.golden")
	s := New()
	script := append(goldenScript(),
		&RegisterNode{Name: "node-9", Server: "node-9@0badcafe"},
		&RemoveNode{Name: "node-9", Server: "node-9@0badcafe"})
	script = append(script, goldenLetters()...)
	script = append(script, goldenTenancy()...)
	script = append(script, goldenBacktests()...)
	script = append(script, goldenBehind(uint64(len(script)+1))...)
	for i, c := range script {
		if _, err := s.Apply(uint64(i+1), mustEncode(t, c)); err != nil {
			t.Fatalf("command %d: %v", i+1, err)
		}
	}
	risen := *s.View() // by a restore some time ago
	n, _ := risen.Network("ethereum_mainnet")
	was := *n
	was.Rebased = []Rise{{Below: 2, By: 1}}
	tx := begin(&risen)
	tx.putNetwork(was)
	tx.end()
	s.view.Store(&risen)
	written := snapshot(t, s.View())
	if *update {
		writeFile(t, path, written)
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, golden) {
		t.Error("the snapshot's bytes changed; if a field was added, keep the golden file and freeze a new one beside it")
	}
	restored, err := ReadSnapshot(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dump(s.View()), dump(restored), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("restored differently (-want +got):\n%s", diff)
	}
	if !bytes.Equal(snapshot(t, restored), golden) {
		t.Error("written again, the snapshot differs")
	}
	d := dump(restored)
	set := map[string]bool{}
	fieldsSet(reflect.ValueOf(d), set)
	for field, ok := range set {
		if !ok {
			t.Errorf("the golden snapshot sets no value of %s", field)
		}
	}
	for kind, n := range map[string]int{
		"tenants": len(d.Tenants), "changes": len(d.Changes), "blobs": len(d.Blobs), "networks": len(d.Networks), "cohorts": len(d.Cohorts),
		"nodes": len(d.Nodes), "tokens": len(d.Tokens), "cursors": len(d.Cursors), "fired": len(d.Fired), "outbox": len(d.Outbox), "dead": len(d.Dead),
		"retractions": len(d.Retracted), "boxes": len(d.Boxes), "replays": len(d.Replays), "secrets": len(d.Secrets),
		"keys": len(d.Keys), "audit logs": len(d.Audits), "entries to be copied": len(d.Line), "contents outside": len(d.Outside), "backtests": len(d.Backtests),
	} {
		if n == 0 {
			t.Errorf("the golden snapshot holds no %s", kind)
		}
	}
}

// contents is a view laid open for comparisons.
type contents struct {
	Index    uint64
	Tenants  map[string]*Tenant
	Changes  map[string]string
	Blobs    map[string]*Blob
	Networks map[string]*Network
	Nodes    map[string]*Node
	Cluster  Cluster
	Tokens   map[string]*Token
	Cohorts  map[string]*Cohort
	Cursors  map[string]*Cursor
	Fired    map[string]*Fired
	Outbox   map[string]*Outgoing
	Dead     map[string]*Dead

	Retracted map[string]*retraction
	Boxes     map[string]*Box
	Bytes     int64
	Replays   map[string]*replayed
	Secrets   map[string]*Secret
	Keys      map[string]*Key
	Audits    map[string][]*Audit // newest first
	Audited   int64               // bytes
	Store     Store
	Line      []*Audit
	Outside   map[string]uint64
	Backtests map[string]*Backtest
	Tested    int64 // bytes
}

func dump(v *View) contents {
	c := contents{
		Index: v.index, Tenants: map[string]*Tenant{}, Changes: map[string]string{}, Blobs: map[string]*Blob{},
		Networks: map[string]*Network{}, Nodes: map[string]*Node{}, Cluster: v.Cluster(), Tokens: map[string]*Token{}, Cohorts: map[string]*Cohort{}, Cursors: map[string]*Cursor{},
		Fired: map[string]*Fired{}, Outbox: map[string]*Outgoing{}, Dead: map[string]*Dead{},
		Retracted: map[string]*retraction{}, Boxes: map[string]*Box{}, Bytes: v.outboxBytes, Replays: map[string]*replayed{}, Secrets: map[string]*Secret{},
		Keys: map[string]*Key{}, Audits: map[string][]*Audit{}, Audited: v.auditBytes,
		Store: v.Store(), Line: slices.Collect(v.AuditSince(0)), Outside: maps.Collect(walk(v.outside, "")),
		Backtests: map[string]*Backtest{}, Tested: v.backtestBytes,
	}
	maps.Insert(c.Tenants, walk(v.tenants, ""))
	maps.Insert(c.Changes, walk(v.changes, ""))
	maps.Insert(c.Blobs, walk(v.blobs, ""))
	maps.Insert(c.Networks, walk(v.networks, ""))
	maps.Insert(c.Nodes, walk(v.nodes, ""))
	maps.Insert(c.Tokens, walk(v.tokens, ""))
	maps.Insert(c.Cohorts, walk(v.cohorts, ""))
	maps.Insert(c.Cursors, walk(v.cursors, ""))
	maps.Insert(c.Fired, walk(v.fired, ""))
	maps.Insert(c.Outbox, walk(v.outbox, ""))
	maps.Insert(c.Dead, walk(v.dead, ""))
	maps.Insert(c.Retracted, walk(v.retracted, ""))
	maps.Insert(c.Boxes, v.Boxes())
	maps.Insert(c.Replays, walk(v.replays, ""))
	maps.Insert(c.Secrets, walk(v.secrets, ""))
	maps.Insert(c.Keys, walk(v.keys, ""))
	maps.Insert(c.Backtests, walk(v.backtests, ""))
	for k := range walk(v.audits, "") {
		c.Audits[k] = slices.Collect(v.AuditOf(k))
	}
	return c
}
