// Package store turns a tenant's documents into what the replicated state
// holds and back: blobs with sealed secrets, and the manifest that points to
// them. It never proposes anything and never sees a secret it did not seal.
package store
