package rpc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParseEnvelope(t *testing.T) {
	for _, tc := range []struct{ body, result, err string }{
		{`{"jsonrpc":"2.0","id":1,"result":"0x1"}`, `"0x1"`, ``},
		{` {"id":1,"result":null} ` + "\n", `null`, ``},
		{`{"result":{"a":["}",{"b":"\"]"}]},"error":null}`, `{"a":["}",{"b":"\"]"}]}`, ``},
		{`{"error":{"code":-32000,"message":"no"},"id":null}`, ``, `{"code":-32000,"message":"no"}`},
		{`{"result":"a\\"}`, `"a\\"`, ``},
		{`{}`, ``, ``},
	} {
		e, err := parseEnvelope([]byte(tc.body))
		if err != nil || string(e.result) != tc.result || string(e.err) != tc.err {
			t.Errorf("%s: result %s, error %s, %v", tc.body, e.result, e.err, err)
		}
	}
	for _, body := range []string{
		``, ` `, `<html>`, `[]`, `"x"`, `{`, `{"result"`, `{"result":`, `{"result":"0x`, `{"result":[1,2}`[:14], `{"result":nope}`,
		`{"result":1}x`, `{"result":1,}`, `{result:1}`, `{"result" 1}`, `{"result":1 "id":2}`, `{"result":}`,
	} {
		if e, err := parseEnvelope([]byte(body)); err == nil {
			t.Errorf("%q: parsed as %+v, want an error", body, e)
		}
	}
}

func TestParseBatch(t *testing.T) {
	got, err := parseBatch([]byte(` [ {"id":2,"result":[1,[2]]} , {"id":1,"error":{"code":1}} ] `))
	if err != nil || len(got) != 2 || string(got[0].id) != "2" || string(got[0].result) != "[1,[2]]" || got[1].err == nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, body := range []string{``, `{}`, `[`, `[{"id":1}`, `[1]`, `[{"id":1},`} {
		if got, err := parseBatch([]byte(body)); err == nil {
			t.Errorf("%q: parsed as %+v, want an error", body, got)
		}
	}
}

// FuzzEnvelope compares with encoding/json: what that reads, this reads alike.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"a":[1,2,"x\"y"]}}`, `{"error":{"code":-32601,"message":"x"},"id":1}`,
		`[{"id":1,"result":1},{"id":2,"error":{}}]`, `{"method":"eth_subscription","params":{"subscription":"0x1"}}`,
		`<html>`, `{"result":"\\\""}`, `{"result":`, ``, `{"a":{"b":{"c":[]}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = parseBatch(body)
		e, err := parseEnvelope(body)
		var want map[string]json.RawMessage
		if json.Unmarshal(body, &want) != nil || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q is valid, got %v", body, err)
		}
		if bytes.ContainsRune(body, '\\') || bytes.ContainsRune(body, '\uFFFD') {
			return // keys may be spelled with escapes; nodes do not
		}
		if w := want["result"]; string(w) != string(e.result) {
			t.Fatalf("result %q, want %q", e.result, w)
		}
		if w := want["error"]; string(w) != string(e.err) && string(w) != "null" {
			t.Fatalf("error %q, want %q", e.err, w)
		}
	})
}

func BenchmarkParseEnvelope(b *testing.B) {
	tx := `{"hash":"0x` + strings.Repeat("ab", 32) + `","input":"0x` + strings.Repeat("00", 300) + `","value":"0x0"},`
	body := []byte(`{"jsonrpc":"2.0","id":1,"result":[` + strings.Repeat(tx, 1000) + `{}]}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := parseEnvelope(body); err != nil {
			b.Fatal(err)
		}
	}
}
