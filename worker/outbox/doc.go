// Package outbox makes the deliveries that could not be made at once, over
// hours, until the receiver accepts them or they become dead letters. What is
// to be delivered is in the replicated state; retry times are derived from it.
package outbox
