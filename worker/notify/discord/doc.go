// Package discord sends notifications to webhooks of Discord and owns what
// a message looks like there: OpenZeppelin Monitor's body, in which values from
// the chain neither notify anybody nor make links or formatting.
//
// It makes single attempts; it never retries.
package discord
