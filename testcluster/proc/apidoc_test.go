package proc

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// apiDocument is docs/openapi.json, as far as requests are made from it.
type apiDocument struct {
	Paths      map[string]map[string]apiOperation `json:"paths"`
	Components struct {
		Schemas map[string]*apiSchema `json:"schemas"`
	} `json:"components"`

	operations []apiOperation // by path and method
}

type apiOperation struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name   string     `json:"name"`
		In     string     `json:"in"`
		Schema *apiSchema `json:"schema"`
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct {
			Schema *apiSchema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`

	method, path string
}

// apiSchema is a schema; a type may be one of several.
type apiSchema struct {
	Ref        string                `json:"$ref"`
	Type       any                   `json:"type"`
	Format     string                `json:"format"`
	Enum       []any                 `json:"enum"`
	Properties map[string]*apiSchema `json:"properties"`
	Required   []string              `json:"required"`
	Items      *apiSchema            `json:"items"`
	Maximum    *float64              `json:"maximum"`
	MaxLength  *int                  `json:"maxLength"`
}

func readAPIDocument(t testing.TB) *apiDocument {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := &apiDocument{}
	if err := json.Unmarshal(data, d); err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			o := d.Paths[path][method]
			o.path, o.method = path, strings.ToUpper(method)
			d.operations = append(d.operations, o)
		}
	}
	if len(d.operations) == 0 {
		t.Fatal("the document has no operations")
	}
	return d
}

// apiRequest is a request as it goes over the wire.
type apiRequest struct {
	operation string
	method    string
	target    string // path and query
	header    []string
	body      string
	chunks    string // instead of the body, as they are
}

// apiGenerator makes requests from the document, the same ones from the same seed:
// some as they should be, most with something odd about them.
type apiGenerator struct {
	*rand.Rand
	doc    *apiDocument
	tenant string              // whose names these are
	names  map[string][]string // of what there is, by parameter, or by the kind of operation
	bodies map[string][]string // that are right, by operation
}

func newAPIGenerator(seed uint64, doc *apiDocument) *apiGenerator {
	return &apiGenerator{Rand: rand.New(rand.NewPCG(seed, 0)), doc: doc} //nolint:gosec // the same ones again, not secrets
}

func pick[T any](g *apiGenerator, list []T) T { return list[g.IntN(len(list))] }

// oddWords are names, numbers and texts that programs stumble over.
var oddWords = []string{
	"", ".", "..", "...", "/", "\\", "%", "%00", "%2e%2e", "%2f", "%252e%252e%252f", "\x00", "\x7f", "\r\nX-Injected: 1", " ", "a b", "-1", "0", "00", "0x10",
	"18446744073709551615", "18446744073709551616", "-9223372036854775809", "1e999", "NaN", "null", "true", "[]", "{}", "'\"<>&;", "{{.}}", "${x}", "$(id)",
	"\u202e", "\u0000", "ａｂｃ", "é", "e\u0301", "💥", "\xff\xfe", "\xed\xa0\x80", strings.Repeat("x", 300), strings.Repeat("%41", 100), "CON", "_shared", "*", "?", "#", "+",
}

// rawSegments are parts of paths that are not what they look like.
var rawSegments = []string{
	"..", ".", "%2e%2e", "%2E%2E", "..%2f..%2f", "%2f", "%5c", "%00", "%252e%252e%252fx", "%c0%ae%c0%ae", "%ff", "%u002e", "%", "%zz", "a%20b", "a;b=c", "a%3fb", "a%23b", "%e2%80%ae", "",
	"~", "*", "@", ":8080",
}

// request makes the next one.
func (g *apiGenerator) request() apiRequest {
	o := pick(g, g.doc.operations)
	r := apiRequest{operation: o.ID, method: o.method}
	path := o.path
	for _, p := range o.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", g.segment(&o, p.Name))
		}
	}
	if g.chance(3) {
		at := strings.Index(path[1:], "/") + 1
		path = path[:at] + "/" + pick(g, rawSegments) + path[at:]
	}
	query := url.Values{}
	for _, p := range o.Parameters {
		switch {
		case p.In == "query" && g.chance(20):
			query.Add(p.Name, g.text(p.Schema))
			if g.chance(5) {
				query.Add(p.Name, g.text(p.Schema))
			}
		case p.In == "query" && p.Name == "network" && o.ID == "coverage.get":
			query.Set("network", "net")
		case p.In == "header" && g.chance(15):
			r.header = append(r.header, p.Name+": "+header(g.text(p.Schema)))
		}
	}
	if g.chance(4) {
		query.Add(pick(g, []string{"other", "", "limit[]", "index", "%00"}), pick(g, oddWords))
	}
	r.target = path
	switch {
	case g.chance(2):
		r.target += "?" + pick(g, []string{"%", "a=%zz", ";;", "&&&", "=", "limit=1;limit=2"})
	case len(query) > 0:
		r.target += "?" + query.Encode()
	}
	if g.chance(2) {
		r.method = pick(g, []string{"PATCH", "HEAD", "OPTIONS", "TRACE", "FOO", "get"})
	}
	r.header = append(r.header, g.oddHeaders()...)
	if o.RequestBody != nil || g.chance(5) {
		r.body = g.body(&o)
		kind := "application/json"
		if g.chance(8) {
			kind = pick(g, []string{"text/plain", "application/xml", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "json", "\"", ""})
		}
		r.header = append(r.header, "Content-Type: "+kind)
		if g.chance(3) {
			r.chunks = pick(g, []string{"zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\n{}\r\n0\r\n\r\n", "0\r\nX: y\r\n\r\n", "2;a=b\r\n{}XX"})
		}
	}
	return r
}

func (g *apiGenerator) chance(percent int) bool { return g.IntN(100) < percent }

// segment is what stands for a parameter in a path.
func (g *apiGenerator) segment(o *apiOperation, name string) string {
	if name == "tenant" && !g.chance(12) {
		return g.tenant
	}
	known := g.names[name]
	kind, _, _ := strings.Cut(o.ID, ".")
	if of := g.names[kind]; len(of) > 0 {
		known = of
	}
	switch {
	case len(known) > 0 && !g.chance(25):
		return url.PathEscape(pick(g, known))
	case g.chance(50):
		return pick(g, rawSegments)
	default:
		return url.PathEscape(pick(g, oddWords))
	}
}

// header is a value that fits on a line, mostly.
func header(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return '_'
		}
		return r
	}, text)
}

func (g *apiGenerator) oddHeaders() (out []string) {
	if !g.chance(15) {
		return nil
	}
	return []string{pick(g, []string{
		"X-Request-Id: " + header(pick(g, oddWords)), "If-Match: *", "If-Match: \"" + strings.Repeat("a", 2000) + "\"", "If-None-Match: *", "If-None-Match: ,,,",
		"Accept: application/xml", "Accept: */*;q=x", "Accept-Encoding: gzip, br, *;q=0", "Content-Encoding: gzip", "Origin: https://evil.example", "Expect: 100-continue",
		"X-Forwarded-For: 127.0.0.1", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /v1/keys", "Ozmo-Passed-On: a", "Ozmo-Asked-By: socket", "Last-Event-ID: 1",
		"Cookie: a=b", "Range: bytes=0-1", "Upgrade: websocket", "X-Long: " + strings.Repeat("y", 70_000), "Bad Header", "X-Bad: \x01", ": empty",
	})}
}

// kind is the type of a schema, resolved.
func (g *apiGenerator) resolve(s *apiSchema) (*apiSchema, string) {
	for s != nil && s.Ref != "" {
		s = g.doc.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	if s == nil {
		return &apiSchema{}, ""
	}
	switch t := s.Type.(type) {
	case string:
		return s, t
	case []any:
		if len(t) > 0 {
			return s, fmt.Sprint(t[0])
		}
	}
	return s, ""
}

// text is a value for a query or a header.
func (g *apiGenerator) text(s *apiSchema) string {
	if g.chance(50) {
		return pick(g, oddWords)
	}
	s, kind := g.resolve(s)
	switch {
	case len(s.Enum) > 0:
		return fmt.Sprint(pick(g, s.Enum))
	case kind == "integer":
		return fmt.Sprint(g.IntN(500))
	case kind == "boolean":
		return pick(g, []string{"true", "false"})
	case s.Format == "date-time":
		return pick(g, []string{"2026-01-02T03:04:05Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+14:00", "2026-13-40T25:61:61Z"})
	}
	return pick(g, append(g.names["id"], "x"))
}

// body is one that is right, or one by the schema, or neither.
func (g *apiGenerator) body(o *apiOperation) string {
	var text string
	var schema *apiSchema
	if o.RequestBody != nil {
		schema = o.RequestBody.Content["application/json"].Schema
	}
	if right := g.bodies[o.ID]; len(right) > 0 && g.chance(60) {
		text = pick(g, right)
	} else {
		data, err := json.Marshal(g.value(schema, 0))
		if err != nil {
			panic(err) // only what JSON can hold is made
		}
		text = string(data)
	}
	switch {
	case g.chance(45):
		return text
	case g.chance(40) && strings.HasPrefix(text, "{"):
		return g.changed(text)
	case g.chance(30):
		return text[:g.IntN(len(text)+1)]
	case g.chance(20):
		return text + text
	}
	return pick(g, []string{
		"", " ", "null", "[]", "{}", "0", `""`, "1e999", "\xff\xfe", "\xef\xbb\xbf{}", strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 5_000), `{"a":1,"a":2}`, "{'a':1}",
		`{"__proto__":{}}`, `{"value":"` + strings.Repeat("y", 70_000) + `"}`, `{"x":"` + strings.Repeat("z", 1<<20) + `"}`, "--x\r\n", "<a/>", `"\ud800"`,
	})
}

// changed replaces one value in a document, wherever it lies.
func (g *apiGenerator) changed(text string) string {
	var doc any
	if json.Unmarshal([]byte(text), &doc) != nil {
		return text
	}
	var places []func(any)
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				places = append(places, func(n any) { v[k] = n })
				visit(v[k])
			}
		case []any:
			for i := range v {
				places = append(places, func(n any) { v[i] = n })
				visit(v[i])
			}
		}
	}
	visit(doc)
	if len(places) > 0 {
		pick(g, places)(g.odd())
	}
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(data)
}

func (g *apiGenerator) odd() any {
	switch g.IntN(8) {
	case 0:
		return nil
	case 1:
		return []any{}
	case 2:
		return map[string]any{"type": "plain"}
	case 3:
		return pick(g, []float64{0, -1, 1e18, 1e300, 0.5, -1e18})
	case 4:
		return json.Number(pick(g, []string{"123456789012345678901234567890", "-0", "1e400", "1E-400"}))
	case 5:
		return strings.Repeat("(", 5_000)
	case 6:
		return g.IntN(2) == 0
	}
	return strings.ToValidUTF8(pick(g, oddWords), "?")
}

// value is one by a schema, with odd ones among them.
func (g *apiGenerator) value(s *apiSchema, depth int) any {
	if depth > 6 || g.chance(10) {
		return g.odd()
	}
	s, kind := g.resolve(s)
	if len(s.Enum) > 0 {
		return pick(g, s.Enum)
	}
	switch kind {
	case "object":
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) && !g.chance(10) || g.chance(50) {
				out[name] = g.value(s.Properties[name], depth+1)
			}
		}
		if g.chance(10) {
			out[strings.ToValidUTF8(pick(g, oddWords), "?")] = g.odd()
		}
		return out
	case "array":
		out := make([]any, g.IntN(4))
		for i := range out {
			out[i] = g.value(s.Items, depth+1)
		}
		return out
	case "integer":
		return g.IntN(1000)
	case "number":
		return g.Float64()
	case "boolean":
		return g.chance(50)
	case "string":
		if s.Format == "date-time" {
			return "2099-01-02T03:04:05Z"
		}
		return pick(g, append(slices.Clone(g.names["id"]), "x", "some text"))
	}
	return g.odd()
}
