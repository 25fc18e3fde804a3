// Package email sends notifications by SMTP. It owns what a mail looks like
// (Markdown rendered to HTML, values from the chain as nothing but text), how
// the connection to the mail server is secured, and how the server's replies
// are read.
//
// It makes single attempts, each over a connection of its own; it never
// retries, and never sends a credential over a connection without TLS.
package email
