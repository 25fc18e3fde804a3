package v1

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// cursor is where the next page begins. It is the last id of this one, which says
// nothing that the page does not: what is added or deleted meanwhile does not make
// others come twice, or not at all.
func cursor(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

var errCursor = huma.ErrorDetail{Location: "query.cursor", Message: "is no cursor: give next of the page before"}

func badCursor() error {
	told := errCursor
	return huma.NewError(http.StatusUnprocessableEntity, "validation failed", &told)
}

// invalid refuses a value of a request.
func invalid(location, message string) error {
	return huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: location, Message: message})
}

// after is the id that the page follows; empty for the first page.
func (p Paging) after() (string, error) {
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !utf8.Valid(text) {
		return "", badCursor()
	}
	return string(text), nil
}

// before is the log index that the page goes back from; 0 for the first page.
func (p Paging) before() (uint64, error) {
	text, err := p.after()
	if err != nil || text == "" {
		return 0, err
	}
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil || index == 0 {
		return 0, badCursor()
	}
	return index, nil
}
