package node

import (
	"context"
	"net/http"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Rotate looks at the folder's secrets now.
func (n *Node) Rotate(ctx context.Context) error { return n.rotate(ctx) }

// Propose commits a command as if somebody had asked for it.
func (n *Node) Propose(ctx context.Context, c fsm.Command) (any, error) {
	return n.group.Propose(ctx, c)
}

// TenantAPI is the API for tenants, as the HTTP port has it.
func (n *Node) TenantAPI() http.Handler { return n.tenants }

// WriteCertificate makes a certificate for tests.
var WriteCertificate = writeCertificate

// Enrol has a node let another one in.
func Enrol(ctx context.Context, n *Node, name, token string) error {
	_, err := n.enrol(ctx, enrolment{Node: name, Token: token})
	return err
}

// Turn gets a turn to change a tenant's documents, as a change does.
func (n *Node) Turn(ctx context.Context, tenant string) (release func(), err error) {
	return tenantAPI{n}.Turn(ctx, tenant)
}
