package discord

import (
	"regexp"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// limit is Discord's own for a message, in UTF-16 code units. A longer one is
// shortened: Discord would refuse it, and the alert with it.
const limit = 2000

// markdown is Discord's. A field that forbids mentions exists in its API, but
// OpenZeppelin Monitor's body does not have it; so the mentions themselves are
// broken where a value makes them.
var markdown = &notify.Dialect{
	Delimiters: "*_~|",
	Role:       role,
	Mentions: []*regexp.Regexp{
		regexp.MustCompile(`(?i)@()(?:everyone|here)`),
		regexp.MustCompile(`<()(?:@|#|a?:|t:|/|id:)`), // user, role, channel, emoji, time, command
		regexp.MustCompile(`<(?:@[!&]?|#)()[0-9]`),
	},
	Links: []*regexp.Regexp{
		regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*:()//`),
		regexp.MustCompile(`(?i)discord(?:app)?()\.(?:gg|com)/`), // invitations need no scheme
	},
	Anchor:   regexp.MustCompile(`\[[^\[\]]*\]\((?P<target>[^()\s]*)\)`),
	Brackets: true,
}

// role follows Discord's reader: asterisks format inside words too, underscores
// close only at the end of one, and the marks for strike-through, spoilers and
// underlining are doubled.
func role(c, before, after byte) (opens, closes bool) {
	switch {
	case before == c || after == c:
		return true, true
	case c == '*':
		return !notify.IsBlank(after), !notify.IsBlank(before)
	case c == '_':
		return !notify.IsBlank(after), !notify.IsWord(after)
	default:
		return false, false
	}
}

// Text is the text of a message: the peer's, with values made harmless.
func Text(m notify.Message) string {
	t := notify.Join(notify.Words("*"), m.Title, notify.Words("*\n\n"), m.Body)
	return notify.Fit(t, limit, markdown.Write)
}

// Payload is the body of the request (spec triggers-and-notifications §4).
func Payload(m notify.Message) []byte {
	b := notify.AppendString([]byte(`{"content":`), Text(m))
	return append(b, '}')
}
