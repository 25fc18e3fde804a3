package spec

import (
	"slices"
	"strings"
)

const secretShape = `a secret like {"type": "environment", "value": "NAME"}`

// readSecret reads a secret object. Keys other than type and value are
// tolerated, as in the peer. It is zero when there is a problem with it.
func readSecret(n node) Secret {
	if n.ok() && n.raw[0] != '{' {
		n.fail("found %s, expected %s", n.foundKind(), secretShape)
		return Secret{}
	}
	o := n.object()
	if o == nil {
		return Secret{}
	}
	kind, value := o.required("type", "a string"), o.required("value", "a string")
	t, okType := kind.text()
	v, okValue := value.text()
	o.doneLoosely()
	s := Secret{Type: strings.ToLower(t), Value: v}
	if okType && !checkSecretType(kind, s.Type) || !okType || !okValue {
		return Secret{}
	}
	if s.Type == SecretStored && !IsSecretName(v) {
		value.fail("is no name of a stored secret: expected 1 to 64 letters, digits, underscores, dots or hyphens") // it may be the secret itself
		return Secret{}
	}
	return s
}

func checkSecretType(n node, t string) bool {
	allowed := []string{SecretPlain, SecretEnvironment, SecretVault, SecretFile, SecretStored}
	switch n.w.origin {
	case OriginTenant:
		allowed = []string{SecretPlain, SecretStored}
	case OriginState:
		allowed = append(allowed, SecretSealed)
	case OriginFolder:
	}
	if n.w.sealed {
		allowed = append(allowed, SecretSealed)
	}
	if slices.Contains(allowed, t) {
		return true
	}
	switch t {
	case SecretEnvironment, SecretVault, SecretFile:
		n.fail("found %s, which only the operator's folder may use: give the secret itself, as %s, or the name of one that is stored in the cluster, as %s",
			quote(t), quote(SecretPlain), quote(SecretStored))
	case SecretSealed:
		n.fail("found %s, which only ozmo itself writes: give the secret itself, as %s", quote(t), quote(SecretPlain))
	default:
		n.fail("found %s, expected %s%s", quote(t), alternatives(allowed), didYouMean(t, allowed))
	}
	return false
}

// resolve finds the value behind a secret so that rules on it can be checked;
// not ok when there is none to check. A secret that cannot be resolved is a
// problem, but sealed ones were checked before they were sealed, and what is
// stored under a name may change at any time.
func (n node) resolve(s Secret) (string, bool) {
	switch {
	case s.Type == SecretPlain:
		return s.Value, true
	case s.IsZero() || s.Type == SecretSealed || s.Type == SecretStored || n.w.resolve == nil:
		return "", false
	}
	v, err := n.w.resolve(s)
	if err != nil {
		n.fail("cannot be resolved: %v", err)
		return "", false
	}
	return v, true
}
