package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// alertNode answers at a node's socket; the stream's answers are given in turn.
func alertNode(t *testing.T, list func(r *http.Request) string, streams ...string) (dir string, asked *atomic.Value) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ozmo") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "ozmo.sock"))
	if err != nil {
		t.Fatal(err)
	}
	asked = &atomic.Value{}
	asked.Store("")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/tenants/acme/alerts", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, list(r)) })
	var turn atomic.Int64
	mux.HandleFunc("GET /v1/tenants/acme/alerts/stream", func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.RawQuery)
		n := int(turn.Add(1)) - 1
		if n >= len(streams) {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, streams[n])
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"tenant \"nobody\": not found"}`)
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return dir, asked
}

func alertJSON(n int) string {
	return fmt.Sprintf(`{"id":"%064x","monitor":"Mon","monitor_id":"m","network":"net","transaction":"0xt%d","block":{"height":%d,"hash":"0x%064x"},
		"state":"fired","fired_at":"2026-03-01T12:00:00Z","version":1,"changes":[]}`, n, n, 100+n, n)
}

func TestAlertList(t *testing.T) {
	dir, _ := alertNode(t, func(r *http.Request) string {
		q := r.URL.Query()
		switch {
		case q.Get("state") == "retracted":
			return `{"items":[],"silent":[]}`
		case q.Get("cursor") == "two":
			return `{"items":[` + alertJSON(3) + `],"silent":["b"]}`
		case q.Get("limit") == "1":
			return `{"items":[` + alertJSON(1) + `],"next":"two","silent":[]}`
		}
		return `{"items":[` + alertJSON(1) + "," + alertJSON(2) + `],"next":"two","silent":[]}`
	})
	t.Setenv("OZMO_DATA", dir)
	all := ozmo(t, "alert", "list", "acme", "--limit", "0")
	all.want(t, exitOK, "2026-03-01 12:00:00  fired  Mon      net        103  0xt3", "they do not answer: b")
	if strings.Count(all.stdout, "0xt") != 3 {
		t.Errorf("%s", all.stdout)
	}
	ozmo(t, "alert", "list", "acme", "--limit", "1").want(t, exitOK, "0xt1", "there are more than 1")
	ozmo(t, "alert", "list", "acme", "--limit", "0", "-o", "json").want(t, exitOK, `"transaction": "0xt3"`, "")
	ozmo(t, "alert", "list", "acme", "--state", "retracted").want(t, exitOK, "there are no such alerts", "")
	ozmo(t, "alert", "list", "nobody").want(t, exitFailure, "", "not found")
	ozmo(t, "alert", "list", "acme", "--since", "soon", "--limit", "-1").want(t, exitUsage, "", "--since")
	ozmo(t, "alert", "list", "acme", "--state", "open").want(t, exitUsage, "", "--state")
	ozmo(t, "alert", "list").want(t, exitUsage, "", "TENANT")
}

// Watching goes on where it was when the connection breaks, and says what is missing.
func TestAlertWatch(t *testing.T) {
	event := func(id, tx string) string {
		return "id: " + id + "\nevent: alert\ndata: " + `{"event":"e","id":"1","state":"fired","at":"2026-03-01T12:00:00Z","monitor":"Mon","network":"net","transaction":"` + tx + `","block":{"height":7,"hash":"0x` + strings.Repeat("0", 64) + `"}}` + "\n\n"
	}
	dir, asked := alertNode(t, nil,
		"retry: 1000\n: ozmo\n\n"+event("10", "0xone")+"id: 11\nevent: gap\ndata: {\"missed\":2,\"reason\":\"slow\"}\n\n: still here\n\n",
		event("20", "0xtwo")+"event: end\ndata: {\"reason\":\"this node stops\"}\n\n",
	)
	t.Setenv("OZMO_DATA", dir)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for asked.Load() != "last_event_id=20&monitor=Mon" && ctx.Err() == nil { // it has come back twice
			<-time.After(10 * time.Millisecond)
		}
		cancel()
	}()
	got := ozmoContext(ctx, "alert", "watch", "acme", "--monitor", "Mon", "-o", "text")
	cancel()
	got.want(t, exitOK, "fired       Mon  net  block 7  0xone", "2 changes left out: slow")
	got.want(t, exitOK, "0xtwo", "this node stops")
	ozmo(t, "alert", "watch", "nobody").want(t, exitFailure, "", "not found")
}
