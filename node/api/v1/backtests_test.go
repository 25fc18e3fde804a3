package v1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// backtesting is a tenant with a monitor on a network of which blocks 1 to 9 are
// announced; it judges 2 deep.
func backtesting(t *testing.T) (r *rig, key string) {
	r = newRig(t)
	r.furnish("acme")
	r.watch("acme/net", 9)
	key = r.key("acme", fsm.RoleMember)
	return r, key
}

const backtests = "/v1/tenants/acme/backtests"

func TestBacktestRequests(t *testing.T) {
	r, key := backtesting(t)
	start := r.snapshot()
	ask := func(body string) answer {
		t.Helper()
		r.restore(start)
		return r.do(key, "POST", backtests, body)
	}
	for body, want := range map[string][2]uint64{
		`{"monitor":"mon","from":1,"to":7}`:                                           {1, 7},
		`{"monitor":"mon","from":3}`:                                                  {3, 7},
		`{"monitor":"mon","from":0,"network":"net"}`:                                  {0, 7},
		`{"monitor":"mon","last":3}`:                                                  {5, 7},
		`{"monitor":"mon","last":100000}`:                                             {0, 7},
		`{"document":` + monitorDoc("new", "net", "value > 5", "hook") + `,"last":1}`: {7, 7},
	} {
		var b BacktestDetail
		ask(body).want(201).decode(&b)
		if b.From != want[0] || b.To != want[1] || b.State != "queued" || b.Network != "net" || (b.Monitor == "mon") == (b.Name == "new") || b.Progress.Total != want[1]-want[0]+1 {
			t.Errorf("%s: %+v", body, b)
		}
		made, _ := r.View().Backtest("acme", b.ID)
		if _, ok := r.View().Blob(made.Doc.Hash); !ok || made.Watch.Network != "acme/net" {
			t.Errorf("%s: %+v", body, made)
		}
	}
	for body, says := range map[string][]string{
		`{}`:                        {"either monitor", "say which blocks"},
		`{"monitor":"none","to":3}`: {`there is no monitor \"none\"`, "say which blocks"},
		`{"monitor":"mon","document":{},"last":1}`:                         {"either monitor"},
		`{"monitor":"mon","from":8}`:                                       {"block 8 lies above the last one", "7"},
		`{"monitor":"mon","from":1,"to":8}`:                                {"body.to", "the network's head is 9, and the monitor judges 2 blocks deep, so 7 is the last"},
		`{"monitor":"mon","from":5,"to":4}`:                                {"block 5 lies above"},
		`{"monitor":"mon","from":0,"to":100000}`:                           {"too many", "100000 at most"},
		`{"monitor":"mon","last":100001}`:                                  {"too many"},
		`{"monitor":"mon","last":2,"from":1}`:                              {"either last, or from and to"},
		`{"monitor":"mon","last":2,"network":"main"}`:                      {`does not list network \"main\", only: net`},
		`{"document":` + monitorDoc("m", "net", "valu > 5", "hook") + `}`:  {"body.document.match_conditions.events[0].expression", "valu", "say which blocks"},
		`{"document":` + monitorDoc("m", "net", "", "none") + `,"last":1}`: {"body.document.triggers[0]"},
		`{"document":` + monitorDoc("m", "far", "", "hook") + `,"last":1}`: {"body.document.networks[0]"},
		`{"document":{"name":"m","networks":[],"paused":"no"},"last":1}`:   {"body.document.paused"},
		`{"document":[],"last":1}`:                                         {"body.document"},
		`{"monitor":"mon","last":2,"send":true}`:                           {"body.send", "unexpected"},
		`{"monitor":"mon","from":-1}`:                                      {"body.from"},
	} {
		r.restore(start)
		before := r.View().Index()
		got := r.do(key, "POST", backtests, body)
		got.want(422, says...)
		if r.View().Index() != before {
			t.Errorf("%s: something was proposed", body)
		}
	}
	// A paused monitor is judged all the same.
	r.restore(start)
	paused := strings.Replace(monitorDoc("mon", "net", "", "hook"), `"paused":false`, `"paused":true`, 1)
	r.do(key, "POST", backtests, `{"document":`+paused+`,"last":1}`).want(201)
	// Without a watcher there are no blocks.
	n, _ := r.View().Network("acme/net")
	r.must(&fsm.GrantLease{Network: "acme/net", IfEpoch: n.Lease.Epoch})
	r.do(key, "POST", backtests, `{"monitor":"mon","last":1}`).want(409, "network net is not watched at the moment")
}

func TestBacktestsAreListedAndDeleted(t *testing.T) {
	r, key := backtesting(t)
	var ids []string
	for range 2 {
		var b BacktestDetail
		r.do(key, "POST", backtests, `{"monitor":"mon","last":2}`).want(201).decode(&b)
		ids = append(ids, b.ID)
	}
	r.do(key, "POST", backtests, `{"monitor":"mon","last":2}`).want(409, "2 backtests are not over yet")
	var page Page[Backtest]
	r.do(key, "GET", backtests+"?limit=1", "").want(200).decode(&page)
	if len(page.Items) != 1 || page.Items[0].ID != ids[1] || page.Next == "" {
		t.Fatalf("%+v", page)
	}
	var rest Page[Backtest]
	r.do(key, "GET", backtests+"?cursor="+page.Next, "").want(200).decode(&rest)
	if len(rest.Items) != 1 || rest.Items[0].ID != ids[0] || rest.Next != "" {
		t.Fatalf("%+v", rest)
	}
	one := backtests + "/" + ids[0]
	r.do(r.key("acme", fsm.RoleViewer), "DELETE", one, "").want(403)
	r.do(key, "DELETE", one+"?cancel=true", "").want(204)
	r.do(key, "GET", one, "").want(200, `"state":"cancelled"`)
	r.do(key, "DELETE", one+"?cancel=true", "").want(409, "is over: it is cancelled")
	r.do(key, "DELETE", one, "").want(204)
	r.do(key, "GET", one, "").want(404)
	r.do(key, "DELETE", one, "").want(404)
	var log Page[Entry]
	r.do(r.key("acme", fsm.RoleOwner), "GET", "/v1/tenants/acme/audit?limit=3", "").want(200).decode(&log)
	said := ""
	for _, e := range log.Items {
		said += fmt.Sprint(e.Action, " ", e.Object == ids[0], " ", e.Before, " ", e.After, "; ")
	}
	if want := `backtest.delete true cancelled forgotten; backtest.delete true queued cancelled; backtest.create false  monitor "mon", network net, blocks 6 to 7; `; said != want {
		t.Errorf("audit log: %s, want %s", said, want)
	}
}

// What a backtest has found is counted by trigger, twice in mode both.
func TestBacktestIsShown(t *testing.T) {
	b := &fsm.Backtest{
		ID: "x", From: 10, To: 19, Triggers: []string{"hook", "mail", "hook"}, Confirms: true, Filters: 1, State: fsm.BacktestDone, At: 1000, Ended: 3000, Restarts: 2,
		Parts: []fsm.BacktestPart{
			{Counts: fsm.BacktestCounts{Blocks: 5, Fetched: 4, Calls: 8, Candidates: 9, Matches: 3, Misses: 6, Micros: 1500}, Matches: []fsm.BacktestMatch{{Tx: "0x1"}}},
			{Counts: fsm.BacktestCounts{Blocks: 5, Candidates: 1, Misses: 1}, Misses: []fsm.BacktestMiss{{Tx: "0x2", Elsewhere: true}, {Tx: "0x3", Reasons: []fsm.BacktestReason{{Message: "no", Values: []string{"a > 1"}}}}}},
		},
	}
	got := detailedBacktest(b)
	n := got.Notifications
	if n.Total != 18 || n.Filters != 1 || fmt.Sprint(n.ByTrigger) != "[{hook 12} {mail 6}]" {
		t.Errorf("%+v", n)
	}
	if got.Progress != (BacktestProgress{10, 10, 2}) || got.Counts != (BacktestCounts{10, 3, 7}) || got.Cost != (BacktestCost{10, 4, 8, 1.5}) || got.Ended.Sub(got.Created).Seconds() != 2 {
		t.Errorf("%+v", got.Backtest)
	}
	if len(got.Matches) != 1 || got.Matches[0].On == nil || len(got.NearMisses) != 2 || got.NearMisses[0].Transaction != "0x3" || !got.NearMisses[1].Elsewhere || got.NearMisses[1].Reasons == nil {
		t.Errorf("%+v, %+v", got.Matches, got.NearMisses)
	}
}
