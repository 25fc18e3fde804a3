package spec

import (
	"fmt"
	"maps"
	"slices"
)

// CheckPrivate checks what a tenant's network refers to: the shared network whose
// blocks it uses, if any.
func CheckPrivate(n *Network, r References) Problems {
	if n.Watch == "" || r.shared.broken[n.Watch] {
		return nil
	}
	fail := func(format string, args ...any) Problems {
		return Problems{{Path: "watch", Message: fmt.Sprintf(format, args...), Severity: SeverityError}}
	}
	other := r.shared.bySlug[n.Watch]
	switch {
	case other == nil && r.own.bySlug[n.Watch] != nil:
		return fail("refers to the network %s, which is not a shared one", quote(n.Watch))
	case other == nil:
		return fail("refers to the shared network %s, which is not defined%s", quote(n.Watch), didYouMean(n.Watch, slices.Sorted(maps.Keys(r.shared.bySlug))))
	case other.Type != n.Type:
		return fail("refers to the network %s, which is of type %s, not %s", quote(n.Watch), other.Type, n.Type)
	case other.ChainID != nil && n.ChainID != nil && *other.ChainID != *n.ChainID:
		return fail("refers to the network %s, which has the chain_id %d, not %d", quote(n.Watch), *other.ChainID, *n.ChainID)
	}
	return nil
}

// CheckShared checks what only a shared network may not have, since it belongs to
// no tenant.
func CheckShared(n *Network) (out Problems) {
	if n.Watch != "" {
		out = append(out, Problem{Path: "watch", Message: "is only for private networks of a tenant", Severity: SeverityError})
	}
	for i, u := range n.RPCURLs {
		if u.URL.Type == SecretStored {
			out = append(out, Problem{
				Path: fmt.Sprintf("rpc_urls[%d].url", i), Severity: SeverityError,
				Message: fmt.Sprintf("found a stored secret, which belongs to a tenant, and shared networks belong to none: use %s or %s", quote(SecretEnvironment), quote(SecretFile)),
			})
		}
	}
	return out
}
