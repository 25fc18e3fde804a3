package node

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// watchdog takes heartbeats.
type watchdog struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	secret string
	status int // to answer with
	bodies []string
	ids    map[string]bool
}

func newWatchdog(t *testing.T, secret string) *watchdog {
	w := &watchdog{t: t, secret: secret, status: http.StatusNoContent, ids: map[string]bool{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *watchdog) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := webhook.Verify(r.Header, body, w.secret, time.Minute); err != nil {
		w.t.Errorf("signature: %v", err)
	}
	for _, scheme := range []string{"X-Signature", "Webhook-Signature"} {
		if r.Header.Get(scheme) == "" {
			w.t.Errorf("%s is missing", scheme)
		}
	}
	if id := r.Header.Get("Webhook-Id"); w.ids[id] {
		w.t.Errorf("id %q comes twice", id)
	} else {
		w.ids[id] = true
	}
	w.bodies = append(w.bodies, string(body))
	if w.status == http.StatusTemporaryRedirect {
		http.Redirect(out, r, "/elsewhere", w.status)
		return
	}
	out.WriteHeader(w.status)
}

func (w *watchdog) change(status int, secret string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.secret = status, secret
}

func (w *watchdog) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bodies...)
}

func secretFile(t *testing.T, secret string) string {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func someSign() Heartbeat {
	seen := int64(1200)
	h := Heartbeat{
		Type: "heartbeat", Cluster: "prod", Node: "a", Version: "v1.2.3", Started: true,
		Quorum: HeartbeatQuorum{Leader: "b", Term: 7, HasContact: true, Voters: 3, Alive: 2},
		Networks: []HeartbeatNetwork{
			{Network: "polygon", Holder: "b", Epoch: 40, Head: 61_000_000, SeenAge: &seen, Lag: 3},
			{Network: "base", Holder: "a", Epoch: 41, Head: 22_000_000, SeenAge: &seen, Lag: 0, Stalled: "not-found"},
			{Network: "acme/devnet"},
		},
		Cohorts: []HeartbeatCohort{{Cohort: "a", Network: "polygon", Behind: 1}, {Cohort: "a-2", Network: "polygon", Behind: 3}},
		Outbox:  HeartbeatOutbox{Entries: 12, Bytes: 34_567, Dead: 1},
	}
	h.bound()
	return h
}

func newTestPulse(t *testing.T, address, file string) *pulse {
	p := &pulse{
		url: address, secretFile: file, interval: time.Minute, client: notify.NewHTTPClient(nil, nil), read: someSign,
		log: slog.New(slog.DiscardHandler), metrics: newMetrics(prometheus.NewRegistry()), began: time.UnixMilli(1_700_000_000_000),
	}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

// The body is what operators have written rules for: it only grows.
func TestHeartbeatBodyIsFrozen(t *testing.T) {
	h := someSign()
	h.Time, h.Sequence, h.Interval = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), 17, 60
	got, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "heartbeat.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHeartbeatListsAreBounded(t *testing.T) {
	h := someSign()
	for range maxHeartbeatList {
		h.Networks = append(h.Networks, HeartbeatNetwork{Network: "x", Lag: 1})
		h.Cohorts = append(h.Cohorts, HeartbeatCohort{Behind: 9})
	}
	h.bound()
	if len(h.Networks) != maxHeartbeatList || len(h.Cohorts) != maxHeartbeatList || h.Omitted != 5 {
		t.Errorf("%d networks, %d cohorts, %d omitted", len(h.Networks), len(h.Cohorts), h.Omitted)
	}
	if h.Networks[0].Network != "base" || h.Cohorts[0].Behind != 9 {
		t.Errorf("the worst is not first: %+v, %+v", h.Networks[0], h.Cohorts[0])
	}
}

func TestHeartbeatsAreSignedAndCounted(t *testing.T) {
	w := newWatchdog(t, "first secret")
	file := secretFile(t, "first secret")
	p := newTestPulse(t, w.URL+"/k3y", file)
	var log logs.Buffer
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	beat := func() { p.beat(t.Context(), time.Minute) }
	beat()
	// A new secret counts at once; one that is not there leaves the old one in force.
	if err := os.WriteFile(file, []byte("second secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.change(http.StatusOK, "second secret")
	beat()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	beat()
	for i, body := range w.took() {
		var h Heartbeat
		if err := json.Unmarshal([]byte(body), &h); err != nil || h.Sequence != uint64(i)+1 || h.Node != "a" || h.Time.IsZero() || h.Interval != 60 {
			t.Errorf("%v: %s", err, body)
		}
	}
	if n := len(w.took()); n != 3 {
		t.Fatalf("%d heartbeats, want 3", n)
	}
	// Failures are counted and logged once; redirects are not followed.
	for _, status := range []int{http.StatusInternalServerError, http.StatusTemporaryRedirect, http.StatusGone} {
		w.change(status, "second secret")
		beat()
	}
	if n := len(w.took()); n != 6 {
		t.Errorf("%d requests, want 6: a redirect was followed, or a heartbeat repeated", n)
	}
	w.change(http.StatusOK, "second secret")
	beat()
	if sent, failed := testutil.ToFloat64(p.metrics.heartbeats.WithLabelValues("sent")), testutil.ToFloat64(p.metrics.heartbeats.WithLabelValues("failed")); sent != 4 || failed != 3 {
		t.Errorf("%v sent, %v failed", sent, failed)
	}
	text := log.String()
	if strings.Count(text, "was not accepted") != 1 || strings.Count(text, "accepted again") != 1 {
		t.Errorf("log:\n%s", text)
	}
	if strings.Contains(text, "k3y") || strings.Contains(text, "secret ") {
		t.Errorf("the log holds a secret:\n%s", text)
	}
}

// A node that stops as planned says so; one that ends otherwise is silent.
func TestLastHeartbeat(t *testing.T) {
	for _, leaving := range []bool{true, false} {
		w := newWatchdog(t, "s")
		p := newTestPulse(t, w.URL, secretFile(t, "s"))
		p.read = func() Heartbeat { return Heartbeat{Draining: p.leaving.Load()} }
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.run(ctx) })
		eventually.Nil(t, func() error {
			if len(w.took()) != 1 {
				return io.ErrNoProgress
			}
			return nil
		})
		p.leaving.Store(leaving)
		cancel()
		running.Wait()
		got := w.took()
		if leaving && (len(got) != 2 || !strings.Contains(got[1], `"draining":true`)) || !leaving && len(got) != 1 {
			t.Errorf("leaving %t: %v", leaving, got)
		}
	}
}

func TestHeartbeatOptions(t *testing.T) {
	good := secretFile(t, "s")
	for _, tc := range []struct {
		url, file string
		interval  time.Duration
		says      string
	}{
		{"", "", 0, ""},
		{"https://w.example/k3y", good, 0, ""},
		{"https://w.example/k3y", good, time.Second, ""},
		{"https://w.example/k3y", good, time.Millisecond, "--heartbeat-interval 1ms"},
		{"https://w.example/k3y", "", 0, "are signed"},
		{"https://w.example/k3y", filepath.Join(t.TempDir(), "none"), 0, "no such file"},
		{"https://w.example/k3y", secretFile(t, " "), 0, "is empty"},
		{"ftp://w.example/k3y", good, 0, "--heartbeat-url: want"},
		{"k3y", good, 0, "--heartbeat-url: want"},
		{"", good, 0, "no --heartbeat-url"},
	} {
		err := Options{HeartbeatURL: tc.url, HeartbeatSecretFile: tc.file, HeartbeatInterval: tc.interval}.Check()
		switch {
		case tc.says == "" && err != nil, tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%+v: %v", tc, err)
		case err != nil && strings.Contains(err.Error(), "k3y"):
			t.Errorf("a key is quoted: %v", err)
		}
	}
}
