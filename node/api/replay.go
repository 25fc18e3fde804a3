package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Replayer judges the past again and delivers what was never delivered.
type Replayer interface {
	Replay(ctx context.Context, r Replay, progress func(Progress), match func(ReplayMatch)) (*Replayed, error)
}

// Replay asks for a range of the past to be judged with a tenant's monitor as it
// is now.
type Replay struct {
	Tenant  string `json:"tenant"`
	Monitor string `json:"monitor"` // id
	Network string `json:"network"` // as the monitor calls it, or its key
	From    uint64 `json:"from"`    // heights, both included
	To      uint64 `json:"to"`
	// Send delivers what was never delivered; without, nothing is written.
	Send bool `json:"send"`
	// IncludeUnknown delivers also where nobody knows any more.
	IncludeUnknown bool `json:"include_unknown"`
}

// Query is the request's form in a URL, where a node sees it that passes it on.
func (r Replay) Query() url.Values {
	return url.Values{
		"tenant": {r.Tenant}, "monitor": {r.Monitor}, "network": {r.Network},
		"from": {strconv.FormatUint(r.From, 10)}, "to": {strconv.FormatUint(r.To, 10)},
		"send": {strconv.FormatBool(r.Send)}, "include_unknown": {strconv.FormatBool(r.IncludeUnknown)},
	}
}

// ReadReplay reads the form of Query; errors wrap ErrBadRequest.
func ReadReplay(q url.Values) (Replay, error) {
	r := Replay{Tenant: q.Get("tenant"), Monitor: q.Get("monitor"), Network: q.Get("network")}
	for name, value := range map[string]string{"tenant": r.Tenant, "monitor": r.Monitor, "network": r.Network} {
		if value == "" {
			return r, fmt.Errorf("%w: %s is required", ErrBadRequest, name)
		}
	}
	for name, to := range map[string]*uint64{"from": &r.From, "to": &r.To} {
		n, err := strconv.ParseUint(q.Get(name), 10, 64)
		if err != nil {
			return r, fmt.Errorf("%w: %s=%q is no block height", ErrBadRequest, name, q.Get(name))
		}
		*to = n
	}
	for name, to := range map[string]*bool{"send": &r.Send, "include_unknown": &r.IncludeUnknown} {
		if q.Get(name) == "" {
			continue
		}
		b, err := strconv.ParseBool(q.Get(name))
		if err != nil {
			return r, fmt.Errorf("%w: %s=%q: want true or false", ErrBadRequest, name, q.Get(name))
		}
		*to = b
	}
	return r, nil
}

// Before is whether a delivery was made, or given up, before a replay.
type Before string

// What is known of a delivery.
const (
	BeforeYes     Before = "yes"
	BeforeNo      Before = "no"
	BeforePending Before = "pending" // the cluster is about to judge the block itself
	BeforeUnknown Before = "unknown" // who could tell has forgotten, or does not answer
)

// ReplayMatch is a match of a block that was judged again.
type ReplayMatch struct {
	Height      uint64           `json:"height"`
	Block       string           `json:"block"` // hash
	Transaction string           `json:"transaction"`
	Alert       string           `json:"alert"` // id
	Deliveries  []ReplayDelivery `json:"deliveries"`
}

// ReplayDelivery is what is known, and was done, of one delivery of a match.
type ReplayDelivery struct {
	Trigger string `json:"trigger"`
	Key     string `json:"key"`
	Before  Before `json:"delivered_before"`
	How     string `json:"how"`  // that is known
	Sent    bool   `json:"sent"` // it was put into the outbox now
	Dead    bool   `json:"dead"` // it did not fit there, and is a dead letter now
}

// Replayed is the result of a replay.
type Replayed struct {
	Replay
	Key        string `json:"network_key"`
	Version    uint64 `json:"version"` // of the tenant's configuration
	Blocks     uint64 `json:"blocks"`
	Matches    int    `json:"matches"`
	Deliveries int    `json:"deliveries"`
	Before     int    `json:"delivered_before"`
	New        int    `json:"new"`
	Pending    int    `json:"pending"`
	Unknown    int    `json:"unknown"`
	Sent       int    `json:"sent"` // put into the outbox now
	Dead       int    `json:"dead"` // did not fit there, and are dead letters now
	// Silent are nodes whose journals could not be asked.
	Silent []string `json:"silent,omitempty"`
}

// HeldBack is how many deliveries that were not known to be made are not sent, or
// would not be.
func (r *Replayed) HeldBack() int {
	if r.IncludeUnknown {
		return r.Pending
	}
	return r.Pending + r.Unknown
}

// ReplayEvent is one line of a streamed answer: progress and matches, then the
// result or an error.
type ReplayEvent struct {
	Progress *Progress    `json:"progress,omitempty"`
	Match    *ReplayMatch `json:"match,omitempty"`
	Result   *Replayed    `json:"result,omitempty"`
	Error    string       `json:"error,omitempty"`
}

// replayRoutes are those of a Replayer.
func replayRoutes(mux *http.ServeMux, op Replayer) {
	mux.HandleFunc("POST /v1/replay", func(w http.ResponseWriter, r *http.Request) {
		q, err := ReadReplay(r.URL.Query())
		if err != nil {
			answer(w, nil, err)
			return
		}
		serveReplay(w, r, op, q)
	})
}

// serveReplay streams, one JSON object a line. What keeps a replay from beginning
// is answered as a problem.
func serveReplay(w http.ResponseWriter, r *http.Request, op Replayer, q Replay) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	begun, said := false, time.Time{}
	say := func(e ReplayEvent) {
		begun = true
		_ = enc.Encode(e) // the peer is gone: its context ends the work
		if now := time.Now(); now.Sub(said) > 100*time.Millisecond || e.Progress == nil && e.Match == nil {
			said = now
			_ = flush.Flush()
		}
	}
	told := time.Time{}
	result, err := op.Replay(r.Context(), q, func(p Progress) {
		if now := time.Now(); now.Sub(told) > 100*time.Millisecond {
			told = now
			say(ReplayEvent{Progress: &p})
		}
	}, func(m ReplayMatch) { say(ReplayEvent{Match: &m}) })
	switch {
	case err != nil && !begun:
		answer(w, nil, err)
	case err != nil:
		say(ReplayEvent{Error: err.Error()})
	default:
		say(ReplayEvent{Result: result})
	}
}
