package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// stateWith is an empty state after some commands.
func stateWith(t *testing.T, commands ...fsm.Command) *fsm.State {
	t.Helper()
	s := fsm.New()
	for i, c := range commands {
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(uint64(i+1), entry); err != nil {
			t.Fatalf("command %d: %v", i+1, err)
		}
	}
	return s
}

func wanting(t *testing.T, tenant string, networks ...string) []fsm.Command {
	t.Helper()
	doc := []byte("{}")
	m := fsm.Manifest{}
	for _, n := range networks {
		m.Docs = append(m.Docs, fsm.Doc{Kind: fsm.DocMonitor, ID: n, Hash: fsm.HashBlob(doc), Watches: []fsm.Watch{{Network: n}}})
	}
	m.Normalize()
	return []fsm.Command{&fsm.PutBlobs{Blobs: [][]byte{doc}}, &fsm.SetTenantVersion{Tenant: tenant, Manifest: m}}
}

func TestFolderIsNews(t *testing.T) {
	n := &Node{state: fsm.New(), log: slog.New(slog.DiscardHandler)}
	n.opts.DataDir = t.TempDir()
	f := &folder{digest: "one"}
	news := func(want bool, what string) {
		t.Helper()
		got, err := n.isNews(f)
		if err != nil || got != want {
			t.Errorf("%s: news %v, %v; want %v", what, got, err, want)
		}
	}
	note := func(done bool) {
		t.Helper()
		if err := n.noteFolder(f, done); err != nil {
			t.Fatal(err)
		}
	}
	news(true, "the first node of a cluster")
	n.state = stateWith(t, wanting(t, "acme", "net")...)
	news(false, "a new node of a cluster that has tenants")
	note(false)
	news(true, "killed while it took the folder over")
	note(true)
	news(false, "started again with the same folder")
	f.digest = "two"
	news(true, "started again with a folder that has changed")
	if err := os.WriteFile(filepath.Join(n.opts.DataDir, folderNoteFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	news(true, "its note is torn")
}

func TestBehindIsTime(t *testing.T) {
	var c contacts
	start := time.Now()
	c.reset(start)
	at := func(after time.Duration, applied, commit uint64) time.Duration {
		now := start.Add(after)
		c.note(heartbeat{Node: "b", Server: "b@1", Boot: 5, Applied: applied}, commit, now, time.Second)
		known, _ := c.all()
		return known["b"].behind(now)
	}
	if d := at(0, 100, 100); d != 0 {
		t.Errorf("up to date: behind for %v", d)
	}
	if d := at(200*time.Millisecond, 100, 103); d != 0 {
		t.Errorf("told of three more: behind for %v", d)
	}
	at(10*time.Second, 100, 104)
	if d := at(20*time.Second, 100, 104); d < 19*time.Second {
		t.Errorf("its log stands still, four entries behind: behind for %v only", d)
	}
	if d := at(21*time.Second, 104, 110); d != 0 {
		t.Errorf("it has caught up with what it was told: behind for %v", d)
	}
}

func TestTokensAreCheckedBeforeTheLog(t *testing.T) {
	token := pki.NewToken([32]byte{1})
	now := time.UnixMilli(1_000_000)
	put := &fsm.PutToken{ID: token.ID, Hash: fsm.Hash(token.Hash()), Expires: now.UnixMilli() + 1, At: 1}
	v := stateWith(t, put).View()
	asks := enrolment{Node: "b", Request: []byte("request")}
	if err := checkToken(v, token, asks, now); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if err := checkToken(v, token, asks, now.Add(time.Second)); !errors.Is(err, fsm.ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
	other := pki.NewToken([32]byte{1})
	if err := checkToken(v, other, asks, now); !errors.Is(err, fsm.ErrTokenUnknown) {
		t.Errorf("invented: %v", err)
	}
	other.ID = token.ID
	if err := checkToken(v, other, asks, now); !errors.Is(err, fsm.ErrTokenUnknown) {
		t.Errorf("another secret: %v", err)
	}
	v = stateWith(t, put, &fsm.UseToken{ID: token.ID, Hash: fsm.Hash(token.Hash()), Node: "b", Request: asks.requestHash(), At: 2}).View()
	if err := checkToken(v, token, asks, now); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	asks.Request = []byte("another")
	if err := checkToken(v, token, asks, now); !errors.Is(err, fsm.ErrTokenUsed) {
		t.Errorf("used: %v", err)
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	key := secrets.NewKey()
	n := &Node{
		log: slog.New(slog.DiscardHandler), keeper: secrets.New(key),
		state: stateWith(t, &fsm.RegisterNode{Name: "b", Server: "b@1", Roles: fsm.AllRoles}),
	}
	n.opts.RaftMultiplier = 1
	good := registration{RegisterNode: fsm.RegisterNode{Name: "b", Server: "b@2"}, SealingKey: n.keeper.ID(), Multiplier: 1}
	if _, err := n.acceptRegistration(t.Context(), good); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("before the leader has applied everything: %v", err)
	}
	n.contacts.reset(time.Now())
	if _, err := n.acceptRegistration(t.Context(), good); !errors.Is(err, api.ErrRefused) {
		t.Errorf("a second process of a name, right after a change of leader: %v", err)
	}
	bad := good
	bad.Multiplier = 8
	if _, err := n.acceptRegistration(t.Context(), bad); !errors.Is(err, api.ErrRefused) || !strings.Contains(err.Error(), "raft-multiplier") {
		t.Errorf("another multiplier: %v", err)
	}
	bad = good
	bad.SealingKey = "0000"
	if _, err := n.acceptRegistration(t.Context(), bad); !errors.Is(err, api.ErrRefused) || !strings.Contains(err.Error(), "sealing key") {
		t.Errorf("another sealing key: %v", err)
	}
}

func TestLostLogIsDisowned(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler)}
	n.opts.DataDir, n.opts.Name = t.TempDir(), "a"
	instance := func() string {
		t.Helper()
		id, err := n.opts.readIdentity()
		if err != nil {
			t.Fatal(err)
		}
		return id.Instance
	}
	if err := n.opts.writeIdentity(identity{Name: "a", Instance: founding, Begun: true}); err != nil {
		t.Fatal(err)
	}
	if err := n.disown(true); err != nil || instance() != founding {
		t.Errorf("with its log: instance %s, %v", instance(), err)
	}
	if err := n.disown(false); err != nil || instance() == founding {
		t.Errorf("without its log it is still instance %s, %v", instance(), err)
	}
}

// TestPlanLeases covers who may watch.
func TestPlanLeases(t *testing.T) {
	commands := append(wanting(t, "acme", "net"),
		&fsm.RegisterNode{Name: "a", Server: "a@1", Roles: fsm.AllRoles, Weight: 100},
		&fsm.RegisterNode{Name: "b", Server: "b@1", Roles: fsm.AllRoles, Weight: 100},
		&fsm.RegisterNode{Name: "w", Server: "w@1", Roles: fsm.RoleWorker, Weight: 100})
	well := func(v *fsm.View) map[string]*member {
		out := everybodyWell(v)
		for _, m := range out {
			m.Silent = 10 * time.Millisecond
		}
		return out
	}
	const ttl = time.Second
	v := stateWith(t, commands...).View()
	grants := planLeases(v, well(v), ttl, false)
	if len(grants) != 1 || grants[0].Network != "net" || grants[0].Holder == "w" {
		t.Fatalf("grants %+v", grants)
	}
	holder := grants[0].Holder
	commands = append(commands, grants[0])
	v = stateWith(t, commands...).View()
	if again := planLeases(v, well(v), ttl, false); len(again) > 0 {
		t.Errorf("nothing has changed, and it is granted anew: %+v", again)
	}
	for what, spoil := range map[string]func(*member){
		"gossip says dead":      func(m *member) { m.Gossip, m.Silent = gossip.Dead, 500*time.Millisecond },
		"it left":               func(m *member) { m.Gossip = gossip.Left },
		"silent for too long":   func(m *member) { m.Silent = 2 * ttl },
		"its log stands still":  func(m *member) { m.Behind = time.Minute },
		"it is about to leave":  func(m *member) { c := *m.Node; c.Drain = fsm.DrainLeaving; m.Node = &c },
		"an operator drains it": func(m *member) { c := *m.Node; c.Drain = fsm.DrainOperator; m.Node = &c },
	} {
		nodes := well(v)
		spoil(nodes[holder])
		if g := planLeases(v, nodes, ttl, false); len(g) != 1 || g[0].Holder == holder || g[0].Holder == "w" {
			t.Errorf("%s: grants %+v", what, g)
		}
	}
	nodes := well(v)
	nodes[holder].Gossip = gossip.Dead // an old word, with a fresh heartbeat
	if g := planLeases(v, nodes, ttl, false); len(g) > 0 {
		t.Errorf("gossip repeats an old word: grants %+v", g)
	}
}

// TestSeats covers what becomes of tenants whose node has trouble.
func TestSeats(t *testing.T) {
	const ttl = time.Second
	node := &fsm.Node{Name: "a", Server: "a@1", Roles: fsm.AllRoles, Boot: 1}
	alive := func() *member {
		return &member{Node: node, Gossip: gossip.Alive, Heard: true, Said: heartbeat{Applied: 10}}
	}
	drained := *node
	drained.Drain = fsm.DrainOperator
	for what, tc := range map[string]struct {
		cohort fsm.Cohort
		nodes  map[string]*member
		want   seat
	}{
		"nobody has it":           {fsm.Cohort{}, nil, seat{}},
		"all is well":             {fsm.Cohort{Node: "a"}, map[string]*member{"a": alive()}, seat{node: "a"}},
		"silent for a moment":     {fsm.Cohort{Node: "a"}, map[string]*member{"a": {Node: node, Silent: ttl + 100*time.Millisecond, Heard: true}}, seat{node: "a", fixed: true}},
		"silent for long":         {fsm.Cohort{Node: "a"}, map[string]*member{"a": {Node: node, Silent: 2 * ttl, Heard: true}}, seat{force: true}},
		"removed":                 {fsm.Cohort{Node: "a"}, nil, seat{force: true}},
		"drained":                 {fsm.Cohort{Node: "a"}, map[string]*member{"a": {Node: &drained, Heard: true}}, seat{}},
		"being handed over":       {fsm.Cohort{Node: "a", To: "b"}, map[string]*member{"a": alive(), "b": alive()}, seat{node: "b", fixed: true}},
		"its new node has gone":   {fsm.Cohort{Node: "a", To: "b"}, map[string]*member{"a": alive()}, seat{force: true}},
		"its old node has gone":   {fsm.Cohort{Node: "a", To: "b"}, map[string]*member{"b": alive()}, seat{force: true}},
		"just started, not ready": {fsm.Cohort{Node: "a"}, map[string]*member{"a": {Node: &fsm.Node{Name: "a", Roles: fsm.AllRoles, Boot: 20}, Heard: true, Said: heartbeat{Applied: 10}}}, seat{node: "a", fixed: true}},
	} {
		if got := seatOf(&tc.cohort, tc.nodes, ttl); got != tc.want {
			t.Errorf("%s: %+v, want %+v", what, got, tc.want)
		}
	}
}
