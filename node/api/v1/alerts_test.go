package v1

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

func manyAlerts(n int) func(*fsm.Tenant) []api.Alert {
	return func(t *fsm.Tenant) (out []api.Alert) {
		for i := n - 1; i >= 0; i-- {
			// Two of each time: the id decides between them.
			out = append(out, api.Alert{ID: fmt.Sprintf("%064x", i), State: "fired", Network: t.ID + "/net", FiredAt: time.UnixMilli(int64(1000 + i/2)).UTC()})
		}
		return out
	}
}

func TestAlertPages(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleViewer)
	r.alerts = manyAlerts(7)
	var got []string
	path := "/v1/tenants/acme/alerts?limit=3"
	for next := "first"; next != ""; {
		var p AlertPage
		r.do(key, "GET", path, "").want(200, `"silent":[]`).decode(&p)
		for _, a := range p.Items {
			got = append(got, a.ID[63:])
		}
		next = p.Next
		path = "/v1/tenants/acme/alerts?limit=3&cursor=" + next
	}
	if want := []string{"6", "5", "4", "3", "2", "1", "0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.do(key, "GET", "/v1/tenants/acme/alerts?since=2026-01-02T00:00:00Z&until=2026-01-03T00:00:00Z&monitor=m&state=retracted&transaction=0x2", "").want(200)
	want := api.AlertQuery{
		AlertChoice: api.AlertChoice{Monitor: "m", State: "retracted", Transaction: "0x2"}, Limit: 100,
		Since: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
	}
	if r.asked != want {
		t.Errorf("asked for %+v, want %+v", r.asked, want)
	}
	for _, bad := range []string{"since=2026-01-03T00:00:00Z&until=2026-01-02T00:00:00Z", "state=open", "cursor=x", "limit=0", "since=yesterday"} {
		r.do(key, "GET", "/v1/tenants/acme/alerts?"+bad, "").want(422)
	}
	r.do(key, "GET", "/v1/tenants/acme/alerts/"+fmt.Sprintf("%064x", 3), "").want(200, `"silent":[]`)
	r.do(key, "GET", "/v1/tenants/acme/alerts/"+fmt.Sprintf("%064x", 9), "").want(404)
}

// A stream tells what is wanted, with ids to go on from, and how it ends.
func TestStream(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleViewer)
	news := []api.AlertNews{
		{Event: &api.AlertEvent{ID: "1", State: "fired", MonitorID: "m", Monitor: "Mon", Network: "acme/net"}, Mark: 10},
		{Event: &api.AlertEvent{ID: "2", State: "retracted", MonitorID: "m", Network: "net"}, Mark: 20},
		{Gap: &api.AlertGap{Missed: 3, Reason: "slow"}, Mark: 30},
		{Event: &api.AlertEvent{ID: "3", State: "fired", MonitorID: "other", Network: "net"}, Mark: 40},
	}
	r.follow = func(context.Context, *fsm.Tenant) <-chan api.AlertNews {
		out := make(chan api.AlertNews, len(news))
		for _, n := range news {
			out <- n
		}
		close(out)
		return out
	}
	for query, want := range map[string][]string{
		"":                         {"10 alert 1", "20 alert 2", "30 gap", "40 alert 3", " end"},
		"?state=fired":             {"10 alert 1", "30 gap", "40 alert 3", " end"},
		"?monitor=Mon&network=net": {"10 alert 1", "30 gap", " end"},
		"?monitor=m":               {"10 alert 1", "20 alert 2", "30 gap", " end"},
	} {
		got := r.do(key, "GET", "/v1/tenants/acme/alerts/stream"+query, "", "Last-Event-ID: 1700000000000").want(200)
		if h := got.header.Get("Content-Type"); h != "text/event-stream" {
			t.Errorf("content type %q", h)
		}
		if events := readEvents(got.body); !slices.Equal(events, want) {
			t.Errorf("%s: %q, want %q\n%s", query, events, want, got.body)
		}
	}
	if r.since.UnixMilli() != 1_700_000_000_000 {
		t.Errorf("it goes on from %v", r.since)
	}
	r.do(key, "GET", "/v1/tenants/acme/alerts/stream", "", "Last-Event-ID: yesterday").want(422, "header.Last-Event-ID")
	r.do(key, "GET", "/v1/tenants/acme/alerts/stream?last_event_id=0", "").want(422, "query.last_event_id")
	r.do(key, "GET", "/v1/tenants/acme/alerts/stream?last_event_id=1600000000000", "").want(200)
	if r.since.UnixMilli() != 1_600_000_000_000 {
		t.Errorf("it goes on from %v", r.since)
	}
}

// readEvents is the events of a stream in short.
func readEvents(body string) (out []string) {
	for block := range strings.SplitSeq(body, "\n\n") {
		id, name, alert := "", "", ""
		for line := range strings.Lines(block) {
			field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch field {
			case "id":
				id = value
			case "event":
				name = value
			case "data":
				if _, rest, ok := strings.Cut(value, `"id":"`); ok {
					alert, _, _ = strings.Cut(rest, `"`)
					alert = " " + alert
				}
			}
		}
		if name != "" {
			out = append(out, id+" "+name+alert)
		}
	}
	return out
}

// A stream ends with the key or the tenant it was opened for, while nothing happens.
func TestStreamEnds(t *testing.T) {
	for name, change := range map[string]func(r *rig, id string){
		"deleted key": func(r *rig, id string) { r.must(&fsm.DropKey{ID: id, Tenant: "acme"}) },
		"deleted tenant": func(r *rig, _ string) {
			now, _ := r.View().Tenant("acme")
			r.must(&fsm.DeleteTenant{Tenant: "acme", Expect: now.Current.Number, Source: fsm.SourceAPI})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.tenant("acme")
				key := r.key("acme", fsm.RoleViewer)
				ended := make(chan struct{})
				r.follow = func(ctx context.Context, _ *fsm.Tenant) <-chan api.AlertNews {
					out := make(chan api.AlertNews)
					go func() { <-ctx.Done(); close(ended); close(out) }()
					return out
				}
				got := make(chan answer)
				go func() { got <- r.do(key, "GET", "/v1/tenants/acme/alerts/stream", "") }()
				<-time.After(time.Minute) // virtual: the stream beats
				change(r, strings.Split(key, "_")[1])
				a := <-got
				if !strings.Contains(a.body, "event: end") || strings.Count(a.body, ": still here") < 3 {
					t.Errorf("%s", a.body)
				}
				<-ended
				r.api.streams.mu.Lock()
				defer r.api.streams.mu.Unlock()
				if r.api.streams.all != 0 || len(r.api.streams.key) != 0 || len(r.api.streams.tenant) != 0 {
					t.Errorf("places that were not given back: %+v", r.api.streams.tenant)
				}
			})
		})
	}
}

// More streams than a key, or a tenant, may have are refused, and have room again when
// others end.
func TestStreamLimits(t *testing.T) {
	var s streams
	var release []func()
	for i := range maxTenantStreams {
		end, err := s.open("acme", fmt.Sprint("key", i/maxKeyStreams))
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, end)
	}
	if _, err := s.open("acme", "another"); err == nil {
		t.Error("the tenant has more than it may")
	}
	if _, err := s.open("bolt", "key0"); err == nil {
		t.Error("the key has more than it may")
	}
	if _, err := s.open("bolt", "key of bolt"); err != nil {
		t.Error("another tenant has none:", err)
	}
	release[0]()
	release[0]() // once is enough
	if _, err := s.open("acme", "key0"); err != nil {
		t.Error(err)
	}
	if _, err := s.open("acme", "another"); err == nil {
		t.Error("a place was given back twice")
	}
}

// Over a real connection, the limits of time for requests do not end a stream.
func TestStreamOutlivesTimeouts(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleViewer)
	tell := make(chan api.AlertNews)
	r.follow = func(ctx context.Context, _ *fsm.Tenant) <-chan api.AlertNews {
		out := make(chan api.AlertNews)
		go func() {
			defer close(out)
			for {
				select {
				case n := <-tell:
					out <- n
				case <-ctx.Done():
					return
				}
			}
		}()
		return out
	}
	server := httptest.NewUnstartedServer(r.api)
	server.Config.ReadTimeout, server.Config.WriteTimeout = time.Second, time.Second
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/tenants/acme/alerts/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		<-time.After(600 * time.Millisecond) // longer than the timeouts in all
		tell <- api.AlertNews{Event: &api.AlertEvent{ID: fmt.Sprint("alert", i)}, Mark: 1}
		for lines.Scan() && !strings.Contains(lines.Text(), fmt.Sprint("alert", i)) {
		}
	}
	if err := lines.Err(); err != nil || !strings.Contains(lines.Text(), "alert2") {
		t.Errorf("it ended at %q: %v", lines.Text(), err)
	}
}
