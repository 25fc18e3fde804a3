package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxRequest bounds the body of a request that is one JSON object.
const maxRequest = 1 << 20

// PathMigrate is where tenants' documents are moved to another store.
const PathMigrate = "/v1/tenants/migrate"

// clusterRoutes are the operator's commands on the cluster.
func clusterRoutes(mux *http.ServeMux, op Cluster) {
	mux.HandleFunc("POST /v1/join", func(w http.ResponseWriter, r *http.Request) { join(w, r, op) })
	mux.HandleFunc("POST "+PathTokens, func(w http.ResponseWriter, r *http.Request) {
		ttl, err := time.ParseDuration(r.URL.Query().Get("ttl"))
		if err != nil || ttl <= 0 {
			answer(w, nil, fmt.Errorf("%w: ttl %q: want a duration like 1h", ErrBadRequest, r.URL.Query().Get("ttl")))
			return
		}
		t, err := op.CreateToken(r.Context(), ttl)
		answer(w, t, err)
	})
	mux.HandleFunc("POST /v1/nodes/{name}/drain", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, op.DrainNode(r.Context(), r.PathValue("name"), true))
	})
	mux.HandleFunc("DELETE /v1/nodes/{name}/drain", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, op.DrainNode(r.Context(), r.PathValue("name"), false))
	})
	mux.HandleFunc("DELETE /v1/nodes/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, op.RemoveNode(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/leases/move", func(w http.ResponseWriter, r *http.Request) {
		var m LeaseMove
		if read(w, r, &m) {
			answer(w, struct{}{}, op.MoveLease(r.Context(), m))
		}
	})
	mux.HandleFunc("POST /v1/tenants/place", func(w http.ResponseWriter, r *http.Request) {
		var p Placement
		if read(w, r, &p) {
			answer(w, struct{}{}, op.PlaceTenant(r.Context(), p))
		}
	})
	mux.HandleFunc("POST "+PathMigrate, func(w http.ResponseWriter, r *http.Request) {
		var m Migration
		if read(w, r, &m) {
			done, err := op.Migrate(r.Context(), m)
			answer(w, done, err)
		}
	})
	mux.HandleFunc("POST /v1/rebalance", func(w http.ResponseWriter, r *http.Request) {
		dry, err := strconv.ParseBool(r.URL.Query().Get("dry_run"))
		if err != nil {
			answer(w, nil, fmt.Errorf("%w: dry_run: want true or false", ErrBadRequest))
			return
		}
		done, err := op.Rebalance(r.Context(), dry)
		answer(w, done, err)
	})
	mux.HandleFunc("GET /v1/keyring", func(w http.ResponseWriter, r *http.Request) {
		k, err := op.Keyring(r.Context())
		answer(w, k, err)
	})
	mux.HandleFunc("POST /v1/keyring/{change}", func(w http.ResponseWriter, r *http.Request) {
		k, err := op.ChangeKeyring(r.Context(), r.PathValue("change"), r.URL.Query().Get("key"))
		answer(w, k, err)
	})
	mux.HandleFunc("GET /v1/backup", func(w http.ResponseWriter, r *http.Request) { backup(w, r, op) })
	mux.HandleFunc("POST /v1/restore", func(w http.ResponseWriter, r *http.Request) {
		incomplete, err := strconv.ParseBool(cmp.Or(r.URL.Query().Get("incomplete"), "false"))
		if err != nil {
			answer(w, nil, fmt.Errorf("%w: incomplete: want true or false", ErrBadRequest))
			return
		}
		done, err := op.Restore(r.Context(), r.Body, incomplete)
		answer(w, done, err)
	})
}

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", ErrBadRequest, err))
		return false
	}
	return true
}

// join streams its steps, one JSON object a line.
func join(w http.ResponseWriter, r *http.Request, op Cluster) {
	var j Join
	if !read(w, r, &j) {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	say := func(e JoinEvent) {
		_ = enc.Encode(e) // the peer is gone: its context ends the work
		_ = flush.Flush()
	}
	done, err := op.Join(r.Context(), j, func(step string) { say(JoinEvent{Step: step}) })
	if err != nil {
		say(JoinEvent{Error: err.Error()})
		return
	}
	say(JoinEvent{Result: done})
}

// backup streams an archive. An error after its beginning cuts the connection,
// so that nobody takes half an archive for a whole one.
func backup(w http.ResponseWriter, r *http.Request, op Cluster) {
	out := &started{ResponseWriter: w}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := op.Backup(r.Context(), out, r.URL.Query().Get("stale") == "true"); err != nil {
		if out.begun {
			panic(http.ErrAbortHandler)
		}
		answer(w, nil, err)
	}
}

type started struct {
	http.ResponseWriter
	begun bool
}

func (s *started) Write(b []byte) (int, error) {
	s.begun = true
	return s.ResponseWriter.Write(b)
}
