package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestUnknownCommands(t *testing.T) {
	for kind := range 256 {
		_, known := registry[Type(kind)]
		entry := []byte{byte(kind), 0x80}
		c, err := Decode(entry)
		switch {
		case known:
			if err != nil || c == nil || c.Type() != Type(kind) {
				t.Errorf("type %d: %v, %v", kind, c, err)
			}
		case Type(kind)&Ignorable != 0:
			if c != nil || err != nil {
				t.Errorf("ignorable type %d: %v, %v", kind, c, err)
			}
		default:
			if c != nil || !errors.Is(err, ErrUnknownCommand) {
				t.Errorf("type %d: %v, %v", kind, c, err)
			}
		}
	}
	for kind := range registry {
		if lowest, highest := CommandRange(); kind&^Ignorable < lowest || kind&^Ignorable > highest {
			t.Errorf("type %d lies outside the range %d to %d", kind, lowest, highest)
		}
	}
}

func TestUnknownCommandLeavesTheStateAlone(t *testing.T) {
	for name, entry := range map[string][]byte{"unknown": {0x7f, 0x80}, "malformed": {byte(TypeSettle), 0xc1}} {
		s := New()
		if _, err := s.Apply(1, mustEncode(t, &PutBlobs{Blobs: [][]byte{{1}}})); err != nil {
			t.Fatal(err)
		}
		before := s.View()
		if _, err := s.Apply(2, entry); !errors.Is(err, ErrUnknownCommand) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if s.View() != before {
			t.Errorf("%s: the view has changed", name)
		}
	}
}

// hostile entries lie about their lengths or nest without end.
func hostile() map[string][]byte {
	deep := append([]byte{byte(TypePutBlobs), 0x81, 0xa2, 'z', 'z'}, bytes.Repeat([]byte{0x91}, 1<<20)...)
	return map[string][]byte{
		"empty":                {},
		"no body":              {byte(TypePutBlobs)},
		"reserved code":        {byte(TypePutBlobs), 0xc1},
		"wrong kind":           {byte(TypePutBlobs), 0xa1, 'x'},
		"trailing bytes":       {byte(TypePutBlobs), 0x80, 0x80},
		"array of 4 billion":   {byte(TypePutBlobs), 0x81, 0xa1, 'b', 0xdd, 0xff, 0xff, 0xff, 0xff, 0xc4, 0x01, 0x00},
		"bytes of 4 billion":   {byte(TypePutBlobs), 0x81, 0xa1, 'b', 0x91, 0xc6, 0xff, 0xff, 0xff, 0xff, 0x00},
		"string of 4 billion":  {byte(TypeDeleteTenant), 0x81, 0xa1, 'i', 0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
		"map of 4 billion":     {byte(TypeDeleteTenant), 0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 'i'},
		"unknown of 4 billion": {byte(TypeDeleteTenant), 0x81, 0xa2, 'z', 'z', 0xc6, 0xff, 0xff, 0xff, 0xff},
		"entries of 4 billion": {byte(TypeAnnounce), 0x81, 0xa1, 'a', 0xdd, 0xff, 0xff, 0xff, 0xff, 0x80},
		"deep nesting":         deep,
		"audit of 4 billion":   {byte(TypeAudited), 0x81, 0xa1, 'c', 0xc6, 0xff, 0xff, 0xff, 0xff, 0x00},
		"audited in audited":   {byte(TypeAudited), 0x81, 0xa1, 'c', 0xc4, 0x05, byte(TypeAudited), 0x81, 0xa1, 'c', 0xc0},
		"audited, ignorable":   {byte(TypeAudited), 0x81, 0xa1, 'c', 0xc4, 0x02, 0xff, 0x80},
		"array in audited":     {byte(TypeAudited), 0x81, 0xa1, 'c', 0xc4, 0x09, byte(TypePutBlobs), 0x81, 0xa1, 'b', 0xdd, 0xff, 0xff, 0xff, 0xff},
	}
}

func TestMalformed(t *testing.T) {
	for name, entry := range hostile() {
		c, err := Decode(entry)
		if c != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for name, c := range fixtures[goldenVersion] {
		encoded := mustEncode(t, c)
		for n := range len(encoded) {
			if got, err := Decode(encoded[:n]); got != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v, %v", name, n, got, err)
			}
		}
	}
}

// allocated is what f reserves on the heap. Only meaningful while nothing else
// runs in the test binary.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allowance is what decoding n bytes may reserve: a false length costs one
// bounded reservation; what is there costs what its values are in memory, which
// for a list of empty structs is some hundred times their bytes.
func allowance(n int) uint64 { return 8<<20 + 2048*uint64(n) }

func TestHostileLengthsReserveLittle(t *testing.T) {
	for name, entry := range hostile() {
		if n := allocated(func() { _, _ = Decode(entry) }); n > allowance(len(entry)) {
			t.Errorf("%s: %d bytes reserved for an entry of %d", name, n, len(entry))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for version := range fixtures {
		for name := range fixtures[version] {
			f.Add(readHex(f, filepath.Join("testdata", "commands", version, name+".golden")))
		}
	}
	for name, entry := range hostile() {
		if name != "deep nesting" { // a megabyte slows the fuzzer down
			f.Add(entry)
		}
	}
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, entry []byte) {
		var c Command
		var err error
		if n := allocated(func() { c, err = Decode(entry) }); n > allowance(len(entry)) {
			t.Fatalf("%d bytes reserved for an entry of %d", n, len(entry))
		}
		if err != nil {
			if c != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownCommand) {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		if c == nil {
			return
		}
		// What was read is written in one form only, and reads the same again.
		encoded := mustEncode(t, c)
		again, err := Decode(encoded)
		if err != nil {
			t.Fatalf("what was decoded does not decode once encoded: %v", err)
		}
		if !bytes.Equal(encoded, mustEncode(t, again)) {
			t.Fatal("the second encoding differs from the first")
		}
		// Whatever a command holds, applying it does not panic.
		s := New()
		for i, c := range goldenScript() {
			if _, err := s.Apply(uint64(i+1), mustEncode(t, c)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Apply(100, entry); errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnknownCommand) {
			t.Fatal(err)
		}
		snapshot(t, s.View())
	})
}

func goldenSnapshot(t failer) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", "snapshots", "v1.golden"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTornSnapshots(t *testing.T) {
	golden := goldenSnapshot(t)
	for n := range len(golden) {
		if _, err := ReadSnapshot(bytes.NewReader(golden[:n])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d bytes of %d: %v", n, len(golden), err)
		}
	}
	for i := range golden {
		flipped := bytes.Clone(golden)
		flipped[i] ^= 0x10
		if _, err := ReadSnapshot(bytes.NewReader(flipped)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d of %d changed: %v", i, len(golden), err)
		}
	}
	newer := bytes.Clone(golden)
	binary.BigEndian.PutUint16(newer[len(snapshotMagic):], snapshotFormat+1)
	if _, err := ReadSnapshot(bytes.NewReader(newer)); !errors.Is(err, ErrSnapshot) {
		t.Fatalf("format of a newer version: %v", err)
	}
}

func TestRestoreOfTornSnapshotKeepsTheState(t *testing.T) {
	s := New()
	if _, err := s.Apply(1, mustEncode(t, &PutBlobs{Blobs: [][]byte{{1}}})); err != nil {
		t.Fatal(err)
	}
	before, changed := s.View(), s.Changed(TopicOutbox)
	if err := s.Restore(bytes.NewReader(goldenSnapshot(t)[:500])); !errors.Is(err, ErrSnapshot) {
		t.Fatal(err)
	}
	if s.View() != before {
		t.Error("the view has changed")
	}
	select {
	case <-changed:
		t.Error("somebody was woken")
	default:
	}
}

// A false record length must cost no more than what is there.
func TestHostileRecordLength(t *testing.T) {
	data := append([]byte(snapshotMagic), 0, snapshotFormat, byte(recordTenant))
	for _, length := range []uint32{maxRecord, maxRecord + 1, 1<<32 - 1} {
		hostile := append(binary.BigEndian.AppendUint32(bytes.Clone(data), length), 0x80)
		n := allocated(func() {
			if _, err := ReadSnapshot(bytes.NewReader(hostile)); !errors.Is(err, ErrSnapshot) {
				t.Errorf("length %d: %v", length, err)
			}
		})
		if n > 1<<20 {
			t.Errorf("length %d: %d bytes reserved", length, n)
		}
	}
}

// seal writes the trailer that goes with records, so that the fuzzer gets past
// the checksum.
func seal(body []byte, records uint64) []byte {
	trailerBody, err := marshal(trailer{Records: records, CRC: crc32.Checksum(body, castagnoli)})
	if err != nil {
		panic(err)
	}
	out := append(bytes.Clone(body), byte(recordTrailer))
	out = binary.BigEndian.AppendUint32(out, uint32(len(trailerBody)))
	return append(out, trailerBody...)
}

func FuzzReadSnapshot(f *testing.F) {
	golden := goldenSnapshot(f)
	f.Add(golden, false, uint64(0))
	f.Add(golden[:len(golden)-20], true, uint64(3))
	empty := snapshot(f, New().View())
	f.Add(empty, false, uint64(0))
	f.Add([]byte(snapshotMagic), false, uint64(0))
	at, records := len(snapshotMagic)+2, uint64(0)
	for at < len(golden) && recordType(golden[at]) != recordTrailer {
		at += 5 + int(binary.BigEndian.Uint32(golden[at+1:]))
		records++
	}
	f.Add(golden[:at], true, records)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool, records uint64) {
		if sealed {
			data = seal(data, records)
		}
		var v *View
		var err error
		if n := allocated(func() { v, err = ReadSnapshot(bytes.NewReader(data)) }); n > allowance(len(data)) {
			t.Fatalf("%d bytes reserved for a snapshot of %d", n, len(data))
		}
		if err != nil {
			if v != nil || !errors.Is(err, ErrSnapshot) {
				t.Fatalf("%v, %v", v, err)
			}
			return
		}
		written := snapshot(t, v)
		again, err := ReadSnapshot(bytes.NewReader(written))
		if err != nil {
			t.Fatalf("what was read does not read once written: %v", err)
		}
		if !bytes.Equal(written, snapshot(t, again)) {
			t.Fatal("the second snapshot differs from the first")
		}
	})
}
