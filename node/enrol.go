package node

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// enrolment is what a new node asks with its token. Its private key stays with it.
type enrolment struct {
	Node    string `json:"node"`
	Token   string `json:"token"`
	Cluster string `json:"cluster,omitempty"` // that it wants to be of; empty: whichever it is
	Request []byte `json:"request,omitempty"` // for a certificate, PEM; none: it has one
	Cert    []byte `json:"cert,omitempty"`    // the one it has, PEM
	Nonce   string `json:"nonce,omitempty"`   // what nobody else knows, where there is no Request
}

// requestHash tells the same request from another, so that a node whose answer was
// lost may ask again. Zero where nothing tells them apart.
func (e enrolment) requestHash() fsm.Hash {
	switch {
	case len(e.Request) > 0:
		return sha256.Sum256(e.Request)
	case e.Nonce != "":
		return sha256.Sum256([]byte(e.Nonce))
	}
	return fsm.Hash{}
}

// asked is the request that was made last. It is made once for a token: another
// one would be refused where the answer to the first was lost.
type asked struct {
	token string
	enrolment
	key crypto.Signer // of the certificate asked for; nil: none is
}

// requestFor is the request that goes with a token.
func (n *Node) requestFor(token pki.Token) (*asked, error) {
	if a := n.asked; a != nil && a.token == token.ID && a.Node == n.opts.Name {
		return a, nil
	}
	a := &asked{token: token.ID, enrolment: enrolment{Node: n.opts.Name, Token: token.Reveal(), Cluster: n.opts.asked}}
	if n.opts.Insecure || n.opts.TLSCert != "" {
		a.Nonce = rand.Text()
	} else {
		var err error
		if a.key, err = pki.NewKey(); err != nil {
			return nil, err
		}
		if a.Request, err = pki.NewRequest(n.opts.Name, a.key); err != nil {
			return nil, err
		}
	}
	n.asked = a
	return a, nil
}

// enrolled is what it gets: everything that makes it a node of the cluster.
type enrolled struct {
	Cluster    string            `json:"cluster"`
	Insecure   bool              `json:"insecure,omitempty"`
	CA         []byte            `json:"ca,omitempty"`
	Cert       []byte            `json:"cert,omitempty"`
	GossipKeys [][]byte          `json:"gossip_keys,omitempty"`
	SealingKey []byte            `json:"sealing_key"`
	Peers      map[string]string `json:"peers"`
}

const (
	// maxEnrolment bounds what an unknown peer may send, enrolTimeout how long it
	// may take.
	maxEnrolment = 64 << 10
	maxEnrolling = 64 // connections of those who have no certificate
	enrolTimeout = 30 * time.Second
)

// serveEnrolment answers on streams that need no certificate: nothing else is
// reachable there.
func (n *Node) serveEnrolment(l net.Listener) {
	refusals := rate.NewLimiter(1, 5) // anybody may be refused as often as they like
	routes := http.NewServeMux()
	routes.HandleFunc("POST /enrol", func(w http.ResponseWriter, r *http.Request) {
		var e enrolment
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEnrolment)).Decode(&e); err != nil {
			fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), enrolTimeout)
		defer cancel()
		answer, err := n.enrol(ctx, e)
		if err != nil {
			if refusals.Allow() {
				n.log.Warn("a node was not let in", "name", e.Node, "address", r.RemoteAddr, "error", err)
			}
			fail(w, err)
			return
		}
		n.log.Info("a node was let in", "name", e.Node, "address", r.RemoteAddr)
		reply(w, answer)
	})
	n.serve(netutil.LimitListener(l, maxEnrolling), &http.Server{
		Handler: routes, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: enrolTimeout, WriteTimeout: 2 * enrolTimeout,
		MaxHeaderBytes: 8 << 10,
	})
}

// enrol lets a node in that has a token.
func (n *Node) enrol(ctx context.Context, e enrolment) (*enrolled, error) {
	group := n.groupNow()
	if group == nil {
		return nil, fmt.Errorf("%w: %w", api.ErrUnavailable, errNotMember)
	}
	if !nodeName.MatchString(e.Node) {
		return nil, fmt.Errorf("%w: node name %q", api.ErrBadRequest, e.Node)
	}
	token, err := pki.ParseToken(e.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	if err := n.caughtUp(ctx); err != nil {
		return nil, err
	}
	v := n.state.View()
	// Whoever comes without a good token is told nothing, and costs no entry of
	// the log.
	if err := checkToken(v, token, e, time.Now()); err != nil {
		return nil, err
	}
	if err := n.nameFree(v, e.Node, ""); err != nil {
		return nil, err
	}
	c := v.Cluster()
	if e.Cluster != "" && e.Cluster != c.Name {
		return nil, fmt.Errorf("%w: this is cluster %q, and node %q was started with --cluster %s: leave that out, or join the other cluster", api.ErrRefused, c.Name, e.Node, e.Cluster)
	}
	if len(e.Cert) > 0 && n.credentials != nil {
		if err := n.credentials.CheckNode(e.Cert, e.Node); err != nil {
			return nil, fmt.Errorf("%w: %w", api.ErrRefused, pki.About(fmt.Sprintf("node %q", e.Node), err))
		}
	}
	answer := &enrolled{Cluster: c.Name, Insecure: n.opts.Insecure, CA: c.CA, Peers: map[string]string{}}
	if answer.GossipKeys, err = openKeys(c, n.keeper); err != nil {
		return nil, err
	}
	key, err := secrets.LoadKey(n.opts.DataDir)
	if err != nil {
		return nil, err
	}
	answer.SealingKey = key[:]
	for peer := range v.Nodes() {
		answer.Peers[peer.Name] = peer.Address
	}
	if len(e.Request) > 0 {
		if answer.Cert, err = n.certify(c, e); err != nil {
			return nil, err
		}
	}
	// Last, so that what fails before leaves the token usable.
	_, err = group.Propose(ctx, &fsm.UseToken{ID: token.ID, Hash: token.Hash(), Node: e.Node, Request: e.requestHash(), At: time.Now().UnixMilli()})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// checkToken is what UseToken checks, without using it.
func checkToken(v *fsm.View, token pki.Token, e enrolment, now time.Time) error {
	for t := range v.Tokens() {
		if t.ID == token.ID && t.Hash == fsm.Hash(token.Hash()) {
			return t.Admits(e.Node, e.requestHash(), now.UnixMilli())
		}
	}
	return fsm.ErrTokenUnknown
}

// certify issues the certificate of a new node.
func (n *Node) certify(c fsm.Cluster, e enrolment) ([]byte, error) {
	ca, err := authority(c, n.keeper)
	if err != nil {
		return nil, err
	}
	_, public, err := pki.ParseRequest(e.Request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	return ca.Issue(pki.Grant{Cluster: c.Name, Name: e.Node, Role: pki.RoleNode, Key: public})
}

// nameFree refuses a name that a living node has. A node that comes back with
// an empty disk takes its name over.
func (n *Node) nameFree(v *fsm.View, name, server string) error {
	node, ok := v.Node(name)
	if !ok || node.Server == server {
		return nil
	}
	for _, m := range n.gossip.Members() {
		if m.Name == name && m.Server == node.Server && m.State == gossipAlive {
			return fmt.Errorf("%w: a node named %q is running at %s: give the new one another name with --node, or stop that one first", api.ErrRefused, name, node.Address)
		}
	}
	return nil
}

// Join makes this node, which waits for it, part of a cluster. It returns once
// the node is in the Raft group and has caught up.
func (n *Node) Join(ctx context.Context, j api.Join, step func(string)) (*api.Joined, error) {
	if n.groupNow() != nil || n.isMember.Load() {
		return nil, fmt.Errorf("%w: this node belongs to cluster %q already: to move it, stop it and start it with an empty data directory", api.ErrRefused, n.clusterName())
	}
	if err := checkAddress("address", j.Address); err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	token, err := pki.ParseToken(j.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	if !n.joining.TryLock() {
		return nil, fmt.Errorf("%w: this node is joining a cluster already", api.ErrRefused)
	}
	defer n.joining.Unlock()
	step("enrolling at " + j.Address)
	m, err := n.askEnrolment(ctx, token, j.Address)
	if err != nil {
		return nil, err
	}
	step(fmt.Sprintf("let in to cluster %q; starting", m.Cluster))
	select {
	case n.joined <- m:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return n.awaitJoined(ctx, step)
}

// askEnrolment gets certificate and keys and puts them into the data directory.
func (n *Node) askEnrolment(ctx context.Context, token pki.Token, address string) (*membership, error) {
	if plain := token.Fingerprint == [32]byte{}; plain != n.opts.Insecure {
		return nil, fmt.Errorf("%w: %s", api.ErrRefused, insecureText(plain))
	}
	dialer, err := n.enrolDialer(token)
	if err != nil {
		return nil, err
	}
	asks, err := n.requestFor(token)
	if err != nil {
		return nil, err
	}
	if n.opts.TLSCert != "" { // as it is now: it may have been mended since the last time
		if asks.Cert, err = os.ReadFile(n.opts.TLSCert); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(asks.enrolment)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialTag(ctx, mux.Enrol, address)
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/enrol", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e remoteError
		if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxErrorBody)).Decode(&e); err != nil || e.Detail == "" {
			return nil, fmt.Errorf("enrol at %s: it answered %s: is this the cluster port?", address, resp.Status)
		}
		return nil, fmt.Errorf("%s does not let this node in: %s", address, e.Detail)
	}
	var got enrolled
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxEnrolment*16)).Decode(&got); err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", address, err)
	}
	return n.keepEnrolment(&got, asks.key)
}

// enrolDialer connects to a node of the cluster that made the token, and, with
// certificates of its own, to none that this node would not talk to afterwards.
func (n *Node) enrolDialer(token pki.Token) (mux.Dialer, error) {
	d := mux.Dialer{Dial: n.opts.Network.Dial}
	if n.opts.Insecure {
		return d, nil
	}
	d.TLS = pki.EnrolConfig(token.Fingerprint)
	if n.opts.TLSCert == "" {
		return d, nil
	}
	if err := pki.CheckOwn(n.opts.ownFiles(), n.opts.asked, n.opts.Name, true); err != nil {
		return d, fmt.Errorf("%w: --tls-cert, --tls-key, --tls-ca:\n%w", api.ErrRefused, err)
	}
	var err error
	d.TLS, err = pki.AlsoTrusted(d.TLS, n.opts.TLSCA)
	return d, err
}

// insecureText says that only one side is in plaintext.
func insecureText(cluster bool) string {
	if cluster {
		return "the cluster that made the token is in plaintext, and this node is not: start this node with --insecure, or join a cluster with TLS"
	}
	return "this node is started with --insecure, and the cluster that made the token uses TLS: start this node without --insecure"
}

func (n *Node) keepEnrolment(got *enrolled, key crypto.Signer) (*membership, error) {
	m := &membership{Cluster: got.Cluster, Insecure: got.Insecure, Peers: got.Peers, Keys: got.GossipKeys, dir: n.opts.DataDir}
	if got.Insecure != n.opts.Insecure {
		return nil, errors.New(insecureText(got.Insecure))
	}
	if len(got.SealingKey) != secrets.KeySize {
		return nil, errors.New("the cluster has sent no sealing key")
	}
	if err := secrets.SaveKey(m.dir, secrets.Key(got.SealingKey)); err != nil {
		return nil, err
	}
	if key != nil {
		keyPEM, err := pki.EncodeKey(key)
		if err != nil {
			return nil, err
		}
		if err := m.saveCertificates(got.CA, got.Cert, keyPEM, nil); err != nil {
			return nil, err
		}
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	return m, nil
}

// awaitJoined waits until Start is done.
func (n *Node) awaitJoined(ctx context.Context, step func(string)) (*api.Joined, error) {
	step("waiting to be part of the Raft group and to catch up")
	select {
	case <-n.ready:
	case err := <-n.fatal:
		n.die(err)
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("not in the Raft group yet: %w; the node goes on trying, see `ozmo status`", context.Cause(ctx))
	}
	out := &api.Joined{Cluster: n.clusterName(), Node: n.opts.Name, Raft: api.RaftNone, Index: n.group.Applied()}
	peers, err := n.group.Peers()
	if err != nil {
		return nil, err
	}
	for _, p := range peers {
		if p.ID == serverID(n.opts.Name, n.instance) {
			out.Raft = api.RaftNonvoter
			if p.Voter {
				out.Raft = api.RaftVoter
			}
		}
	}
	return out, nil
}
