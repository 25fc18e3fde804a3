package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// Turns are for nodes of the cluster, and a node that leads nothing gives none.
func TestWhoGetsTurns(t *testing.T) {
	n := &Node{state: fsm.New()}
	n.opts.Registry = prometheus.NewRegistry()
	entry, err := fsm.Encode(&fsm.RegisterNode{Name: "b", Server: "b-1", Address: "b:7000"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.state.Apply(1, entry); err != nil {
		t.Fatal(err)
	}
	h := n.rpcHandler()
	for _, tc := range []struct {
		peer   pki.Identity
		status int
	}{
		{pki.Identity{}, http.StatusForbidden},
		{pki.Identity{Name: "alice", Role: pki.RoleOperator}, http.StatusForbidden},
		{pki.Identity{Name: "stranger", Role: pki.RoleNode}, http.StatusForbidden},
		{pki.Identity{Name: "b", Role: pki.RoleNode}, http.StatusConflict}, // the error comes with its code
	} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, tc.peer), http.MethodPost, "/rpc/turn?tenant=acme&node=b", http.NoBody)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%+v: %d, want %d: %s", tc.peer, w.Code, tc.status, w.Body)
		}
	}
}
