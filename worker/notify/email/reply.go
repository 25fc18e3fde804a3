package email

import (
	"errors"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	gomail "github.com/wneessen/go-mail"
)

// maxReply is how many bytes a mail server may send in one attempt, TLS and
// all: its replies are short, and read whole.
const maxReply = 256 << 10

var errTooLong = errors.New("the mail server's replies do not end")

// boundedConn reads no more than a bounded number of bytes.
type boundedConn struct {
	net.Conn

	left int           // read by one goroutine at a time
	sent *atomic.Int64 // bytes written
}

func (c *boundedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Read fails once the server has sent too much.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// replies finds the server's replies in an error of the mail library that does
// not carry them otherwise: a code and, in quotes or not, its text.
var replies = regexp.MustCompile(`\b[45][0-9]{2} ("(?:[^"\\]|\\.)*"|[^,]*)`)

// reply is the mail server's reply that an error stands for, if it does.
func reply(err error) (code int, text string, ok bool) {
	if protocol, is := errors.AsType[*textproto.Error](err); is {
		return protocol.Code, protocol.Msg, protocol.Code >= 400
	}
	sending, is := errors.AsType[*gomail.SendError](err)
	if !is || sending.ErrorCode() < 400 {
		return 0, "", false
	}
	var texts []string // one for each recipient, say
	for _, m := range replies.FindAllStringSubmatch(sending.Error(), -1) {
		text := m[1]
		if plain, err := strconv.Unquote(text); err == nil {
			text = plain
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return sending.ErrorCode(), strings.Join(texts, "\n"), true
}
