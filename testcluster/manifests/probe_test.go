package manifests

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbeCheck(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
			return
		}
		http.Error(w, "leader unknown", status)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	p := Probe{Path: "/readyz", Timeout: time.Minute}
	if err := p.Check(t.Context(), address); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := p.Check(t.Context(), address); err == nil || !strings.Contains(err.Error(), "leader unknown") {
		t.Errorf("status 503: %v", err)
	}
	p.Path = "/nowhere"
	if err := p.Check(t.Context(), address); err == nil {
		t.Error("status 404 is taken for good")
	}
	server.Close()
	if err := p.Check(t.Context(), address); err == nil {
		t.Error("nobody listens, and that is taken for good")
	}
}

func TestProbeLimit(t *testing.T) {
	p := Probe{Delay: 5 * time.Second, Period: 2 * time.Second, Failures: 10}
	if got := p.Limit(); got != 25*time.Second {
		t.Errorf("limit %v, want 25s", got)
	}
}
