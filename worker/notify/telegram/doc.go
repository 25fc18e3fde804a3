// Package telegram sends notifications through a bot of Telegram and owns what
// a message looks like there: OpenZeppelin Monitor's body and MarkdownV2, in
// which values from the chain never open, close or break markup.
//
// It makes single attempts; it never retries.
package telegram
