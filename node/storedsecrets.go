package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// SetSecret stores a tenant's secret, in place of one of the same name. What waits
// in the outbox for it is due at once.
func (n *Node) SetSecret(ctx context.Context, s api.Secret) error {
	t, err := n.tenantOfSecrets(ctx, s.Tenant)
	switch {
	case err != nil:
		return err
	case !spec.IsSecretName(s.Name):
		return fmt.Errorf("%w: secret name %q: use 1 to 64 letters, digits, underscores, dots and hyphens", api.ErrBadRequest, s.Name)
	case s.Value == "":
		return fmt.Errorf("%w: secret %q has an empty value: to end it, delete it", api.ErrBadRequest, s.Name)
	case len(s.Value) > v1.MaxStored:
		return fmt.Errorf("%w: secret %q has %d bytes, more than %d", api.ErrBadRequest, s.Name, len(s.Value), v1.MaxStored)
	}
	sealed := n.keeper.SealStored(s.Tenant, s.Name, s.Value)
	now := time.Now().UnixMilli()
	if _, err := n.byOperator(ctx, &fsm.PutSecret{Tenant: s.Tenant, Name: s.Name, Sealed: []byte(sealed), At: now}, "secret.put", s.Tenant, s.Name); err != nil {
		return err
	}
	n.log.Info("a stored secret was set", "tenant", s.Tenant, "secret", s.Name)
	n.makeDue(ctx, t, s.Name, now)
	return nil
}

// makeDue is retryWith where a failure is no failure of what was asked for.
func (n *Node) makeDue(ctx context.Context, t *fsm.Tenant, name string, now int64) {
	if err := n.retryWith(ctx, t, name, now); err != nil {
		n.log.Warn("deliveries that may have waited for a secret could not be made due; they are retried in their time", "tenant", t.ID, "secret", name, "error", err)
	}
}

// retryWith makes what waits in the outbox for triggers that use a secret due.
func (n *Node) retryWith(ctx context.Context, t *fsm.Tenant, name string, now int64) error {
	v := n.state.View()
	uses, err := store.SecretUses(v, t)
	if err != nil || uses[name] == nil {
		return err
	}
	c := &fsm.Redeliver{Tenant: t.ID, At: now}
	for o := range v.OutboxOf(t.ID) {
		d, err := alert.DecodeDelivery(o.Delivery)
		if err == nil && slices.Contains(uses[name].Triggers, d.Trigger) {
			c.Keys = append(c.Keys, o.Key)
		}
	}
	if len(c.Keys) > 0 {
		_, err = n.group.Propose(ctx, c)
	}
	return err
}

// Secrets lists a tenant's stored secrets, and the names that its documents refer
// to without there being one.
func (n *Node) Secrets(ctx context.Context, tenant string) ([]api.SecretStatus, error) {
	t, err := n.tenantOfSecrets(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return v1.SecretsOf(n.state.View(), t)
}

// DeleteSecret forgets a stored secret, unless a document in force refers to it.
func (n *Node) DeleteSecret(ctx context.Context, tenant, name string, force bool) error {
	t, err := n.tenantOfSecrets(ctx, tenant)
	if err != nil {
		return err
	}
	v := n.state.View()
	if _, ok := v.Secret(tenant, name); !ok {
		return fmt.Errorf("tenant %q, secret %q: %w", tenant, name, fsm.ErrNotFound)
	}
	uses, err := store.SecretUses(v, t)
	if err != nil {
		return err
	}
	if u := uses[name]; u != nil && !force {
		return fmt.Errorf("%w: secret %q of tenant %q is in use by %s: change the documents first, or give --force, and what needs it fails until it is set again",
			api.ErrRefused, name, tenant, v1.InUse(u))
	}
	if _, err := n.byOperator(ctx, &fsm.DropSecret{Tenant: tenant, Name: name}, "secret.delete", tenant, name); err != nil {
		return err
	}
	n.log.Info("a stored secret was deleted", "tenant", tenant, "secret", name, "forced", force)
	return nil
}

// tenantOfSecrets is a tenant as of now, whichever node is asked.
func (n *Node) tenantOfSecrets(ctx context.Context, id string) (*fsm.Tenant, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	if err := n.caughtUp(ctx); err != nil {
		return nil, err
	}
	return findTenant(n.state.View(), id)
}

// checkStored warns of stored secrets that a folder refers to and that are not
// there. That is no mistake: they may be set later, and until then deliveries wait.
func (n *Node) checkStored(tree *spec.Tree) spec.Problems {
	v := n.state.View()
	var out spec.Problems
	missing := func(tenant string, f *spec.Folder, kind spec.Kind, id string, list []*spec.Secret, so string) {
		for _, name := range store.StoredNames(list) {
			if _, ok := v.Secret(tenant, name); ok {
				continue
			}
			out = append(out, spec.Problem{
				File: f.Files[spec.DocKey(kind, id)], Severity: spec.SeverityWarning,
				Message: fmt.Sprintf("%s %q refers to the stored secret %q, which tenant %q does not have: %s until it is set with `ozmo secret set %s %s`",
					kind, id, name, tenant, so, tenant, name),
			})
		}
	}
	for _, tenant := range slices.Sorted(maps.Keys(tree.Tenants)) {
		f := tree.Tenants[tenant]
		for _, id := range slices.Sorted(maps.Keys(f.Triggers)) {
			missing(tenant, f, spec.KindTrigger, id, f.Triggers[id].Secrets(), "its deliveries wait")
		}
		for _, slug := range slices.Sorted(maps.Keys(f.Networks)) {
			missing(tenant, f, spec.KindNetwork, slug, f.Networks[slug].Secrets(), "it is not watched")
		}
	}
	return out
}
