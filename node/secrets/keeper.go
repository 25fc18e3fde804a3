package secrets

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Errors of opening and sealing.
var (
	// ErrNotSealed means that a text is not a sealed value of a known version.
	ErrNotSealed = errors.New("not a sealed secret")
	// ErrUnknownKey means that a value was sealed with another master key.
	ErrUnknownKey = errors.New("sealed with another key: does this node have the sealing.key of its cluster?")
	// ErrTampered means that a value was changed, or belongs somewhere else.
	ErrTampered = errors.New("sealed secret was changed, or belongs to another tenant")
	// ErrUnresolved means that a secret is a reference and has no value to seal.
	ErrUnresolved = errors.New("secret is not resolved")
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

// Key is a master key. Printing it in any way does not show it.
type Key [KeySize]byte

// String hides the key.
func (Key) String() string { return "[sealing key]" }

// GoString hides the key.
func (Key) GoString() string { return "[sealing key]" }

// Format hides the key for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[sealing key]")) }

const version = "v1"

// encoding refuses texts that would decode to the same bytes as another.
var encoding = base64.RawURLEncoding.Strict()

// Keeper seals and opens secrets under one master key. It is safe for
// concurrent use.
type Keeper struct {
	id    string
	aead  cipher.AEAD
	nonce []byte // key of the HMAC that makes nonces
}

// New makes a Keeper for a master key.
func New(key Key) *Keeper {
	aead, err := chacha20poly1305.NewX(derive(key, "ozmo sealing 1: encryption", chacha20poly1305.KeySize))
	if err != nil {
		panic(err) // the length is right
	}
	return &Keeper{
		id:    hex.EncodeToString(derive(key, "ozmo sealing 1: key id", 4)),
		aead:  aead,
		nonce: derive(key, "ozmo sealing 1: nonces", sha256.Size),
	}
}

func derive(key Key, purpose string, length int) []byte {
	out, err := hkdf.Key(sha256.New, key[:], nil, purpose, length)
	if err != nil {
		panic(err) // only too great a length fails
	}
	return out
}

// ID names the master key without telling anything about it: 8 hexadecimal digits.
func (k *Keeper) ID() string { return k.id }

// Seal seals a value, bound to a context. The same arguments always give the
// same text.
func (k *Keeper) Seal(plain, context string) string {
	bound := k.bind(context)
	mac := hmac.New(sha256.New, k.nonce)
	mac.Write(bound) // states its own length: context and value cannot run together
	mac.Write([]byte(plain))
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]
	sealed := k.aead.Seal(nonce, nonce, []byte(plain), bound)
	return version + "." + k.id + "." + encoding.EncodeToString(sealed)
}

// Open returns the value that was sealed in this context. Errors wrap
// ErrNotSealed, ErrUnknownKey or ErrTampered.
func (k *Keeper) Open(sealed, context string) (string, error) {
	v, rest, _ := strings.Cut(sealed, ".")
	if v != version {
		return "", fmt.Errorf("%w: want %s.<key id>.<base64>", ErrNotSealed, version)
	}
	id, text, ok := strings.Cut(rest, ".")
	if !ok {
		return "", fmt.Errorf("%w: want %s.<key id>.<base64>", ErrNotSealed, version)
	}
	if id != k.id {
		return "", fmt.Errorf("%w (it names key %.16q, this node has %q)", ErrUnknownKey, id, k.id)
	}
	// The decoder would skip line ends, and one value must have one text.
	if strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%w: its base64 holds line ends", ErrNotSealed)
	}
	data, err := encoding.DecodeString(text)
	if err != nil || len(data) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return "", fmt.Errorf("%w: it is cut off or not base64", ErrNotSealed)
	}
	nonce, box := data[:chacha20poly1305.NonceSizeX], data[chacha20poly1305.NonceSizeX:]
	plain, err := k.aead.Open(nil, nonce, box, k.bind(context))
	if err != nil {
		return "", ErrTampered
	}
	return string(plain), nil
}

// bind is what a sealed value is authenticated with beside itself.
func (k *Keeper) bind(context string) []byte {
	out := []byte(version + "." + k.id + ".")
	out = binary.BigEndian.AppendUint64(out, uint64(len(context)))
	return append(out, context...)
}

// SealAll seals plain secrets in place; those already sealed are checked and
// stay, and so do the names of stored ones. Either all are sealed or, with an error, none is changed. Errors wrap
// ErrUnresolved for references, else those of Open.
func (k *Keeper) SealAll(context string, list []*spec.Secret) error {
	return replace(list, func(s spec.Secret) (spec.Secret, error) {
		switch s.Type {
		case spec.SecretPlain:
			return spec.Secret{Type: spec.SecretSealed, Value: k.Seal(s.Value, context)}, nil
		case spec.SecretSealed:
			_, err := k.Open(s.Value, context)
			return s, err
		case spec.SecretStored:
			return s, nil
		default:
			return s, fmt.Errorf("%w: it is of type %q", ErrUnresolved, s.Type)
		}
	})
}

// SealStored seals a stored secret, bound to its tenant and its name.
func (k *Keeper) SealStored(tenant, name, value string) string {
	return k.Seal(value, storedContext(tenant, name))
}

// OpenStored returns the value of a stored secret. Errors are those of Open.
func (k *Keeper) OpenStored(tenant, name, sealed string) (string, error) {
	return k.Open(sealed, storedContext(tenant, name))
}

// storedContext is no tenant's name, and different for each tenant and name:
// neither of them holds a slash.
func storedContext(tenant, name string) string { return tenant + "/stored/" + name }

// OpenAll makes sealed secrets plain in place; plain ones stay. Either all are
// opened or, with an error, none is changed. Errors are those of Open, and
// ErrUnresolved for references.
func (k *Keeper) OpenAll(context string, list []*spec.Secret) error {
	return replace(list, func(s spec.Secret) (spec.Secret, error) {
		switch s.Type {
		case spec.SecretPlain:
			return s, nil
		case spec.SecretSealed:
			plain, err := k.Open(s.Value, context)
			return spec.Plain(plain), err
		default:
			return s, fmt.Errorf("%w: it is of type %q", ErrUnresolved, s.Type)
		}
	})
}

func replace(list []*spec.Secret, by func(spec.Secret) (spec.Secret, error)) error {
	out := make([]spec.Secret, len(list))
	for i, s := range list {
		next, err := by(*s)
		if err != nil {
			return fmt.Errorf("secret %d of %d: %w", i+1, len(list), err)
		}
		out[i] = next
	}
	for i, s := range list {
		*s = out[i]
	}
	return nil
}
