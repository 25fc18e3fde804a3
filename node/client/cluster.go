package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// put sends a JSON object and reads another.
func put[T any](ctx context.Context, c *Client, path string, body any) (v T, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return v, err
	}
	resp, err := c.send(ctx, http.MethodPost, path, nil, bytes.NewReader(data))
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&v)
	return v, err
}

type nothing struct{}

// LocalStatus asks only the node itself: what it knows without the leader.
func (c *Client) LocalStatus(ctx context.Context) (api.Status, error) {
	if c.remote != nil {
		return c.Status(ctx) // the public port has no other
	}
	return get[api.Status](ctx, c, http.MethodGet, "/v1/status", url.Values{"local": {"true"}})
}

// Join has the waiting node join a cluster, and tells the steps.
func (c *Client) Join(ctx context.Context, j api.Join, step func(string)) (*api.Joined, error) {
	data, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, http.MethodPost, "/v1/join", nil, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var e api.JoinEvent
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("the node's answer broke off: %w (has it stopped? see its log)", err)
		}
		switch {
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Result != nil:
			return e.Result, nil
		case step != nil:
			step(e.Step)
		}
	}
}

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, ttl time.Duration) (api.Token, error) {
	return get[api.Token](ctx, c, http.MethodPost, "/v1/tokens", url.Values{"ttl": {ttl.String()}})
}

// DrainNode has a node give its work away, or take some again.
func (c *Client) DrainNode(ctx context.Context, name string, drain bool) error {
	method := http.MethodPost
	if !drain {
		method = http.MethodDelete
	}
	_, err := get[nothing](ctx, c, method, "/v1/nodes/"+url.PathEscape(name)+"/drain", nil)
	return err
}

// RemoveNode takes a node out of the cluster.
func (c *Client) RemoveNode(ctx context.Context, name string) error {
	_, err := get[nothing](ctx, c, http.MethodDelete, "/v1/nodes/"+url.PathEscape(name), nil)
	return err
}

// MoveLease gives a network to a node, where it stays.
func (c *Client) MoveLease(ctx context.Context, m api.LeaseMove) error {
	_, err := put[nothing](ctx, c, "/v1/leases/move", m)
	return err
}

// PlaceTenant says where a tenant should be, or what it counts.
func (c *Client) PlaceTenant(ctx context.Context, p api.Placement) error {
	if c.remote != nil {
		return c.placeRemote(ctx, p)
	}
	_, err := put[nothing](ctx, c, "/v1/tenants/place", p)
	return err
}

// Migrate moves a tenant's documents to another store.
func (c *Client) Migrate(ctx context.Context, m api.Migration) (api.Migrated, error) {
	return put[api.Migrated](ctx, c, api.PathMigrate, m)
}

// Rebalance evens the nodes out, or tells what that would move.
func (c *Client) Rebalance(ctx context.Context, dryRun bool) (api.Rebalance, error) {
	return get[api.Rebalance](ctx, c, http.MethodPost, "/v1/rebalance", url.Values{"dry_run": {strconv.FormatBool(dryRun)}})
}

// Keyring asks for the gossip keys.
func (c *Client) Keyring(ctx context.Context) (api.Keyring, error) {
	return get[api.Keyring](ctx, c, http.MethodGet, "/v1/keyring", nil)
}

// ChangeKeyring installs a new gossip key ("install", no id), or has one used
// ("use") or removed ("remove").
func (c *Client) ChangeKeyring(ctx context.Context, change, id string) (api.Keyring, error) {
	return get[api.Keyring](ctx, c, http.MethodPost, "/v1/keyring/"+url.PathEscape(change), url.Values{"key": {id}})
}

// Backup writes an archive of the cluster's state; with stale, of what the node
// has of it, which takes no leader. An error after some bytes leaves an archive
// that Restore refuses.
func (c *Client) Backup(ctx context.Context, w io.Writer, stale bool) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/backup", url.Values{"stale": {strconv.FormatBool(stale)}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the archive broke off: %w", err)
	}
	return nil
}

// Restore puts an archive in the place of the cluster's state. One that points to
// documents that PostgreSQL does not have is refused, unless incomplete.
func (c *Client) Restore(ctx context.Context, r io.Reader, incomplete bool) (api.Restored, error) {
	resp, err := c.send(ctx, http.MethodPost, "/v1/restore", url.Values{"incomplete": {strconv.FormatBool(incomplete)}}, r)
	if err != nil {
		return api.Restored{}, err
	}
	defer resp.Body.Close()
	var done api.Restored
	err = json.NewDecoder(resp.Body).Decode(&done)
	return done, err
}
