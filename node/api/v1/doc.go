// Package v1 is the API for tenants and operators: tenants and their quotas, the
// networks, monitors and triggers they are configured with, secrets, keys, the audit
// log, deliveries and coverage. It is the same on every node.
//
// The package owns who may do what (see operations, the one table of it), how keys
// are written and checked, and how a document over HTTP becomes a version of its
// tenant: it is checked completely before anything is proposed. Every change is
// proposed together with its entry in the audit log.
//
// What belongs to another tenant is not there: the answer is the one for what does
// not exist. The package never shows a secret, and never imports node: what it needs
// of one is Backend.
package v1
