// Package webhook sends notifications to any HTTP address and owns how they are
// signed, by two schemes side by side: OpenZeppelin Monitor's X-Signature and
// X-Timestamp, and Standard Webhooks. Receivers written in Go can check both
// with Verify.
//
// It makes single attempts; it never retries and never follows a redirect.
package webhook
