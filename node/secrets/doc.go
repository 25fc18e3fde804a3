// Package secrets keeps secret values out of everything that is stored: it
// seals them before they are proposed to the cluster, opens them where they are
// used, and resolves the references that documents of the operator's folder
// may hold.
//
// # Sealing
//
// Every node of a cluster holds the same master key, in the file sealing.key of
// its data directory. Keys for single purposes are derived from it. A sealed
// value is text, "v1.<key id>.<base64>", made with XChaCha20-Poly1305; the key
// id says which key it needs, so that keys can be changed later.
//
// The nonce is a keyed hash of the value and of what it is bound to, not
// random: sealing the same value again gives the same text, so that importing
// an unchanged folder changes nothing in the replicated state. The price is
// that whoever reads the stored text can see that two secrets bound to the same
// context are equal, and nothing more: two different values sharing a nonce
// would take a collision of 192 bits of HMAC-SHA256.
//
// A sealed value is bound to a context (its tenant, say) and opens only with
// the same one: copied into another tenant's document, it is worthless.
//
// The package never logs, and no error of it holds a secret.
package secrets
