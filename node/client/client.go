package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// ErrNoNode means that nobody answers at the socket.
var ErrNoNode = errors.New("no ozmo node is running on this data directory")

// Refusal is a node's answer that it does not, or cannot, do what was asked. It
// wraps api.ErrBadRequest or api.ErrUnavailable where it is one of these.
type Refusal struct {
	Status  int    // of HTTP
	Detail  string // the node's words
	Request string // id of the request, in the node's log; empty where it has none
	Type    string // of the problem, where it has one of its own: v1.TypeOverQuota

	Wait    time.Duration // before the next try, where there may be one
	Changes bool          // what was asked for was to change something
}

// Error is what the node said, and for what its log tells more of, the request's id.
func (r *Refusal) Error() string {
	if r.Status >= http.StatusInternalServerError && r.Request != "" {
		return fmt.Sprintf("%s (request %s)", r.Detail, r.Request)
	}
	return r.Detail
}

// Unwrap is the kind of refusal.
func (r *Refusal) Unwrap() error {
	switch r.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return api.ErrBadRequest
	case http.StatusServiceUnavailable:
		return api.ErrUnavailable
	}
	return nil
}

// Client calls one node.
type Client struct {
	dir    string
	port   *port   // the cluster port; nil: another way
	remote *remote // the public port; nil: another way
	http   *http.Client
}

// New makes a client for the node of a data directory.
func New(dataDir string) *Client {
	socket := filepath.Join(dataDir, "ozmo.sock")
	return &Client{dir: dataDir, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	return c.send(ctx, method, path, query, nil)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	return c.sendWith(ctx, method, path, query, nil, body)
}

// sendWith asks with further headers. The path is escaped.
func (c *Client) sendWith(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader) (*http.Response, error) {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "http", Host: "node", Path: plain, RawPath: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := c.http.Do(req)
	switch {
	case err != nil && (c.port != nil || c.remote != nil):
		if wrapped, ok := err.(*url.Error); ok { //nolint:errorlint // only the outermost, which names a URL that nobody has asked for
			err = wrapped.Err
		}
		return nil, err
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s): start `ozmo serve`, or give its directory with --data", ErrNoNode, c.dir)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the node's socket in %s is another user's: run this as the user the node runs as, for example with sudo -u", c.dir)
	case errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("the path of the node's socket in %s is too long for this system: give a shorter path to the same directory with --data", c.dir)
	case err != nil:
		return nil, err
	case resp.StatusCode/100 == 2:
		return resp, nil
	}
	defer resp.Body.Close()
	r := refusal(resp)
	r.Changes = method != http.MethodGet
	if c.remote == nil && r.Detail == v1.NothingForKey {
		r.Detail = "not found" // nobody has asked with a key
	}
	return nil, r
}

// refusal is what an answer that is none says.
func refusal(resp *http.Response) *Refusal {
	r := &Refusal{Status: resp.StatusCode, Request: resp.Header.Get(requestHeader)}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		r.Wait = time.Duration(seconds) * time.Second
	}
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
		Errors []struct {
			Message, Location string
		} `json:"errors"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // what came is shown
	if json.Unmarshal(text, &p) == nil && p.Detail != "" {
		for _, e := range p.Errors {
			p.Detail += "\n  " + e.Location + ": " + e.Message
		}
		r.Type, r.Detail = p.Type, p.Detail
		return r
	}
	r.Detail = fmt.Sprintf("the node answered %s: %s", resp.Status, plainText(string(text)))
	return r
}

// plainText is what may be shown of an answer that is none of a node's, but of a proxy's:
// on one line, and no more than that.
func plainText(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }), " ")
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200]) + "…"
	}
	return s
}

const requestHeader = "X-Request-Id"

// Where names whom this client asks: "node of DIR", "node HOST:PORT", "server URL".
func (c *Client) Where() string {
	if c.remote != nil {
		return "server " + c.remote.where()
	}
	if c.port != nil {
		return c.port.where()
	}
	return "node of " + c.dir
}

func get[T any](ctx context.Context, c *Client, method, path string, query url.Values) (v T, err error) {
	resp, err := c.do(ctx, method, path, query)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&v)
	return v, err
}

// Status asks how the node is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Reload has the node read its folder again.
func (c *Client) Reload(ctx context.Context) (api.Reloaded, error) {
	return get[api.Reloaded](ctx, c, http.MethodPost, "/v1/reload", nil)
}

func heights(tenant, network string, from, to uint64) url.Values {
	return url.Values{
		"tenant": {tenant}, "network": {network},
		"from": {strconv.FormatUint(from, 10)}, "to": {strconv.FormatUint(to, 10)},
	}
}

// Coverage asks what was judged; to 0 means up to the head.
func (c *Client) Coverage(ctx context.Context, tenant, network string, from, to uint64) (api.Coverage, error) {
	return get[api.Coverage](ctx, c, http.MethodGet, "/v1/coverage", heights(tenant, network, from, to))
}

// Verify has a range judged again.
func (c *Client) Verify(ctx context.Context, tenant, network string, from, to uint64, progress func(api.Progress)) (*api.Verification, error) {
	resp, err := c.do(ctx, http.MethodPost, "/v1/coverage/verify", heights(tenant, network, from, to))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	dec := json.NewDecoder(lines)
	for {
		var e api.Event
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("the node's answer broke off: %w", err)
		}
		switch {
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Result != nil:
			return e.Result, nil
		case e.Progress != nil && progress != nil:
			progress(*e.Progress)
		}
	}
}
