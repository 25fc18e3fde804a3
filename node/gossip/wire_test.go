package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var golden = map[string]wire{
	"01000000000000" + "00000000": {},
	"010903deadbeef" +
		"10" + hex.EncodeToString([]byte("monitor-0.ns:7000")[:16]) + // 16 bytes
		"0a" + hex.EncodeToString([]byte("a@0123abcd")) +
		"05" + hex.EncodeToString([]byte("1.2.3")) +
		"06" + hex.EncodeToString([]byte("a:8080")): {
		Meta:    Meta{Server: "a@0123abcd", Version: "1.2.3", Commands: 9, Roles: 3, HTTP: "a:8080"},
		Address: "monitor-0.ns:700", Run: 0xdeadbeef,
	},
}

func TestWireGolden(t *testing.T) {
	for text, w := range golden {
		got, err := w.encode()
		if err != nil || hex.EncodeToString(got) != text {
			t.Errorf("%+v is\n%x, %v, want\n%s", w, got, err, text)
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		// What a later version adds is ignored.
		for _, more := range [][]byte{nil, {1}, []byte("and more")} {
			back, err := decodeWire(append(b, more...))
			if err != nil || back != w {
				t.Errorf("%s is %+v, %v", text, back, err)
			}
		}
		for k := range b {
			if back, err := decodeWire(b[:k]); err == nil {
				t.Errorf("the first %d bytes of %s are %+v", k, text, back)
			}
		}
	}
}

func TestWireLimits(t *testing.T) {
	w := wire{Address: strings.Repeat("a", 253+6), Meta: Meta{Server: strings.Repeat("s", 64+9), Version: "1.22.333", HTTP: strings.Repeat("h", 100)}}
	if _, err := w.encode(); err != nil {
		t.Errorf("the longest DNS name and node name: %v", err)
	}
	w.HTTP = strings.Repeat("h", 200)
	if _, err := w.encode(); !errors.Is(err, ErrMetaTooLong) {
		t.Errorf("%v", err)
	}
	if _, err := decodeWire([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}); err == nil {
		t.Error("read a format of the future")
	}
}

func TestLeavingGolden(t *testing.T) {
	b := encodeLeaving("node", 0xdeadbeef)
	if got, want := hex.EncodeToString(b), "01deadbeef6e6f6465"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if name, run, ok := decodeLeaving(b); name != "node" || run != 0xdeadbeef || !ok {
		t.Errorf("%q, %x, %v", name, run, ok)
	}
	for _, bad := range [][]byte{nil, {1}, b[:5], {2, 0, 0, 0, 0, 'a'}} {
		if name, run, ok := decodeLeaving(bad); ok {
			t.Errorf("%x says that %q of %x leaves", bad, name, run)
		}
	}
}

func FuzzDecodeWire(f *testing.F) {
	for text := range golden {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(encodeLeaving("node", 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, run, ok := decodeLeaving(b); ok && !bytes.Equal(encodeLeaving(name, run), b) {
			t.Errorf("%x says that %q of %x leaves", b, name, run)
		}
		w, err := decodeWire(b)
		if err != nil {
			return
		}
		again, err := w.encode()
		if errors.Is(err, ErrMetaTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeWire(again); err != nil || back != w {
			t.Errorf("%+v became %+v, %v", w, back, err)
		}
	})
}
