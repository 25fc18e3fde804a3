package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Parts of a token's text: "ozmo1.<id>.<secret>.<fingerprint>", of characters
// that neither shells nor line breaks in mails touch. In place of the
// fingerprint stands "plaintext" where the cluster has no CA.
const (
	tokenVersion   = "ozmo1"
	tokenPlaintext = "plaintext"
	idBytes        = 8
	secretBytes    = 24
)

// Errors of ParseToken.
var (
	ErrTokenForm    = errors.New("this is not a join token: one looks like ozmo1.ID.SECRET.FINGERPRINT")
	ErrTokenVersion = errors.New("the join token was made by another version of ozmo")
	ErrTokenCut     = errors.New("the join token is incomplete: copy all of it")
)

// base64url without padding, and with one text per value.
var tokenText = base64.RawURLEncoding.Strict()

// Token lets one node join. Printing it shows its id alone; see Reveal.
type Token struct {
	ID          string   // 16 hexadecimal digits; public
	Fingerprint [32]byte // of the cluster's CA; zero: the cluster has none (plaintext)
	secret      [secretBytes]byte
}

// NewToken makes a token of the cluster whose CA has the fingerprint; the zero
// fingerprint is for a cluster without a CA.
func NewToken(ca [32]byte) Token {
	t := Token{Fingerprint: ca}
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(t.secret[:])
	t.ID = hex.EncodeToString(id[:])
	return t
}

// ParseToken reads a token's text; space around it is ignored. Errors wrap
// ErrTokenForm, ErrTokenVersion or ErrTokenCut and hold nothing of the text.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	switch {
	case len(text) > 1024 || !strings.HasPrefix(parts[0], "ozmo"):
		return Token{}, ErrTokenForm
	case parts[0] != tokenVersion && len(parts) > 1:
		return Token{}, ErrTokenVersion
	case parts[0] != tokenVersion, len(parts) < 4:
		return Token{}, ErrTokenCut
	case len(parts) > 4:
		return Token{}, ErrTokenForm
	}
	t := Token{ID: parts[1]}
	id, err := hex.DecodeString(t.ID)
	if err != nil || len(id) != idBytes || strings.ToLower(t.ID) != t.ID {
		return Token{}, fmt.Errorf("%w (its id has %d characters, not %d digits)", ErrTokenForm, len(t.ID), 2*idBytes)
	}
	if err := tokenPart(t.secret[:], parts[2], "secret"); err != nil {
		return Token{}, err
	}
	if parts[3] == tokenPlaintext {
		return t, nil
	}
	if err := tokenPart(t.Fingerprint[:], parts[3], "fingerprint"); err != nil {
		return Token{}, err
	}
	if t.Fingerprint == [32]byte{} { // would turn TLS off
		return Token{}, fmt.Errorf("%w (its fingerprint is empty)", ErrTokenForm)
	}
	return t, nil
}

func tokenPart(out []byte, text, what string) error {
	want := tokenText.EncodedLen(len(out))
	if len(text) < want {
		return fmt.Errorf("%w (%d characters of the %s are missing)", ErrTokenCut, want-len(text), what)
	}
	data, err := tokenText.DecodeString(text)
	if err != nil || len(text) != want { // line breaks are decoded as nothing
		return fmt.Errorf("%w (its %s is damaged)", ErrTokenForm, what) // err would show where
	}
	copy(out, data)
	return nil
}

// Reveal is the token's text, to be shown to the operator once.
func (t Token) Reveal() string {
	end := tokenPlaintext
	if t.Fingerprint != [32]byte{} {
		end = tokenText.EncodeToString(t.Fingerprint[:])
	}
	return strings.Join([]string{tokenVersion, t.ID, tokenText.EncodeToString(t.secret[:]), end}, ".")
}

// Hash is what the cluster stores in place of the secret.
func (t Token) Hash() [32]byte { return sha256.Sum256(t.secret[:]) }

// String shows the id alone.
func (t Token) String() string { return tokenVersion + "." + t.ID + ".[secret]" }

// Format shows what String does, under every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText shows what String does: a token does not get into JSON or a log
// by accident.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
