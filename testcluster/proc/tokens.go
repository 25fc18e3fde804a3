package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/history"
)

// tokenClients make join tokens at one node and have several would-be nodes use
// each of them at once, at others: what the cluster answers must be
// linearizable. No such node ever starts; see history.CheckTokens.
type tokenClients struct {
	cluster  *Cluster
	recorder *history.Recorder
	request  []byte // for a certificate
	stop     context.CancelFunc
	running  sync.WaitGroup
}

const (
	tokenEvery   = 400 * time.Millisecond
	tokenRivals  = 3
	tokenTimeout = 6 * time.Second
)

func useTokens(t testing.TB, c *Cluster, seed uint64) *tokenClients {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.NewRequest("probe", key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	u := &tokenClients{cluster: c, recorder: history.NewRecorder(), request: request, stop: stop}
	u.running.Go(func() { u.run(ctx, rand.New(rand.NewPCG(seed, 3))) })
	t.Cleanup(u.end)
	return u
}

func (u *tokenClients) end() {
	u.stop()
	u.running.Wait()
}

func (u *tokenClients) run(ctx context.Context, rng *rand.Rand) {
	ticker := time.NewTicker(tokenEvery)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		members := u.cluster.Members
		at := members[rng.IntN(len(members))]
		rivals := make([]*Member, tokenRivals)
		waits := make([]time.Duration, tokenRivals)
		for k := range rivals {
			rivals[k] = members[rng.IntN(len(members))]
			waits[k] = time.Duration(rng.Int64N(int64(20 * time.Millisecond)))
		}
		u.running.Go(func() { u.race(at, rivals, waits, i) })
	}
}

// race makes a token and has the rivals use it. Only a token that was made for
// sure is known; one that may have been is of no use to anybody.
func (u *tokenClients) race(at *Member, rivals []*Member, waits []time.Duration, i int) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	call := u.recorder.Begin()
	made, err := at.client.CreateToken(ctx, time.Hour)
	if err != nil {
		return
	}
	token, err := pki.ParseToken(made.Token)
	if err != nil {
		return
	}
	u.recorder.End(call, history.TokenOp{Token: token.ID, Outcome: history.Done})
	var all sync.WaitGroup
	for k, m := range rivals {
		all.Go(func() {
			<-time.After(waits[k])
			o := history.TokenOp{Token: token.ID, Client: fmt.Sprintf("probe-%d-%d", i, k)}
			call := u.recorder.Begin()
			o.Outcome, o.By = u.use(ctx, m, token, o.Client)
			u.recorder.End(call, o)
		})
	}
	all.Wait()
}

var usedBy = regexp.MustCompile(`used by node "([^"]+)"`)

// use enrols as a node of a name, as `ozmo node join` does.
func (u *tokenClients) use(ctx context.Context, m *Member, token pki.Token, name string) (history.TokenOutcome, string) {
	body, err := json.Marshal(map[string]any{"node": name, "token": token.Reveal(), "request": u.request})
	if err != nil {
		return history.Unsure, ""
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return mux.DialEnrol(ctx, (&net.Dialer{}).DialContext, address, token.Fingerprint)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.Cluster+"/enrol", bytes.NewReader(body))
	if err != nil {
		return history.Unsure, ""
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return history.Unsure, ""
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return history.Done, ""
	}
	var refusal struct{ Code, Detail string }
	if json.NewDecoder(resp.Body).Decode(&refusal) != nil {
		return history.Unsure, ""
	}
	switch refusal.Code {
	case "token-unknown":
		return history.Unknown, ""
	case "token-used":
		if by := usedBy.FindStringSubmatch(refusal.Detail); by != nil {
			if by[1] == name {
				return history.Done, "" // it was proposed again after its answer was lost
			}
			return history.Taken, by[1]
		}
	}
	return history.Unsure, ""
}
