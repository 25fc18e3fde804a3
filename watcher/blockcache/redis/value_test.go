package redis

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

// The form of keys and values is shared with nodes of other versions: a change
// needs another version in keyPrefix.
func TestGolden(t *testing.T) {
	key := blockKey("prod", "acme/base", fsm.Hash{1, 2})
	got := key + "\n" +
		hex.EncodeToString(encode(key, blockcache.Packed{Bytes: []byte("packed"), Size: 1234})) + "\n" +
		hex.EncodeToString(encode(key, blockcache.Packed{Bytes: []byte("payload"), Plain: true, Size: 7})) + "\n" +
		probeKey("prod") + "\n"
	want, err := os.ReadFile(filepath.Join("testdata", "value.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestValueSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		key := rapid.String().Draw(t, "key")
		v := encode(key, blockcache.Pack(payload))
		p, ok := decode(key, v)
		if !ok {
			t.Fatal("a value that was encoded is not understood")
		}
		if got, err := p.Unpack(); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("the payload is %q, %v", got, err)
		}
		if _, ok := decode(key+"x", v); ok {
			t.Fatal("the value of one key was taken for that of another")
		}
		at := rapid.IntRange(0, len(v)-1).Draw(t, "at")
		if _, ok := decode(key, v[:at]); ok {
			t.Fatal("a torn value was taken")
		}
		v[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if _, ok := decode(key, v); ok {
			t.Fatal("a value with a wrong byte was taken")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, payload := range []string{"", "block", strings.Repeat("block ", 100)} {
		f.Add("key", encode("key", blockcache.Pack([]byte(payload))))
	}
	f.Add("", []byte("z"))
	f.Fuzz(func(t *testing.T, key string, v []byte) {
		p, ok := decode(key, v)
		if ok && !bytes.Equal(encode(key, p), v) {
			t.Fatalf("%x is understood, and is not what is written for it", v)
		}
	})
}

func TestLonger(t *testing.T) {
	var got []time.Duration
	var pause time.Duration
	for range 8 {
		pause = longer(pause, time.Second)
		got = append(got, pause/time.Second)
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 30, 30, 30}; !slices.Equal(got, want) {
		t.Fatalf("pauses of %d s, want %d", got, want)
	}
	if got := longer(time.Second, time.Minute); got != time.Minute {
		t.Errorf("a probe every minute pauses %v", got)
	}
}
