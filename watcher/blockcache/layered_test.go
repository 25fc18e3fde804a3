package blockcache_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

// shelf is a shared cache that tells what was asked of it.
type shelf struct {
	values     map[string]blockcache.Packed
	gets, puts int
}

func (s *shelf) GetPacked(_ context.Context, network string, hash fsm.Hash) (blockcache.Packed, bool) {
	s.gets++
	p, ok := s.values[network+hash.String()]
	return p, ok
}

func (s *shelf) PutPacked(network string, hash fsm.Hash, p blockcache.Packed) {
	s.puts++
	s.values[network+hash.String()] = p
}

func TestLayered(t *testing.T) {
	ctx, shared := t.Context(), &shelf{values: map[string]blockcache.Packed{}}
	one := blockcache.NewLayered(blockcache.NewMemory(0, nil), shared)
	memory := blockcache.NewMemory(0, nil)
	two := blockcache.NewLayered(memory, shared)
	payloads := [][]byte{[]byte(strings.Repeat(`{"hash":"0x00"},`, 1000)), noise(1, 1000), {}}
	for i, want := range payloads {
		one.Put(ctx, "n", hash(i), want)
		for range 3 {
			if got, ok := two.Get(ctx, "n", hash(i)); !ok || !bytes.Equal(got, want) {
				t.Errorf("payload %d: %d bytes, %v", i, len(got), ok)
			}
		}
		if got, ok := memory.Get(ctx, "n", hash(i)); !ok || !bytes.Equal(got, want) {
			t.Errorf("payload %d did not stay in memory", i)
		}
	}
	if shared.gets != 3 || shared.puts != 3 {
		t.Errorf("the shared cache was asked %d times and given %d, want 3 and 3", shared.gets, shared.puts)
	}
	if _, ok := two.Get(ctx, "other", hash(0)); ok {
		t.Error("a payload of one network was found under another")
	}

	clear(shared.values)
	two.Put(ctx, "n", hash(0), payloads[0])
	if len(shared.values) != 1 {
		t.Error("what the shared cache lost was not put there again")
	}
}

func TestLayeredTakesNothingBroken(t *testing.T) {
	good := blockcache.Pack([]byte(strings.Repeat("block ", 1000)))
	for name, p := range map[string]blockcache.Packed{
		"not compressed": {Bytes: []byte("anything"), Size: 8},
		"torn":           {Bytes: good.Bytes[:len(good.Bytes)/2], Size: good.Size},
		"size":           {Bytes: good.Bytes, Size: good.Size - 1},
		"plain size":     {Bytes: []byte("anything"), Plain: true, Size: 7},
		"huge":           {Bytes: good.Bytes, Size: blockcache.MaxPayload + 1},
		"negative":       {Bytes: good.Bytes, Size: -1},
	} {
		memory := blockcache.NewMemory(0, nil)
		l := blockcache.NewLayered(memory, &shelf{values: map[string]blockcache.Packed{"n" + hash(1).String(): p}})
		if _, ok := l.Get(t.Context(), "n", hash(1)); ok {
			t.Errorf("%s: it was taken for a payload", name)
		}
		if n, _ := memory.Len(); n != 0 {
			t.Errorf("%s: it is kept in memory", name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, payload := range [][]byte{nil, []byte("block"), []byte(strings.Repeat("block ", 1000))} {
		p := blockcache.Pack(payload)
		f.Add(p.Bytes, p.Plain, p.Size)
	}
	f.Fuzz(func(t *testing.T, b []byte, plain bool, size int) {
		payload, err := blockcache.Packed{Bytes: b, Plain: plain, Size: size}.Unpack()
		if err != nil {
			return
		}
		again, err := blockcache.Pack(payload).Unpack()
		if err != nil || !bytes.Equal(again, payload) || len(payload) != size {
			t.Fatalf("%d bytes became %d: %v", len(payload), len(again), err)
		}
	})
}
