// Package postgres keeps the contents of tenants' documents, and the whole audit
// log, in a PostgreSQL database: contents by their hash, which the replicated state
// points to, and for people an account of tenants, versions and documents.
//
// The state decides, the database holds: nothing that is decided depends on what
// the database says. It never sees a secret that is not sealed, and its URL, which
// has a password, is in no message.
package postgres
