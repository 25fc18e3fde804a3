package v1

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// mark stands for a sealed secret where a document is shown. It tells nothing of the
// secret, and a document that comes back with it keeps the secret.
func mark(s *spec.Secret) string {
	hash := sha256.Sum256([]byte(s.Value))
	return hex.EncodeToString(hash[:8])
}

// conceal puts marks in the place of a document's secrets. Names of stored secrets
// stay: they are none.
func conceal(doc document) {
	for _, s := range doc.Secrets() {
		switch s.Type {
		case spec.SecretStored:
		case spec.SecretSealed:
			s.Value = mark(s)
		default:
			*s = spec.Secret{Type: spec.SecretSealed}
		}
	}
}

// keepSealed puts the secrets of the document before in the place of their marks.
func keepSealed(doc, before document) spec.Problems {
	known := map[string]spec.Secret{}
	if before != nil {
		for _, s := range before.Secrets() {
			if s.Type == spec.SecretSealed {
				known[mark(s)] = *s
			}
		}
	}
	for _, s := range doc.Secrets() {
		if s.Type != spec.SecretSealed {
			continue
		}
		kept, ok := known[s.Value]
		if !ok {
			return spec.Problems{{Severity: spec.SeverityError, Message: `holds a secret of type "sealed" that the document in force does not have: ` +
				`give the secret itself, as "plain", or the name of a stored one, as "stored"`}}
		}
		*s = kept
	}
	return nil
}

// shown is a document as the audit log shows it: without secrets, and without
// contract specifications, which would leave no room for what matters.
func shown(doc document) string {
	data, err := json.Marshal(doc)
	if err != nil {
		return ""
	}
	switch d := doc.(type) {
	case *spec.StoredScript: // whatever its authors have written into it
		return fmt.Sprintf(`{"language":%q,"bytes":%d,"sha256":"%x"}`, d.Language, len(d.Content), sha256.Sum256([]byte(d.Content)))
	case *spec.Network:
		return concealed(data, new(spec.Network))
	case *spec.Trigger:
		return concealed(data, new(spec.Trigger))
	case *spec.Monitor:
		bare := *d
		bare.Addresses = make([]spec.Address, len(d.Addresses))
		for i, a := range d.Addresses {
			bare.Addresses[i].Address = a.Address
		}
		if data, err = json.Marshal(bare); err != nil {
			return ""
		}
		return concealed(data, new(spec.Monitor))
	}
	return ""
}

// concealed works on a copy: the document is still to be stored.
func concealed(data []byte, as document) string {
	if err := json.Unmarshal(data, as); err != nil {
		return ""
	}
	conceal(as)
	data, err := spec.Encode(as)
	if err != nil {
		return ""
	}
	return string(data)
}
