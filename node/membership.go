package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/durable"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// membership is what makes a data directory part of a cluster: cluster.json,
// the gossip keys, the sealing key and, unless the cluster is insecure, the
// folder pki. cluster.json is written last: without it, nothing of it counts.
type membership struct {
	Cluster  string            `json:"cluster"`
	Insecure bool              `json:"insecure,omitempty"`
	Peers    map[string]string `json:"peers,omitempty"` // name -> address, as last known
	Keys     [][]byte          `json:"gossip_keys"`     // the first is in use

	dir string
}

const (
	membershipFile = "cluster.json"
	caKeyFile      = "ca.key"
	gossipKeySize  = 32
)

// errNotMember: the node waits to be told which cluster it belongs to.
var errNotMember = errors.New("this node belongs to no cluster yet: have it join one with `ozmo node join --token TOKEN HOST:7000`, " +
	"or start it with --bootstrap to found one")

// readMembership gives nil where the data directory is of no cluster yet.
func readMembership(dir string) (*membership, error) {
	path := filepath.Join(dir, membershipFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &membership{dir: dir}
	if err := json.Unmarshal(data, m); err != nil || m.Cluster == "" {
		return nil, fmt.Errorf("%s is damaged: restore it, or empty the data directory and join the cluster again", path)
	}
	return m, nil
}

func (m *membership) write() error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(m.dir, membershipFile), data, 0o600)
}

// found makes the keys of a new cluster.
func found(o *Options) (*membership, error) {
	m := &membership{Cluster: o.Cluster, Insecure: o.Insecure, dir: o.DataDir}
	if _, err := secrets.LoadOrCreateKey(o.DataDir); err != nil {
		return nil, err
	}
	if !o.Insecure {
		key := make([]byte, gossipKeySize)
		_, _ = rand.Read(key) // never fails
		m.Keys = [][]byte{key}
	}
	if !o.Insecure && o.TLSCert == "" {
		ca, err := pki.NewCA(o.Cluster)
		if err != nil {
			return nil, err
		}
		caKey, err := ca.KeyPEM()
		if err != nil {
			return nil, err
		}
		key, err := pki.NewKey()
		if err != nil {
			return nil, err
		}
		keyPEM, err := pki.EncodeKey(key)
		if err != nil {
			return nil, err
		}
		cert, err := ca.Issue(pki.Grant{Cluster: o.Cluster, Name: o.Name, Role: pki.RoleNode, Key: key.Public()})
		if err != nil {
			return nil, err
		}
		if err := m.saveCertificates(ca.CertPEM, cert, keyPEM, caKey); err != nil {
			return nil, err
		}
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *membership) saveCertificates(ca, cert, key, caKey []byte) error {
	if len(caKey) > 0 {
		if err := durable.WriteFile(filepath.Join(m.dir, caKeyFile), caKey, 0o600); err != nil {
			return err
		}
	}
	return pki.Material{CA: ca, Cert: cert, Key: key}.Save(m.dir)
}

// fromBundle takes over what `ozmo cluster init` has made for this node.
func fromBundle(o *Options) (*membership, error) {
	b, problems, err := pki.ReadBundle(o.Bundle)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		o.Logger.Warn("bundle", "file", o.Bundle, "problem", p)
	}
	if b.Node != o.Name {
		return nil, fmt.Errorf("the bundle %s is for node %q, this is %q: give this node its own bundle, or its name with --node", o.Bundle, b.Node, o.Name)
	}
	if len(o.Founders) == 1 && len(b.Peers) > 1 {
		return nil, fmt.Errorf("--bootstrap %s: the nodes with bundles found the cluster together: list them all, like --bootstrap %s",
			o.Founders[0], strings.Join(slices.Sorted(maps.Keys(b.Peers)), ","))
	}
	if err := o.checkCluster(b.Cluster, "the bundle "+o.Bundle); err != nil {
		return nil, err
	}
	m := &membership{Cluster: b.Cluster, Insecure: o.Insecure, Peers: b.Peers, Keys: b.GossipKeys, dir: o.DataDir}
	if o.Insecure {
		m.Keys = nil
	}
	if err := secrets.SaveKey(o.DataDir, secrets.Key(b.SealingKey)); err != nil {
		return nil, err
	}
	if o.TLSCert == "" && !o.Insecure {
		if err := m.saveCertificates([]byte(b.CA), []byte(b.Cert), []byte(b.Key), []byte(b.CAKey)); err != nil {
			return nil, err
		}
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	return m, nil
}

// credentials are the certificates that a node presents and trusts.
func (m *membership) credentials(o *Options) (*pki.Credentials, error) {
	if o.TLSCert != "" {
		return pki.Load(o.ownFiles(), m.Cluster, o.Logger)
	}
	return pki.LoadIn(m.dir, m.Cluster, o.Logger)
}

// caContext binds sealed keys to what they are for.
const (
	caContext     = "cluster ca"
	gossipContext = "cluster gossip"
)

// record is the cluster's record as the founding node proposes it.
func (m *membership) record(keeper *secrets.Keeper) (fsm.Cluster, error) {
	c := fsm.Cluster{Name: m.Cluster, ID: strings.ToLower(rand.Text())}
	ca, err := os.ReadFile(pki.FilesIn(m.dir).CA)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c.CA = ca
	key, err := os.ReadFile(filepath.Join(m.dir, caKeyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if len(key) > 0 {
		c.CAKey = []byte(keeper.Seal(string(key), caContext))
	}
	for _, k := range m.Keys {
		c.Keys = append(c.Keys, sealKey(keeper, k))
	}
	return c, nil
}

func sealKey(keeper *secrets.Keeper, key []byte) []byte {
	return []byte(keeper.Seal(string(key), gossipContext))
}

// openKeys are the gossip keys of the cluster's record, the one in use first.
func openKeys(c fsm.Cluster, keeper *secrets.Keeper) ([][]byte, error) {
	out := make([][]byte, len(c.Keys))
	for i, sealed := range c.Keys {
		key, err := keeper.Open(string(sealed), gossipContext)
		if err != nil {
			return nil, fmt.Errorf("gossip key: %w", err)
		}
		out[i] = []byte(key)
	}
	return out, nil
}

// authority is the cluster's CA, with its key.
func authority(c fsm.Cluster, keeper *secrets.Keeper) (*pki.CA, error) {
	if len(c.CAKey) == 0 {
		return nil, errNoAuthority
	}
	key, err := keeper.Open(string(c.CAKey), caContext)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	return pki.ParseCA(c.CA, []byte(key))
}

var errNoAuthority = errors.New("the cluster does not have the key of its CA, so it cannot issue certificates: " +
	"start the new node with a bundle or with certificates of your own")
