package fsm

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type failer interface {
	Helper()
	Fatal(args ...any)
}

func mustEncode(t failer, c Command) []byte {
	t.Helper()
	encoded, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func snapshot(t failer, v *View) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := v.WriteTo(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(buf.Len()) {
		t.Fatal("WriteTo counts", n, "bytes, wrote", buf.Len())
	}
	return buf.Bytes()
}

func readHex(t failer, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(path, err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// breakLines keeps golden files readable in a diff.
func breakLines(s string) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(s), 96) {
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}
