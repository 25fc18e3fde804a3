// Package notify turns one delivery into one notification and sends it: it
// owns templates, payloads, the rules of HTTP sending, the retry policy and
// the limits under which a node sends.
//
// A channel (subpackages webhook, console, …) makes a single attempt and says
// what came of it; a Sender bounds attempts and repeats them in process
// according to the trigger's retry policy. What must be retried for hours
// belongs to the outbox, which reads the same Result. Nothing here stores
// anything, judges whether a notification is due, or resolves secrets.
package notify
