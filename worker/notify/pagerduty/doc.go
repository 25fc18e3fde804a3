// Package pagerduty opens and resolves incidents by PagerDuty's Events API v2:
// an alert that fires, or comes back, triggers; a retracted one resolves. The
// alert's id is the key by which PagerDuty knows that they belong together.
//
// It makes single attempts; it never retries.
package pagerduty
