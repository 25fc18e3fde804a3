package pki

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// DecodeBundle reads what Encode wrote. The error lists everything that is
// wrong; problems are what does not stop a node.
func DecodeBundle(data []byte) (b *Bundle, problems []string, err error) {
	if len(data) > bundleSize {
		return nil, nil, fmt.Errorf("this is no bundle: it is larger than %d bytes", bundleSize)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, nil, errors.New("this is no bundle: it should be one JSON object")
	}
	d := decoder{fields: fields}
	b = &Bundle{}
	var format string
	d.take("format", &format, true)
	if format != BundleFormat {
		// With another format nothing else can be expected to fit.
		return nil, nil, fmt.Errorf("this is no bundle of this version: field format should be %q", BundleFormat)
	}
	d.take("cluster", &b.Cluster, true)
	d.take("node", &b.Node, true)
	d.take("ca", &b.CA, true)
	d.take("ca_key", &b.CAKey, false)
	d.take("cert", &b.Cert, true)
	d.take("key", &b.Key, true)
	d.take("gossip_keys", &b.GossipKeys, true)
	d.take("sealing_key", &b.SealingKey, true)
	d.take("peers", &b.Peers, true)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		d.fault("field %q is unknown", name)
	}
	problems = d.check(b)
	if err := d.err(); err != nil {
		return nil, nil, err
	}
	return b, problems, nil
}

// decoder collects what is wrong instead of stopping at the first fault. No
// fault holds the value of a field that may be secret.
type decoder struct {
	fields map[string]json.RawMessage
	bad    map[string]bool
	faults []error
}

func (d *decoder) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Errorf(format, args...))
}

// err is everything that is wrong.
func (d *decoder) err() error {
	switch len(d.faults) {
	case 0:
		return nil
	case 1:
		return d.faults[0]
	default:
		return fmt.Errorf("%d faults:\n%w", len(d.faults), errors.Join(d.faults...))
	}
}

// take decodes one field and removes it from those that are left.
func (d *decoder) take(name string, out any, required bool) {
	raw, ok := d.fields[name]
	delete(d.fields, name)
	switch {
	case ok && bytes.Equal(raw, []byte("null")):
		ok = false
	case ok && json.Unmarshal(raw, out) != nil: // its error would quote the value
		d.fault("field %s is not of the right kind: %s", name, kinds[name])
		d.skip(name)
		return
	}
	if !ok && required {
		d.fault("field %s is missing", name)
		d.skip(name)
	}
}

// skip marks a field that nothing more is to be said about.
func (d *decoder) skip(name string) {
	if d.bad == nil {
		d.bad = map[string]bool{}
	}
	d.bad[name] = true
}

// fits says whether all of the fields could be read.
func (d *decoder) fits(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return d.bad[n] })
}

var kinds = map[string]string{
	"format": "text", "cluster": "text", "node": "text", "name": "text",
	"ca": "text in PEM form", "ca_key": "text in PEM form", "cert": "text in PEM form", "key": "text in PEM form",
	"gossip_keys": "a list of keys in base64", "sealing_key": "a key in base64",
	"peers": "an object of node names and addresses",
}

func (d *decoder) check(b *Bundle) (problems []string) {
	if err := CheckCluster(b.Cluster); err != nil && d.fits("cluster") {
		d.fault("field cluster: %w", err)
		d.skip("cluster")
	}
	if err := CheckName(b.Node); err != nil && d.fits("node") {
		d.fault("field node: %w", err)
		d.skip("node")
	}
	problems = d.checkCertificates(b)
	if d.fits("ca", "ca_key") && b.CAKey != "" {
		if _, err := ParseCA([]byte(b.CA), []byte(b.CAKey)); err != nil {
			d.fault("fields ca and ca_key: %w", err)
		}
	}
	if d.fits("gossip_keys") {
		if len(b.GossipKeys) == 0 {
			d.fault("field gossip_keys: at least one key is needed")
		}
		for i, k := range b.GossipKeys {
			if n := len(k); n != 16 && n != 24 && n != 32 {
				d.fault("field gossip_keys: key %d has %d bytes, not 16, 24 or 32", i+1, n)
			}
		}
	}
	if d.fits("sealing_key") && len(b.SealingKey) != keySize {
		d.fault("field sealing_key: it has %d bytes, not %d", len(b.SealingKey), keySize)
	}
	if d.fits("peers") {
		for _, err := range checkPeers(b.Peers) {
			d.fault("field %w", err)
		}
		if _, ok := b.Peers[b.Node]; !ok && d.fits("node") {
			d.fault("field peers: the address of this node %q is missing", b.Node)
		}
	}
	return problems
}

func (d *decoder) checkCertificates(b *Bundle) (problems []string) {
	if d.fits("cert", "key") {
		if _, err := tls.X509KeyPair([]byte(b.Cert), []byte(b.Key)); err != nil {
			d.fault("fields cert and key: %w", err)
			return nil
		}
	}
	if !d.fits("ca", "cert", "key", "cluster", "node") {
		return nil
	}
	l, err := b.Material().load(b.Cluster)
	if err != nil {
		d.fault("fields ca and cert: %w", err)
		return nil
	}
	if l.identity.Name != b.Node || l.identity.Role != RoleNode {
		d.fault("field cert: it is for %s %q, this is the bundle of node %q", l.identity.Role, l.identity.Name, b.Node)
	}
	if now := time.Now(); now.After(l.cert.Leaf.NotAfter) {
		problems = append(problems, fmt.Sprintf("its certificate expired on %s", moment(l.cert.Leaf.NotAfter)))
	} else if now.After(l.anchor.NotAfter) {
		problems = append(problems, fmt.Sprintf("its CA expired on %s", moment(l.anchor.NotAfter)))
	}
	return problems
}
