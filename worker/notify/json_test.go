package notify

import (
	"encoding/json"
	"testing"
)

func TestStringsAreEscapedAsLittleAsPossible(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", `""`},
		{`a"b\c/`, `"a\"b\\c/"`},
		{"\b\f\n\r\t", `"\b\f\n\r\t"`},
		{"\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""},
		{"<a href='x'>&</a>", `"<a href='x'>&</a>"`},
		{"\u2028\u2029 é 🚀", "\"\u2028\u2029 é 🚀\""},
		{"\xff\xfe", "\"\uFFFD\uFFFD\""},
	} {
		if got := string(AppendString(nil, tc.in)); got != tc.want {
			t.Errorf("%q gives %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	in := ` { "b" : [ 1.50, -0, 1e400, 123456789012345678901234567890, true, null ], "a": {"z":"\u003c\/é","A":{}} , "B": [] } `
	want := `{"B":[],"a":{"A":{},"z":"</é"},"b":[1.50,-0,1e400,123456789012345678901234567890,true,null]}`
	got, err := Canonical([]byte(in))
	if err != nil || string(got) != want {
		t.Errorf("Canonical = %s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", "{", "{} {}", "nil"} {
		if _, err := Canonical([]byte(bad)); err == nil {
			t.Errorf("Canonical(%q) was accepted", bad)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,"\u2028"],"a":null}`))
	f.Add([]byte("\"\xff\\ud800\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Canonical(data)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q gives %q, which is no JSON", data, out)
		}
		if again, err := Canonical(out); err != nil || string(again) != string(out) {
			t.Fatalf("%q gives %q, then %q, %v", data, out, again, err)
		}
	})
}
