package slack

import (
	"regexp"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// limit is Slack's own for the text of a section block, in UTF-16 code units. A
// longer message is shortened: Slack would refuse it, and the alert with it.
const limit = 3000

// mrkdwn is Slack's markup. Formatting begins and ends at the ends of words and
// there is no escape character; what stands in angle brackets is for Slack to
// act on. Bare addresses become links of their own.
var mrkdwn = &notify.Dialect{
	Delimiters: "*_~",
	Role:       role,
	Mentions: []*regexp.Regexp{
		regexp.MustCompile(`(?i)@()(?:everyone|here|channel|group)`),
		regexp.MustCompile(`<()[!@#]`),
		regexp.MustCompile(`<[!@#](?:subteam\^)?()[A-Za-z0-9]`),
		regexp.MustCompile(`(?i)#()[a-z]`), // a conversation
	},
	Links: []*regexp.Regexp{
		regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*:()//`),
		regexp.MustCompile(`(?i)(?:mailto|tel):()`),
		regexp.MustCompile(`()\.[A-Za-z]{2}`), // a domain, also of a mail address
	},
	Anchor:   regexp.MustCompile(`<(?P<target>[^<>|\n]*)(?:\|[^<>\n]*)?>`),
	Entities: true,
}

func role(_, before, after byte) (opens, closes bool) {
	return !notify.IsWord(before) && !notify.IsBlank(after), !notify.IsWord(after) && !notify.IsBlank(before)
}

// Text is the text of a message: the peer's, with values made harmless.
func Text(m notify.Message) string {
	t := notify.Join(notify.Words("*"), m.Title, notify.Words("*\n\n"), m.Body)
	return notify.Fit(t, limit, mrkdwn.Write)
}

// Payload is the body of the request (spec triggers-and-notifications §4).
func Payload(m notify.Message) []byte {
	b := []byte(`{"blocks":[{"text":{"text":`)
	b = notify.AppendString(b, Text(m))
	return append(b, `,"type":"mrkdwn"},"type":"section"}]}`...)
}
