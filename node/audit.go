package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// audited are the fields of requests, in the query or the body, that say what a
// command is about. Everything else may be secret, and is not logged.
var audited = []string{
	"tenant", "name", "network", "monitor", "trigger", "from", "to", "since", "until", "state", "statuses", "keys",
	"all", "limit", "pin", "weight", "priority", "send", "include_unknown", "force", "dry_run",
}

const (
	maxAudited     = 1 << 20 // bytes of a body that are looked at
	maxAuditedText = 200     // of one field, in bytes
	maxAuditedList = 5
)

// auditOf says what a request is about, to be logged. The body can still be read
// as if nobody had looked at it.
func auditOf(r *http.Request) slog.Value {
	fields := map[string]any{}
	for name, values := range r.URL.Query() {
		fields[name] = strings.Join(values, " ")
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxAudited))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if err == nil {
		_ = json.Unmarshal(head, &fields) // an archive, say, has none
	}
	if choice, ok := fields["choice"].(map[string]any); ok {
		maps.Copy(fields, choice)
	}
	var about []slog.Attr
	for _, name := range audited {
		if text := auditText(fields[name]); text != "" {
			about = append(about, slog.String(name, text))
		}
	}
	return slog.GroupValue(about...)
}

// auditText is a field's value in short; empty for one that is not there.
func auditText(value any) string {
	text := ""
	switch v := value.(type) {
	case nil, map[string]any:
		return ""
	case []any:
		var parts []string
		for _, one := range v[:min(len(v), maxAuditedList)] {
			parts = append(parts, auditText(one))
		}
		if more := len(v) - maxAuditedList; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
		text = strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ",")
	default:
		text = fmt.Sprint(v)
	}
	return strings.ToValidUTF8(text[:min(len(text), maxAuditedText)], "")
}
