package v1

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// cursor is where the next page of a list begins. It is the list's operation and the
// last id of this page, which says nothing that the page does not: what is added or
// deleted meanwhile does not make others come twice, or not at all.
func cursor(list, last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + " " + last))
}

// readCursor is the opposite.
func readCursor(text string) (list, last string, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(data) {
		return "", "", false
	}
	return strings.Cut(string(data), " ")
}

// paged is an answer with a page of a list. Its handler says after which item the next
// one begins, and register makes a cursor of that.
type paged interface{ next() *string }

func (o *pageOutput[T]) next() *string  { return &o.Body.Next }
func (o *alertsOutput) next() *string   { return &o.Body.Next }
func (o *allUsageOutput) next() *string { return &o.Body.Next }

// checkQuery refuses what of a query would be passed over without a word: what cannot
// be read, and a cursor of another list. Unknown parameters, huma refuses.
func (a *API) checkQuery(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	if wrong := unreadable(u.RawQuery); len(wrong) > 0 {
		a.refuse(ctx, huma.NewError(http.StatusUnprocessableEntity, "validation failed", wrong...))
		return
	}
	if text := ctx.Query("cursor"); text != "" {
		if list, _, ok := readCursor(text); !ok || list != operationOf(ctx).id {
			a.refuse(ctx, badCursor())
			return
		}
	}
	next(ctx)
}

// unreadable tells what of a query is not encoded as it has to be.
func unreadable(query string) (wrong []error) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		shown, err := url.QueryUnescape(name)
		if err != nil {
			shown = "a parameter"
		} else {
			_, err = url.QueryUnescape(value)
		}
		told := ""
		switch {
		case err != nil:
			told = "is not encoded as a query has to be: write %25 for a % itself"
		case strings.Contains(pair, ";"):
			told = "has a semicolon in it: write & between parameters, and %3B for a semicolon itself"
		default:
			continue
		}
		wrong = append(wrong, &huma.ErrorDetail{Location: "query." + shown, Message: told})
	}
	return wrong
}

var errCursor = huma.ErrorDetail{Location: "query.cursor", Message: "is no cursor of this list: give next of the page before, or leave it out for the first page"}

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
	if p.Cursor == "" {
		return "", nil
	}
	_, last, ok := readCursor(p.Cursor)
	if !ok || last == "" {
		return "", badCursor()
	}
	return last, nil
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
