package client

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type entry struct{ name, text string }

func archive(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		err := w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(e.text))})
		if err == nil {
			_, err = w.Write([]byte(e.text))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func sums(entries ...entry) entry {
	text := ""
	for _, e := range entries {
		text += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(e.text)), e.name)
	}
	return entry{archiveSums, text}
}

var (
	meta  = entry{archiveMeta, `{"format": 1, "cluster": "prod", "index": 9}`}
	state = entry{"state.bin", "the state"}
)

func TestCheckArchive(t *testing.T) {
	a, err := CheckArchive(bytes.NewReader(archive(t, meta, state, sums(meta, state))))
	if err != nil || a.Cluster != "prod" || a.Index != 9 {
		t.Fatalf("%+v, %v", a, err)
	}
	for says, data := range map[string][]byte{
		"ends before SHA256SUMS":               archive(t, meta, state),
		`begins with "state.bin"`:              archive(t, state, meta, sums(meta, state)),
		`checksum of "state.bin" is wrong`:     archive(t, meta, entry{"state.bin", "another"}, sums(meta, state)),
		`no checksum of ["state.bin"]`:         archive(t, meta, state, sums(meta)),
		`checksum of "more" is wrong`:          archive(t, meta, state, sums(meta, state, entry{"more", ""})),
		"meta.json: ":                          archive(t, entry{archiveMeta, "no JSON"}, state),
		"begins with \"SHA256SUMS\"":           archive(t, sums()),
		"unexpected EOF":                       archive(t, meta, entry{"state.bin", strings.Repeat("x", 4096)})[:2048],
		"this is no whole archive":             []byte(strings.Repeat("nothing", 1000)),
		"it ends before SHA256SUMS":            nil,
		`the checksum of "" is wrong`:          archive(t, meta, entry{archiveSums, "nonsense\n"}),
		"SHA256SUMS: bufio.Scanner: token too": archive(t, meta, entry{archiveSums, strings.Repeat("x", 100_000)}),
	} {
		_, err := CheckArchive(bytes.NewReader(data))
		if !errors.Is(err, ErrNoArchive) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// Whatever comes, it is an archive or it is none, and the same each time.
func FuzzCheckArchive(f *testing.F) {
	whole := archive(f, meta, state, sums(meta, state))
	f.Add(whole)
	f.Add(whole[:700])
	f.Add(archive(f, meta, state))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := CheckArchive(bytes.NewReader(data))
		if err != nil && !errors.Is(err, ErrNoArchive) {
			t.Errorf("%v", err)
		}
		again, errAgain := CheckArchive(bytes.NewReader(data))
		if fmt.Sprint(a, err) != fmt.Sprint(again, errAgain) {
			t.Errorf("%v %v, then %v %v", a, err, again, errAgain)
		}
	})
}
