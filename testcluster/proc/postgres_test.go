package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

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
	n.Start(t, "--tenant-store", "postgres", "--postgres-url-file", url)
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
	for _, to := range []string{"embedded", "postgres"} {
		if code := Start(t, n.Log, "ozmo", "tenant", "migrate", "--data", n.Data, "--to", to, "--tenant", "acme").Exit(t, Patience); code != 0 {
			t.Fatalf("the move to %s ended with exit code %d", to, code)
		}
		alerts("after the move to " + to)
	}
	if got := db.Query("select count(*) from ozmo.contents"); got == "0" {
		t.Error("PostgreSQL has no documents")
	}

	db.Kill()
	alerts("while the database is away")
	body, err := json.Marshal(tenant("second"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, operator.base+"/v1/tenants/acme/configuration", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+operator.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := operator.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a change was answered with %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	db.Start()
	Eventually(t, "the change", func(ctx context.Context) error {
		return operator.do(ctx, http.MethodPut, "/v1/tenants/acme/configuration", tenant("second"), nil)
	})
	alerts("after the change")
	n.Terminate(t, Patience)
}
