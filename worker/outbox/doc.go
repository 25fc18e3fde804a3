// Package outbox makes the deliveries of this node's tenants that could not be
// made at once, over hours, until the receiver accepts them or they become dead
// letters. What is to be delivered, and when, is in the replicated state, so that
// it goes on wherever the tenant is; in memory there is only an index of it by
// time, which can be made anew at any moment. A delivery waits for the one of the
// same alert that must come before it. The outbox never attempts anything for a
// tenant of another node.
package outbox
