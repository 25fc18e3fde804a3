package pki

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"
)

// Role is what the holder of a certificate may be in the cluster.
type Role uint8

// Roles. The zero Role is that of nobody.
const (
	RoleNode     Role = iota + 1 // a member
	RoleOperator                 // a person or a tool that commands the cluster
)

// String is the role's word in certificates and messages.
func (r Role) String() string {
	switch r {
	case RoleNode:
		return "node"
	case RoleOperator:
		return "operator"
	default:
		return "nobody"
	}
}

// Identity is what a certificate says of its holder. The zero Identity is that
// of a peer that showed none.
type Identity struct {
	Cluster string
	Name    string
	Role    Role
}

// domain ends every name that states a role, so that it cannot be taken for a
// host's.
const domain = ".ozmo"

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)
	clusterForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// CheckName says what is wrong with the name of a node or an operator, if
// anything is.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: use letters, digits, dots and hyphens, at most 64, the first and last no dot or hyphen", name)
	}
	return nil
}

// CheckCluster says what is wrong with a cluster's name, if anything is. It is
// narrower than a node's, since it is one label of a DNS name.
func CheckCluster(name string) error {
	if !clusterForm.MatchString(name) {
		return fmt.Errorf("cluster name %q: use lower-case letters, digits and hyphens, at most 63, the first and last no hyphen", name)
	}
	return nil
}

func roleName(r Role, cluster string) string { return r.String() + "." + cluster + domain }

// claim is one statement of a certificate: a role in a cluster.
type claim struct {
	role    Role
	cluster string
}

func claims(cert *x509.Certificate) []claim {
	var out []claim
	for _, name := range cert.DNSNames {
		rest, ok := strings.CutSuffix(strings.ToLower(name), domain)
		if !ok {
			continue
		}
		word, cluster, ok := strings.Cut(rest, ".")
		if !ok || CheckCluster(cluster) != nil {
			continue
		}
		switch word {
		case RoleNode.String():
			out = append(out, claim{RoleNode, cluster})
		case RoleOperator.String():
			out = append(out, claim{RoleOperator, cluster})
		}
	}
	return out
}

// IdentityOf is what a certificate says of its holder, in the given cluster; it
// does not verify that a CA agrees. A certificate with both roles is a node's.
// Errors are *PeerError of kind ErrOtherCluster or ErrRole.
func IdentityOf(cert *x509.Certificate, cluster string) (Identity, error) {
	id := Identity{Cluster: cluster, Name: cert.Subject.CommonName}
	var other string
	for _, c := range claims(cert) {
		switch {
		case c.cluster != cluster:
			other = c.cluster
		case id.Role == 0 || c.role < id.Role:
			id.Role = c.role
		}
	}
	switch {
	case id.Role == 0 && other != "":
		return Identity{}, otherCluster(other, cluster)
	case id.Role == 0:
		return Identity{}, peerError(ErrRole, "has a certificate that gives it no role in cluster %q: it should name %s", cluster, roleName(RoleNode, cluster))
	case CheckName(id.Name) != nil:
		return Identity{}, peerError(ErrRole, "has a certificate whose common name %q cannot be the name of a node or an operator", id.Name)
	}
	return id, nil
}

// NodeOf is IdentityOf for who does not know the cluster yet: of the first
// cluster that the certificate makes its holder a node of.
func NodeOf(cert *x509.Certificate) (Identity, error) {
	for _, c := range claims(cert) {
		if c.role == RoleNode {
			return IdentityOf(cert, c.cluster)
		}
	}
	return Identity{}, peerError(ErrRole, "has a certificate that makes it no node of any cluster")
}
