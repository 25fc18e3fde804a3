package pki

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ozmo-dev/ozmo/node/durable"
)

// BundleFormat is the field "format" of every bundle, its first.
const BundleFormat = "ozmo-bundle-1"

const (
	keySize    = 32      // of gossip and sealing keys made here, in bytes
	bundleSize = 1 << 20 // no bundle is larger
)

// Bundle is everything that one node needs to found a cluster together with
// others: `ozmo cluster init` makes one for each. It holds the cluster's
// secrets; printing it shows none.
type Bundle struct {
	Cluster    string            `json:"cluster"`          // its name
	Node       string            `json:"node"`             // whose bundle this is
	CA         string            `json:"ca"`               // PEM
	CAKey      string            `json:"ca_key,omitempty"` // PEM; without it the cluster cannot issue certificates
	Cert       string            `json:"cert"`             // of the node, PEM
	Key        string            `json:"key"`              // PEM
	GossipKeys [][]byte          `json:"gossip_keys"`      // 16, 24 or 32 bytes each; the first encrypts
	SealingKey []byte            `json:"sealing_key"`      // 32 bytes
	Peers      map[string]string `json:"peers"`            // node name -> cluster address, this node's too
}

// NewBundles makes a cluster: a CA, keys, and a bundle for each of the nodes,
// given as name -> cluster address (host:port). The bundles are in the order of
// the names.
func NewBundles(cluster string, nodes map[string]string) ([]Bundle, error) {
	var faults []error
	if err := CheckCluster(cluster); err != nil {
		faults = append(faults, err)
	}
	if len(nodes) == 0 {
		faults = append(faults, errors.New("a cluster needs at least one node"))
	}
	faults = append(faults, checkPeers(nodes)...)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	ca, err := NewCA(cluster)
	if err != nil {
		return nil, err
	}
	caKey, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	gossip, sealing := make([]byte, keySize), make([]byte, keySize)
	_, _ = rand.Read(gossip) // never fails
	_, _ = rand.Read(sealing)
	var bundles []Bundle
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		m, err := ca.Equip(cluster, name, RoleNode)
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, Bundle{
			Cluster: cluster, Node: name,
			CA: string(m.CA), CAKey: string(caKey), Cert: string(m.Cert), Key: string(m.Key),
			GossipKeys: [][]byte{slices.Clone(gossip)}, SealingKey: slices.Clone(sealing),
			Peers: maps.Clone(nodes),
		})
	}
	return bundles, nil
}

// Equip makes a key and issues its certificate.
func (c *CA) Equip(cluster, name string, role Role) (Material, error) {
	key, err := NewKey()
	if err != nil {
		return Material{}, err
	}
	keyPEM, err := EncodeKey(key)
	if err != nil {
		return Material{}, err
	}
	cert, err := c.Issue(Grant{Cluster: cluster, Name: name, Role: role, Key: key.Public()})
	if err != nil {
		return Material{}, err
	}
	return Material{CA: c.CertPEM, Cert: cert, Key: keyPEM}, nil
}

// Material is what the node puts into its data directory.
func (b *Bundle) Material() Material {
	return Material{CA: []byte(b.CA), Cert: []byte(b.Cert), Key: []byte(b.Key)}
}

// String shows whose bundle it is.
func (b Bundle) String() string {
	return fmt.Sprintf("[bundle of node %q of cluster %q]", b.Node, b.Cluster)
}

// Format shows what String does, under every verb.
func (b Bundle) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(b.String())) }

// LogValue shows what String does.
func (b Bundle) LogValue() slog.Value { return slog.StringValue(b.String()) }

// Encode returns the bundle's file.
func (b *Bundle) Encode() ([]byte, error) {
	type plain Bundle
	data, err := json.MarshalIndent(struct {
		Format string `json:"format"`
		*plain
	}{BundleFormat, (*plain)(b)}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("bundle of node %s: %w", b.Node, err)
	}
	return append(data, '\n'), nil
}

// WriteBundles puts each bundle into the folder, as NODE.bundle, and returns the
// paths. Nothing is replaced: the keys in a file that is there may be the only
// ones.
func WriteBundles(dir string, bundles []Bundle) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	paths := make([]string, len(bundles))
	for i, b := range bundles {
		paths[i] = filepath.Join(dir, b.Node+".bundle")
		there, err := exists(paths[i])
		if err != nil {
			return nil, fmt.Errorf("bundles: %w", err)
		}
		if there {
			return nil, fmt.Errorf("bundles: %s is there already and is not replaced: %w", paths[i], fs.ErrExist)
		}
	}
	for i := range bundles {
		if err := writeBundle(paths[i], &bundles[i]); err != nil {
			for _, p := range paths[:i] { // half a cluster is of no use
				_ = os.Remove(p)
			}
			return nil, fmt.Errorf("bundles: %w", err)
		}
	}
	return paths, nil
}

func writeBundle(path string, b *Bundle) error {
	data, err := b.Encode()
	if err != nil {
		return err
	}
	return durable.Create(path, data, 0o600)
}

// ReadBundle reads a bundle's file. The error lists everything that is wrong
// with it. Problems are what does not stop a node but should be seen by
// people: a file that others may read, a certificate that has expired.
func ReadBundle(path string) (b *Bundle, problems []string, err error) {
	data, who, err := readSecret(path, "bundle")
	if err != nil {
		return nil, nil, err
	}
	if who != "" {
		problems = append(problems, fmt.Sprintf("bundle %s holds the cluster's keys and can be read by %s: run chmod 600 on it", path, who))
	}
	b, warnings, err := DecodeBundle(data)
	if err != nil {
		return nil, nil, fmt.Errorf("bundle %s: %w", path, err)
	}
	for _, w := range warnings {
		problems = append(problems, fmt.Sprintf("bundle %s: %s", path, w))
	}
	return b, problems, nil
}

// readSecret reads a file of keys, to one byte more than it may have, and says
// which others than its owner may read it.
func readSecret(path, what string) (data []byte, exposedTo string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", what, err)
	}
	data, err = io.ReadAll(io.LimitReader(f, bundleSize+1))
	if err != nil {
		return nil, "", fmt.Errorf("%s %s: %w", what, path, err)
	}
	return data, exposed(info), nil
}

func checkPeers(peers map[string]string) []error {
	var faults []error
	holders := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		address := peers[name]
		if err := CheckName(name); err != nil {
			faults = append(faults, fmt.Errorf("peers: %w", err))
		}
		if err := checkAddress(address); err != nil {
			faults = append(faults, fmt.Errorf("peers: node %q: %w", name, err))
			continue
		}
		if first, ok := holders[address]; ok {
			faults = append(faults, fmt.Errorf("peers: nodes %q and %q have the same address %s", first, name, address))
		}
		holders[address] = name
	}
	return faults
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, " \t\r\n/@") {
		return fmt.Errorf("address %q should be host:port, like 10.0.0.1:7000", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q should end in a port from 1 to 65535", address)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("address %q is that of no machine: name one that other nodes can connect to", address)
	}
	return nil
}
