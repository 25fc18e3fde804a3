// Package spec owns the documents a user writes: Network, Monitor and Trigger,
// the Secret values inside them, and the folder that holds them. The documents
// are those of OpenZeppelin Monitor 1.6; a document that program accepts is
// accepted here.
//
// Reading is strict and complete: every problem of a document is reported at
// once, each with the place, what was found and what is expected. The rules
// that depend on a secret's value run only where a Resolver is given.
//
// The package looks at shapes, never at meaning: it does not compile
// expressions, does not match signatures against contracts, and opens no
// connection. It reads the clock nowhere. Files are read through an fs.FS; the
// environment and secret files only through LocalResolver.
//
// Nothing here prints a secret: fmt and slog show "[secret]", problems show at
// most the scheme and host of an address. Marshalling to JSON does write the
// value, since documents must round-trip; seal secrets before storing them.
package spec
