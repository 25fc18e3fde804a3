package proc

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// TestPostgresServe has a node keep tenants' documents in PostgreSQL, moves them out
// and back, and kills the database under it.
func TestPostgresServe(t *testing.T) {
	db := postgres.Start(t)
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", blockTime.String(), "--rate", "10")
	receiver := NewReceiver(t)
	n := NewNode(t, dir)
	n.Folder = Folder{}
	url := filepath.Join(dir, "postgres.url")
	if err := os.WriteFile(url, []byte(db.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Start(t, "--postgres-url-file", url)
	Eventually(t, "the node's readiness", n.Ready)
	operator := operatorOf(t, n)
	operator.must(t, "PUT", "/v1/configuration", Doc{"networks": Doc{benchNetwork: Network(benchNetwork, chain.ChainID, 1, chain.RPC, chain.WS)}}, nil)
	tenant := func(monitor string) Doc {
		return Doc{
			"triggers": Webhooks("receiver", receiver.URL+"/acme", receiver.Secret),
			"monitors": Doc{"m": Monitor(monitor, benchNetwork, chain.Token, "receiver", Event("value > 0"))},
		}
	}
	operator.must(t, "PUT", "/v1/tenants/acme/configuration?create=true", tenant("first"), nil)
	alerts := func(when string) {
		t.Helper()
		before := len(receiver.Deliveries(t))
		Eventually(t, "alerts "+when, func(context.Context) error {
			if len(receiver.Deliveries(t)) < before+3 {
				return errors.New("too few came")
			}
			return nil
		})
	}
	alerts("at first")
	for _, to := range []string{"postgres", "embedded", "postgres"} {
		if _, err := n.Client().Migrate(t.Context(), api.Migration{Tenant: "acme", To: to}); err != nil {
			t.Fatal(err)
		}
		alerts("after the move to " + to)
	}
	if got := db.Query("select count(*) from ozmo.contents"); got == "0" {
		t.Error("PostgreSQL has no documents")
	}

	db.Kill()
	alerts("while the database is away")
	err := operator.do(t.Context(), http.MethodPut, "/v1/tenants/acme/configuration", tenant("second"), nil)
	if err == nil || !strings.Contains(err.Error(), ": 503 ") {
		t.Errorf("a change was answered with %v, want status 503", err)
	}
	db.Start()
	Eventually(t, "the change", func(ctx context.Context) error {
		return operator.do(ctx, http.MethodPut, "/v1/tenants/acme/configuration", tenant("second"), nil)
	})
	alerts("after the change")
	n.Terminate(t, Patience)
}
