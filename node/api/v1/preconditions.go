package v1

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Preconditions say for which content of a document a request is meant. They go by tags
// alone: when a document has changed is not kept beside it.
type Preconditions struct {
	IfMatch     []string `header:"If-Match" doc:"Tags, of which the document has to have one, or *: it has to be there."`
	IfNoneMatch []string `header:"If-None-Match" doc:"Tags, of which the document must not have any, or *: it must not be there."`
}

// hasOne reports whether tags name one, which is empty where there is no document.
func hasOne(tags []string, tag string) bool {
	return tag != "" && slices.ContainsFunc(tags, func(t string) bool {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		return t == "*" || strings.Trim(t, `"`) == tag
	})
}

// reads refuses to show what is not wanted, or is known already.
func (p *Preconditions) reads(tag string) error {
	if err := p.match(tag); err != nil {
		return err
	}
	if hasOne(p.IfNoneMatch, tag) {
		return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"ETag": {quoted(tag)}})
	}
	return nil
}

// writes refuses to change what is another content than was meant.
func (p *Preconditions) writes(tag string) error {
	if err := p.match(tag); err != nil {
		return err
	}
	if hasOne(p.IfNoneMatch, tag) {
		return failed("headers.If-None-Match", "it is there, with the tag "+quoted(tag))
	}
	return nil
}

func (p *Preconditions) match(tag string) error {
	switch {
	case len(p.IfMatch) == 0 || hasOne(p.IfMatch, tag):
		return nil
	case tag == "":
		return failed("headers.If-Match", "it is not there")
	default:
		return failed("headers.If-Match", "it has changed: the tag is "+quoted(tag)+" now")
	}
}

func failed(location, message string) error {
	return huma.NewError(http.StatusPreconditionFailed, "the precondition does not hold", &huma.ErrorDetail{Location: location, Message: message})
}
