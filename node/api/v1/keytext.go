package v1

import (
	"crypto/rand"
	"crypto/sha256"
	"regexp"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
)

// keyText is an API key as its bearer has it: ozmo_<id>_<secret>. Only the hash of
// the secret is kept. The secret has 160 random bits: a plain hash is enough.
type keyText struct{ id, secret string }

var keyForm = regexp.MustCompile(`^ozmo_([a-z2-7]{12})_([a-z2-7]{32})$`)

// newKeyText makes a key that nobody has.
func newKeyText() keyText {
	return keyText{id: strings.ToLower(rand.Text()[:12]), secret: strings.ToLower((rand.Text() + rand.Text())[:32])}
}

// parseKeyText reads a key; what has another form is none.
func parseKeyText(s string) (keyText, bool) {
	m := keyForm.FindStringSubmatch(s)
	if m == nil {
		return keyText{}, false
	}
	return keyText{id: m[1], secret: m[2]}, true
}

// IsKeyText reports whether a text has the form of an API key.
func IsKeyText(s string) bool {
	_, ok := parseKeyText(s)
	return ok
}

func (k keyText) reveal() string { return "ozmo_" + k.id + "_" + k.secret }

func (k keyText) hash() fsm.Hash { return sha256.Sum256([]byte(k.secret)) }

// String hides the secret.
func (k keyText) String() string { return "ozmo_" + k.id + "_…" }
