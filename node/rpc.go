package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker/backtest"
)

// Node RPC is HTTP/2 over the cluster port. Paths below /rpc/ are for nodes;
// those below /v1/ are the operator's, as on the local socket.

// remoteErrors are the errors that keep their meaning over node RPC.
var remoteErrors = map[string]error{
	"not-leader":    consensus.ErrNotLeader,
	"no-leader":     consensus.ErrNoLeader,
	"uncertain":     consensus.ErrUncertain,
	"gated":         consensus.ErrGated,
	"superseded":    errSuperseded,
	"removed":       fsm.ErrRemoved,
	"not-found":     fsm.ErrNotFound,
	"conflict":      fsm.ErrConflict,
	"too-many":      fsm.ErrTooMany,
	"token-unknown": fsm.ErrTokenUnknown,
	"token-expired": fsm.ErrTokenExpired,
	"token-used":    fsm.ErrTokenUsed,
	"bad-request":   api.ErrBadRequest,
	"refused":       api.ErrRefused,
	"busy":          backtest.ErrBusy,
	"unavailable":   api.ErrUnavailable,
	"no-block":      chain.ErrNotFound,
}

type remoteError struct {
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail"`
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	answer := remoteError{Detail: err.Error()}
	for code, known := range remoteErrors {
		if errors.Is(err, known) {
			answer.Code = code
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusConflict)
	_ = json.NewEncoder(w).Encode(answer) // the peer is gone: nothing to do about it
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the peer is gone: nothing to do about it
}

// rpcTransport connects to other nodes; a peer that is frozen or cut off is
// noticed by its silence.
func rpcTransport(m *mux.Mux) *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // TLS, where there is any, is below
	return &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return m.Dial(ctx, mux.RPC, address)
		},
		HTTP2:           &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second},
		IdleConnTimeout: time.Minute,
	}
}

// call asks another node; out may be nil.
func (n *Node) call(ctx context.Context, address, method, path string, query url.Values, body []byte, out any) error {
	resp, err := n.open(ctx, address, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// errUnreached: the request has not got to the other node.
var errUnreached = errors.New("the node cannot be reached")

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 1 << 16

func (n *Node) open(ctx context.Context, address, method, path string, query url.Values, body []byte) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := n.peers.RoundTrip(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return nil, fmt.Errorf("%w: %w", errUnreached, err)
		}
		return nil, fmt.Errorf("node at %s: %w", address, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e remoteError
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is shown
	if json.Unmarshal(text, &e) != nil || e.Detail == "" {
		return nil, fmt.Errorf("node at %s answered %s: %s", address, resp.Status, text)
	}
	if known := remoteErrors[e.Code]; known != nil {
		return nil, &toldError{known, e.Detail}
	}
	return nil, errors.New(e.Detail)
}

// toldError is a known error with the words of the node that told it.
type toldError struct {
	kind   error
	detail string
}

func (e *toldError) Error() string { return e.detail }

func (e *toldError) Unwrap() error { return e.kind }

type peerKey struct{}

// forStrangers is what a node may ask that is not registered.
var forStrangers = []string{"/rpc/register", "/rpc/founding", "/rpc/standing"}

// rpcHandler is what other nodes, and operators with a certificate, may ask.
func (n *Node) rpcHandler() http.Handler {
	nodes := http.NewServeMux()
	nodes.HandleFunc("POST /rpc/propose", n.servePropose)
	nodes.HandleFunc("GET /rpc/index", n.serveIndex)
	nodes.HandleFunc("POST /rpc/turn", n.serveTurn)
	nodes.HandleFunc("POST /rpc/heartbeat", n.serveHeartbeat)
	nodes.HandleFunc("GET /rpc/block", n.serveBlock)
	nodes.HandleFunc("POST /rpc/alerts", n.serveAlerts)
	nodes.HandleFunc("GET "+pathPast, n.servePast)
	nodes.HandleFunc("POST /rpc/alerts/recent", n.serveRecent)
	nodes.HandleFunc("POST /rpc/alerts/follow", n.serveFollow)
	nodes.HandleFunc("POST /rpc/attempts", n.serveAttempts)
	nodes.HandleFunc("POST /rpc/operate", n.serveOperate)
	nodes.HandleFunc("POST /rpc/held", n.serveHeld)
	nodes.HandleFunc("POST /rpc/usage", n.serveUsage)
	nodes.HandleFunc("GET /rpc/activity", n.serveActivity)
	// What a node asks before it is registered.
	nodes.HandleFunc("POST /rpc/register", n.serveRegister)
	nodes.HandleFunc("GET /rpc/founding", n.serveFounding)
	// And when it is registered no more.
	nodes.HandleFunc("GET /rpc/standing", n.serveStanding)
	all := http.NewServeMux()
	all.HandleFunc("/rpc/", func(w http.ResponseWriter, r *http.Request) {
		if p, _ := r.Context().Value(peerKey{}).(pki.Identity); !n.opts.Insecure && p.Role != pki.RoleNode {
			http.Error(w, "this is for nodes alone", http.StatusForbidden)
			return
		}
		nodes.ServeHTTP(w, r)
	})
	all.Handle("/v1/", n.fromAfar(n.operatorHandler()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, _ := r.Context().Value(peerKey{}).(pki.Identity); p.Role == pki.RoleNode && !n.knows(p.Name) &&
			!slices.Contains(forStrangers, r.URL.Path) {
			http.Error(w, "this node is not part of the cluster, or no longer", http.StatusForbidden)
			return
		}
		all.ServeHTTP(w, r)
	})
}

// knows reports whether a node is registered: a certificate outlives the
// removal of its node.
func (n *Node) knows(name string) bool {
	_, ok := n.state.View().Node(name)
	return ok
}

// serveRPC answers on the cluster port.
func (n *Node) serveRPC(l net.Listener, h http.Handler) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	n.serve(l, &http.Server{
		Handler: h, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, mux.PeerOf(c))
		},
	})
}

// maxEntry bounds a proposal that is forwarded.
const maxEntry = 64 << 20

type indexAnswer struct {
	Index uint64 `json:"index"`
}

func (n *Node) servePropose(w http.ResponseWriter, r *http.Request) {
	entry, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEntry))
	if err != nil {
		fail(w, err)
		return
	}
	group := n.groupNow()
	if group == nil {
		fail(w, consensus.ErrNotLeader)
		return
	}
	index, err := group.ProposeEntry(r.Context(), entry)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, indexAnswer{index})
}

func (n *Node) serveIndex(w http.ResponseWriter, r *http.Request) {
	group := n.groupNow()
	if group == nil {
		fail(w, consensus.ErrNotLeader)
		return
	}
	index, err := group.ReadIndex(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, indexAnswer{index})
}

// forward takes an entry to the leader.
func (n *Node) forward(ctx context.Context, leader consensus.Server, entry []byte) (uint64, error) {
	var answer indexAnswer
	err := n.call(ctx, n.addressOf(leader), http.MethodPost, "/rpc/propose", nil, entry, &answer)
	if errors.Is(err, errUnreached) {
		return 0, fmt.Errorf("%w: %w", consensus.ErrNotLeader, err)
	}
	return answer.Index, err
}

// readIndex asks the leader how far the log is committed.
func (n *Node) readIndex(ctx context.Context, leader consensus.Server) (uint64, error) {
	var answer indexAnswer
	err := n.call(ctx, n.addressOf(leader), http.MethodGet, "/rpc/index", nil, nil, &answer)
	return answer.Index, err
}

// addressOf is where a server is now; its address in the Raft configuration
// may be an old one.
func (n *Node) addressOf(s consensus.Server) string {
	if address, ok := n.locate(s.ID); ok {
		return address
	}
	return s.Address
}

func (n *Node) serveBlock(w http.ResponseWriter, r *http.Request) {
	network := r.URL.Query().Get("network")
	hash, err := fsm.ParseHash(r.URL.Query().Get("hash"))
	if err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	payload, err := n.held.Fetch(r.Context(), network, hash)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(payload)))
	_, _ = w.Write(payload) // the peer is gone: nothing to do about it
}

// maxBlock bounds a block's payload that another node sends.
const maxBlock = 512 << 20

// askHolder gets a block from the node that watches its network.
func (n *Node) askHolder(ctx context.Context, holder, network string, hash fsm.Hash) ([]byte, error) {
	node, ok := n.state.View().Node(holder)
	if !ok {
		return nil, fmt.Errorf("node %q, which watches %s: %w", holder, network, fsm.ErrNotFound)
	}
	query := url.Values{"network": {network}, "hash": {hash.String()}}
	resp, err := n.open(ctx, n.addressOf(consensus.Server{ID: node.Server, Address: node.Address}), http.MethodGet, "/rpc/block", query, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxBlock))
}

func (n *Node) serveActivity(w http.ResponseWriter, _ *http.Request) {
	if w0 := n.worker.Load(); w0 != nil {
		reply(w, w0.Activity())
		return
	}
	reply(w, map[string]float64{})
}

// hopHeader marks a request that another node has passed on.
const hopHeader = "Ozmo-Passed-On"

// actorHeader names who has asked, on such a request.
const actorHeader = "Ozmo-Asked-By"

// errNoWay: nobody can be asked who could answer.
var errNoWay = fmt.Errorf("%w: there is no leader: try again", api.ErrUnavailable)

// toLeader has the leader answer; the leader itself goes on.
func (n *Node) toLeader(w http.ResponseWriter, r *http.Request) (passed bool) {
	group := n.groupNow()
	if group == nil {
		api.Refuse(w, fmt.Errorf("%w: %w", api.ErrUnavailable, errNotMember))
		return true
	}
	if leads, _ := group.Leads(); leads {
		return false
	}
	leader, ok := group.Leader()
	if !ok || r.Header.Get(hopHeader) != "" {
		api.Refuse(w, errNoWay)
		return true
	}
	n.pass(w, r, n.addressOf(leader))
	return true
}

// pass has another node answer a request.
func (n *Node) pass(w http.ResponseWriter, r *http.Request, address string) {
	proxy := &httputil.ReverseProxy{
		Transport: n.peers, FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: address})
			p.Out.Header.Set(hopHeader, n.opts.Name)
			by, _ := operatorOf(r.Context())
			p.Out.Header.Set(actorHeader, by)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			api.Refuse(w, fmt.Errorf("%w: the node at %s: %w", api.ErrUnavailable, address, err))
		},
	}
	proxy.ServeHTTP(w, r)
}
