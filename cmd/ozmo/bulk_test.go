package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

// busyServer has tenants that others change too: before each of the first PUTs.
type busyServer struct {
	mu      sync.Mutex
	changes int // that are still to come
	tag     int
	puts    int
	with    map[string]json.RawMessage // triggers in force
}

func (s *busyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := fmt.Sprintf(`"%d"`, s.tag)
	if r.Method == http.MethodGet {
		w.Header().Set("ETag", tag)
		_ = json.NewEncoder(w).Encode(client.Configuration{Version: uint64(s.tag), Triggers: s.with})
		return
	}
	if s.changes > 0 {
		s.changes--
		s.tag++
		s.with[fmt.Sprintf("other%d", s.tag)] = s.with["old"]
	}
	if r.Header.Get("If-Match") != fmt.Sprintf(`"%d"`, s.tag) {
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, `{"detail":"it has changed"}`)
		return
	}
	s.puts++
	_, _ = io.WriteString(w, `{"version":9,"changed":true,"changes":[{"kind":"trigger","id":"old","change":"deleted"}]}`)
}

// Who changes a tenant at the same time is not overwritten unseen: what is compared
// again may go on, but nothing is deleted that nobody was asked about.
func TestChangesMeanwhile(t *testing.T) {
	doc, err := json.Marshal(webhookDoc("Old", plain("https://hooks.example/old")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		changes int
		asked   bool
		says    string
		puts    int
	}{
		{0, true, "", 1},
		{0, false, "", 1},
		{1, false, "", 1},
		{1, true, `trigger "other1" is new since the question and would be deleted`, 0},
		{9, false, "it is being changed by others at the same time", 0},
	} {
		s := &busyServer{changes: tt.changes, with: map[string]json.RawMessage{"old": doc}}
		h := httptest.NewServer(s)
		c, err := client.Remote(client.Server{URL: h.URL, Key: "ozmo_a_b"})
		if err != nil {
			t.Fatal(err)
		}
		empty, err := files.Parse(client.Configuration{})
		if err != nil {
			t.Fatal(err)
		}
		b := &bulk{c: c, prune: true, concurrency: 1, progress: newProgress(io.Discard, ""), jobs: []job{{
			tenant: "acme", read: func(context.Context) (*files.Documents, spec.Problems, error) { return empty, nil, nil },
		}}}
		if tt.asked {
			gone, err := b.deletions(t.Context())
			if err != nil || len(gone) != 1 {
				t.Fatalf("%+v, %v", gone, err)
			}
			b.confirm(gone)
		}
		sum := b.apply(t.Context())
		if r := sum.Tenants[0]; !strings.Contains(r.Error, tt.says) || tt.says == "" && r.Error != "" || s.puts != tt.puts {
			t.Errorf("%+v: %q, %d puts", tt, r.Error, s.puts)
		}
		c.Close()
		h.Close()
	}
}

func TestAppliedTenantIsShown(t *testing.T) {
	var b bytes.Buffer
	r := &appliedTenant{Tenant: "acme", Version: 3, Changed: true, Unchanged: 2, Changes: []files.Difference{
		{Kind: "monitor", ID: "a\nb", Change: files.Created},
		{Kind: "trigger", ID: "t", Change: files.Updated, Fields: []files.Field{{Path: "name", Before: `"x"`, After: `"y"`}, {Path: "config.tls", After: `"none"`}, {Path: "triggers[1]", Before: `"z"`}}},
	}}
	r.write(&b, true)
	const want = "tenant acme: version 3, 1 created, 1 updated, 2 unchanged\n" + `  + monitor a\nb
  ~ trigger t
      name: "x" -> "y"
      config.tls: "none" (new)
      triggers[1]: "z" (gone)
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	(&appliedTenant{Tenant: "same", Version: 3}).write(&b, true)
	if b.Len() != 0 {
		t.Errorf("one of many that is as it was is shown: %s", b.String())
	}
}
