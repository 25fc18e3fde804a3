package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Server is the public port of a cluster, with who asks.
type Server struct {
	URL string // https://ozmo.example.net, or with a path where a proxy wants one
	Key string // what the bearer of an API key sends
	CA  []byte // PEM; nil: the system's
	// Insecure lets the key go over plain HTTP to another machine.
	Insecure bool
}

// ErrServer: the address of a server cannot be used.
var ErrServer = errors.New("this is no address of a server")

// CheckServer reads the address of a server. Plain HTTP is for this machine alone,
// unless that is waived: whoever sees the traffic has the key.
func CheckServer(text string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w: want one like https://ozmo.example.net", ErrServer) // it is not shown: it may hold a password
	case u.User != nil:
		return nil, fmt.Errorf("%w: it holds a name or password; the key is given apart, with --key-file or OZMO_KEY", ErrServer)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: leave out what begins with ? or #", ErrServer)
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%w: http://%s would send the key in clear over the network: use https, or give --insecure-http where the way is safe", ErrServer, u.Host)
	}
	return u, nil
}

func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// remote is the way to the public port of a cluster.
type remote struct {
	base  *url.URL
	key   string
	inner *http.Transport
}

// Remote makes a client that asks a server with a key.
func Remote(s Server) (*Client, error) {
	base, err := CheckServer(s.URL, s.Insecure)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	inner := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
	}
	if s.CA != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(s.CA) {
			return nil, errors.New("the file of certificate authorities holds no certificate in PEM form")
		}
		inner.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	r := &remote{base: base, key: s.Key, inner: inner}
	return &Client{remote: r, http: &http.Client{
		Transport: r,
		// A key goes where it was meant to go, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets go of the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CloseIdleConnections lets http.Client do so.
func (r *remote) CloseIdleConnections() { r.inner.CloseIdleConnections() }

// RoundTrip sends a request to the server, with the key.
func (r *remote) RoundTrip(req *http.Request) (*http.Response, error) {
	next := req.Clone(req.Context())
	next.URL.Scheme, next.URL.Host, next.Host = r.base.Scheme, r.base.Host, ""
	if prefix := strings.TrimSuffix(r.base.Path, "/"); prefix != "" {
		next.URL.RawPath = strings.TrimSuffix(r.base.EscapedPath(), "/") + req.URL.EscapedPath()
		next.URL.Path = prefix + req.URL.Path
	}
	if r.key != "" {
		next.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := r.inner.RoundTrip(next)
	if err != nil {
		return nil, fmt.Errorf("the server %s cannot be reached: %w", r.where(), err)
	}
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		resp.Body.Close()
		return nil, fmt.Errorf("the server %s sends its callers elsewhere (%s): give the address it means with --server, or in the context", r.where(), resp.Status)
	}
	return resp, nil
}

func (r *remote) where() string { return r.base.Scheme + "://" + r.base.Host }
