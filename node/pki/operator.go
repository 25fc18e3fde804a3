package pki

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/node/durable"
)

// OperatorFormat is the field "format" of every operator's file, its first.
const OperatorFormat = "ozmo-operator-1"

// OperatorValidity is how long an operator's certificate is valid unless told
// otherwise. It is short, since there is no way to take one back.
const OperatorValidity = 30 * 24 * time.Hour

// Operator is everything that a person or a tool needs to command a cluster over
// its nodes' cluster port: `ozmo operator issue` makes one. Whoever has it can do
// what the operator can; printing it shows no key.
type Operator struct {
	Cluster string            `json:"cluster"` // its name
	Name    string            `json:"name"`    // whose file this is
	CA      string            `json:"ca"`      // PEM
	Cert    string            `json:"cert"`    // of the operator, PEM
	Key     string            `json:"key"`     // PEM
	Peers   map[string]string `json:"peers"`   // node name -> cluster address, as of when it was made
}

// String shows whose file it is.
func (o Operator) String() string {
	return fmt.Sprintf("[credentials of operator %q of cluster %q]", o.Name, o.Cluster)
}

// Format shows what String does, under every verb.
func (o Operator) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(o.String())) }

// LogValue shows what String does.
func (o Operator) LogValue() slog.Value { return slog.StringValue(o.String()) }

func (o *Operator) material() Material {
	return Material{CA: []byte(o.CA), Cert: []byte(o.Cert), Key: []byte(o.Key)}
}

// Encode returns the operator's file.
func (o *Operator) Encode() ([]byte, error) {
	type plain Operator
	data, err := json.MarshalIndent(struct {
		Format string `json:"format"`
		*plain
	}{OperatorFormat, (*plain)(o)}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("credentials of operator %s: %w", o.Name, err)
	}
	return append(data, '\n'), nil
}

// WriteOperator writes an operator's file, readable by its owner alone. One that
// is there is not replaced: the error then wraps fs.ErrExist.
func WriteOperator(path string, o *Operator) error {
	data, err := o.Encode()
	if err != nil {
		return err
	}
	err = durable.Create(path, data, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not replaced: %w", path, fs.ErrExist)
	}
	return err
}

// ReadOperator reads an operator's file and checks that it can be used. An expired
// certificate is an error that wraps ErrExpired; problems are what should be
// seen by people.
func ReadOperator(path string) (o *Operator, problems []string, err error) {
	const what = "operator's credentials"
	data, who, err := readSecret(path, what)
	if err != nil {
		return nil, nil, err
	}
	if who != "" {
		problems = append(problems, fmt.Sprintf("%s holds an operator's key and can be read by %s: run chmod 600 on it", path, who))
	}
	if o, err = DecodeOperator(data); err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", what, path, err)
	}
	return o, problems, nil
}

// DecodeOperator reads what Encode wrote. The error lists everything that is
// wrong with it.
func DecodeOperator(data []byte) (*Operator, error) {
	if len(data) > bundleSize {
		return nil, fmt.Errorf("this is no operator's file: it is larger than %d bytes", bundleSize)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, errors.New("this is no operator's file: it should be one JSON object, as `ozmo operator issue` makes it")
	}
	if bytes.Equal(fields["format"], []byte(`"`+BundleFormat+`"`)) {
		return nil, errors.New("this is a node's bundle: commands want the file that `ozmo operator issue` makes")
	}
	d := decoder{fields: fields}
	o := &Operator{}
	var format string
	d.take("format", &format, true)
	if format != OperatorFormat {
		return nil, fmt.Errorf("this is no operator's file of this version: field format should be %q", OperatorFormat)
	}
	d.take("cluster", &o.Cluster, true)
	d.take("name", &o.Name, true)
	d.take("ca", &o.CA, true)
	d.take("cert", &o.Cert, true)
	d.take("key", &o.Key, true)
	d.take("peers", &o.Peers, true)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		d.fault("field %q is unknown", name)
	}
	d.checkOperator(o)
	if err := d.err(); err != nil {
		return nil, err
	}
	return o, nil
}

func (d *decoder) checkOperator(o *Operator) {
	if err := CheckCluster(o.Cluster); err != nil && d.fits("cluster") {
		d.fault("field cluster: %w", err)
		d.skip("cluster")
	}
	if d.fits("peers") {
		if len(o.Peers) == 0 {
			d.fault("field peers: the address of one node at least is needed")
		}
		for _, err := range checkPeers(o.Peers) {
			d.fault("field %w", err)
		}
	}
	if d.fits("cert", "key") {
		if _, err := tls.X509KeyPair([]byte(o.Cert), []byte(o.Key)); err != nil {
			d.fault("fields cert and key: %w", err)
			return
		}
	}
	if !d.fits("ca", "cert", "key", "cluster", "name") {
		return
	}
	l, err := o.material().load(o.Cluster)
	switch {
	case err != nil:
		d.fault("fields ca and cert: %w", err)
	case l.identity.Role != RoleOperator:
		d.fault("field cert: %w: it is that of %s %q, and commands want an operator's, as `ozmo operator issue` makes it",
			ErrRole, l.identity.Role, l.identity.Name)
	case l.identity.Name != o.Name:
		d.fault("field cert: it is for operator %q, this is the file of %q", l.identity.Name, o.Name)
	case time.Now().After(l.cert.Leaf.NotAfter):
		d.fault("%w: it was valid until %s: have a new one made with `ozmo operator issue`", ErrExpired, moment(l.cert.Leaf.NotAfter))
	case time.Now().After(l.anchor.NotAfter):
		d.fault("%w: that of the cluster's CA was valid until %s", ErrExpired, moment(l.anchor.NotAfter))
	}
}

// Expires is when the certificate ends; zero for a file that was not decoded.
func (o *Operator) Expires() time.Time {
	certs, err := parseCerts([]byte(o.Cert))
	if err != nil {
		return time.Time{}
	}
	return certs[0].NotAfter
}

// ClientConfig is for connecting to the cluster's nodes as this operator. The
// handshake fails with a *PeerError unless the other side is one of them.
func (o *Operator) ClientConfig() (*tls.Config, error) {
	l, err := o.material().load(o.Cluster)
	if err != nil {
		return nil, err
	}
	return clientConfig(o.Cluster, func() *loaded { return l }), nil
}
