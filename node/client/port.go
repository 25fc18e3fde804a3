package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// ErrUnreached: no node has answered at the cluster port.
var ErrUnreached = errors.New("no node can be reached")

const (
	pingPatience = 8 * time.Second // for a node to say that it is there
	frozenAfter  = 5 * time.Second // without a word of a connection, twice
)

// Port makes a client that asks nodes over their cluster port, as the operator
// whose credentials are in a file (package pki). A node is named by its name, as in
// that file, or by HOST:PORT; empty: the nodes of the file in turn, until one
// answers. The file is read at the first question, whose error tells what is wrong
// with it; warn is told what should be seen by people.
func Port(file, node string, warn func(string)) *Client {
	p := &port{file: file, node: node, warn: warn}
	return &Client{port: p, http: &http.Client{Transport: p}}
}

// port is the way to nodes over their cluster port.
type port struct {
	file, node string
	warn       func(string)

	mu       sync.Mutex
	operator *pki.Operator
	inner    *http.Transport
	address  string // of the node that has answered
}

// RoundTrip asks the node that answers.
func (p *port) RoundTrip(req *http.Request) (*http.Response, error) {
	inner, address, err := p.open(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as a RoundTripper has to
		}
		return nil, err
	}
	next := req.Clone(req.Context())
	next.URL.Host = address
	resp, err := inner.RoundTrip(next)
	if err != nil {
		return nil, p.explain(address, err)
	}
	return resp, nil
}

// open finds a node that answers. It is asked something that does nothing first,
// so that what is to be done is never said to two of them.
func (p *port) open(ctx context.Context) (*http.Transport, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address != "" {
		return p.inner, p.address, nil
	}
	if p.operator == nil {
		if err := p.load(); err != nil {
			return nil, "", err
		}
	}
	addresses, err := p.addresses()
	if err != nil {
		return nil, "", err
	}
	var failed []error
	for _, address := range addresses {
		err := p.ping(ctx, address)
		if err == nil {
			p.address = address
			return p.inner, address, nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		failed = append(failed, err)
	}
	if len(failed) == 1 {
		return nil, "", failed[0]
	}
	return nil, "", fmt.Errorf("%w of cluster %q:\n%w", ErrUnreached, p.operator.Cluster, errors.Join(failed...))
}

func (p *port) load() error {
	o, problems, err := pki.ReadOperator(p.file)
	if err != nil {
		return err
	}
	config, err := o.ClientConfig()
	if err != nil {
		return err
	}
	for _, text := range problems {
		p.warn(text)
	}
	dialer := mux.Dialer{TLS: config, Cluster: o.Cluster}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // TLS is below
	p.operator = o
	p.inner = &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialTag(ctx, mux.RPC, address)
		},
		HTTP2: &http.HTTP2Config{SendPingTimeout: frozenAfter, PingTimeout: frozenAfter},
	}
	return nil
}

// addresses are those to try, in order.
func (p *port) addresses() ([]string, error) {
	switch {
	case p.node == "":
		var out []string
		for _, name := range slices.Sorted(maps.Keys(p.operator.Peers)) {
			out = append(out, p.operator.Peers[name])
		}
		return out, nil
	case p.operator.Peers[p.node] != "":
		return []string{p.operator.Peers[p.node]}, nil
	}
	if _, _, err := net.SplitHostPort(p.node); err != nil {
		return nil, fmt.Errorf("node %q is neither HOST:PORT nor one of the nodes in %s: %s", p.node, p.file, strings.Join(slices.Sorted(maps.Keys(p.operator.Peers)), ", "))
	}
	return []string{p.node}, nil
}

// ping asks whether a node is there and takes these credentials.
func (p *port) ping(ctx context.Context, address string) error {
	limited, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	u := url.URL{Scheme: "http", Host: address, Path: api.PathPing}
	req, err := http.NewRequestWithContext(limited, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := p.inner.RoundTrip(req)
	if err != nil {
		return p.explain(address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection serves again
	return nil
}

// explain says what is wrong between this operator and a node.
func (p *port) explain(address string, err error) error {
	who := fmt.Sprintf("the node at %s", address)
	o := p.operator
	if op, ok := err.(*net.OpError); ok && op.Op == "dial" && op.Addr == nil { //nolint:errorlint // only the outermost
		err = op.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, pki.ErrOtherCluster):
		return fmt.Errorf("%w; the credentials in %s are for cluster %q", err, p.file, o.Cluster)
	case errors.Is(err, pki.ErrOtherCA):
		return fmt.Errorf("%w; the credentials in %s are for another cluster of the name %q, or older than its CA: have new ones made with `ozmo operator issue`", err, p.file, o.Cluster)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return fmt.Errorf("%s refuses the certificate of operator %q of cluster %q, valid until %s; its log says why (%w)",
			who, o.Name, o.Cluster, o.Expires().UTC().Format(time.DateOnly), err)
	}
	text := err.Error()
	switch {
	case strings.HasPrefix(text, who):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s does not answer (%w)", who, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s ended the connection: it may refuse the certificate of operator %q, and its log says why then; or it is stopping, or not part of its cluster yet (%w)", who, o.Name, err)
	}
	return fmt.Errorf("%s cannot be reached: %w", who, err)
}

// where names whom a client asks, for people.
func (p *port) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if node := cmp.Or(p.address, p.node); node != "" {
		return "node " + node
	}
	return "cluster of " + p.file
}
