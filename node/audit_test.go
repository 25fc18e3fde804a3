package node

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// What operators do from afar is logged with what it is about, and with nothing
// that may be secret; who serves the request gets all of it.
func TestOperatorsCommandsAreLogged(t *testing.T) {
	var log bytes.Buffer
	n := &Node{log: slog.New(slog.NewTextHandler(&log, nil))}
	got := ""
	h := n.fromAfar(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = string(data)
	}))
	large := `{"tenant":"acme","value":"` + strings.Repeat("hunter2", maxAudited/4) + `"}`
	for _, tc := range []struct {
		method, target, body string
		want                 string // of the line, after the method
	}{
		{"POST", "/v1/secrets", `{"tenant":"acme","name":"hook","value":"hunter2"}`, `path=/v1/secrets about.tenant=acme about.name=hook`},
		{"DELETE", "/v1/secrets/acme/hook?force=true", "", `path=/v1/secrets/acme/hook about.force=true`},
		{"POST", "/v1/keyring/add?key=hunter2", "", `path=/v1/keyring/add`},
		{
			"POST", "/v1/replay?tenant=acme&monitor=Large+transfers&from=1&to=9&send=true", "",
			`path=/v1/replay about.tenant=acme about.monitor="Large transfers" about.from=1 about.to=9 about.send=true`,
		},
		{"POST", "/v1/deliveries/purge", `{"keys":["9f","0a"],"dry_run":false}`, `path=/v1/deliveries/purge about.keys=9f,0a about.dry_run=false`},
		{"POST", "/v1/deliveries/purge", `{"keys":["1","2","3","4","5","6","7"]}`, `path=/v1/deliveries/purge about.keys="1,2,3,4,5,and 2 more"`},
		{
			"POST", "/v1/deliveries/redeliver", `{"choice":{"tenant":"acme","trigger":"ops","statuses":["dead"]},"dry_run":true}`,
			`path=/v1/deliveries/redeliver about.tenant=acme about.trigger=ops about.statuses=dead about.dry_run=true`,
		},
		{"POST", "/v1/tenants/place", `{"tenant":"acme","pin":"","weight":3}`, `path=/v1/tenants/place about.tenant=acme about.weight=3`},
		{"POST", "/v1/restore", "no JSON", `path=/v1/restore`},
		{"POST", "/v1/secrets", large, `path=/v1/secrets`},
		{"POST", "/v1/secrets", `{"tenant":"` + strings.Repeat("x", 999) + `"}`, `about.tenant=` + strings.Repeat("x", maxAuditedText)},
	} {
		log.Reset()
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, pki.Identity{Name: "ann", Role: pki.RoleOperator}),
			tc.method, tc.target, strings.NewReader(tc.body))
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != tc.body {
			t.Errorf("%s: %d bytes arrived of %d", tc.target, len(got), len(tc.body))
		}
		line := strings.TrimSuffix(log.String(), "\n")
		if !strings.HasSuffix(line, tc.want) || !strings.Contains(line, "operator=ann") || strings.Contains(line, "hunter2") {
			t.Errorf("%s:\n%s\nwant\n%s", tc.target, line, tc.want)
		}
	}
}
