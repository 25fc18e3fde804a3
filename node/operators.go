package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// IssueOperator signs an operator's certificate with the key of the cluster's CA,
// which every node can open.
func (n *Node) IssueOperator(_ context.Context, r api.OperatorRequest) (api.OperatorCertificate, error) {
	if err := n.mustBeMember(); err != nil {
		return api.OperatorCertificate{}, err
	}
	if n.opts.Insecure {
		return api.OperatorCertificate{}, fmt.Errorf("%w: this cluster runs without certificates (--insecure): use the local socket", api.ErrRefused)
	}
	if r.Valid <= 0 {
		return api.OperatorCertificate{}, fmt.Errorf("%w: a certificate that is valid for %v: want more than nothing", api.ErrBadRequest, r.Valid)
	}
	name, key, err := pki.ParseRequest(r.Request)
	if err == nil && name != r.Name {
		err = fmt.Errorf("certificate request: it is of %q, not of %q", name, r.Name)
	}
	if err != nil {
		return api.OperatorCertificate{}, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	v := n.state.View()
	c := v.Cluster()
	ca, err := authority(c, n.keeper)
	if errors.Is(err, errNoAuthority) {
		return api.OperatorCertificate{}, fmt.Errorf("%w: the cluster does not have the key of its CA: have whoever keeps it sign a certificate for client authentication, "+
			"with the common name %s and the DNS name operator.%s.ozmo", api.ErrRefused, r.Name, c.Name)
	}
	if err != nil {
		return api.OperatorCertificate{}, err
	}
	out := api.OperatorCertificate{Cluster: c.Name, CA: c.CA, Peers: map[string]string{}}
	out.Cert, err = ca.Issue(pki.Grant{Cluster: c.Name, Name: r.Name, Role: pki.RoleOperator, Key: key, Validity: r.Valid})
	if err != nil {
		return api.OperatorCertificate{}, fmt.Errorf("%w: %w", api.ErrRefused, err)
	}
	for peer := range v.Nodes() {
		out.Peers[peer.Name] = peer.Address
	}
	n.log.Info("an operator's certificate was issued", "operator", r.Name, "valid", r.Valid)
	return out, nil
}

// fromAfar is the operator's handler on the cluster port: for operators, and for
// nodes that pass on what an operator has asked them.
func (n *Node) fromAfar(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := r.Context().Value(peerKey{}).(pki.Identity)
		switch {
		case r.URL.Path == api.PathOperators, r.URL.Path == api.PathTokens:
			// Either would outlast the certificate: who can have a node join has its keys.
			api.Refuse(w, fmt.Errorf("%w: operators and join tokens are made on the machine of a node, through its local socket, and never over the network", api.ErrRefused))
			return
		case peer.Role == pki.RoleNode && r.Header.Get(hopHeader) == "":
			api.Refuse(w, fmt.Errorf("%w: this is the certificate of node %s, and commands want an operator's: make one with `ozmo operator issue`", api.ErrRefused, peer.Name))
			return
		case peer.Role == pki.RoleOperator && r.Method != http.MethodGet:
			n.log.Info("an operator's command", "operator", peer.Name, "method", r.Method, "path", r.URL.Path, "about", auditOf(r))
		}
		if by := r.Header.Get(actorHeader); by != "" && r.Header.Get(hopHeader) != "" && (peer.Role == pki.RoleNode || n.opts.Insecure) {
			r = r.WithContext(context.WithValue(r.Context(), actorKey{}, by))
		}
		h.ServeHTTP(w, r)
	})
}
