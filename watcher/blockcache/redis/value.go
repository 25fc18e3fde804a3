package redis

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

// A value is a header and the packed payload. The header is
//
//	0      encoding: 'z' zstd, 'p' plain
//	1-8    size of the payload in bytes, big-endian
//	9-16   size of what follows the header
//	17-24  xxHash64 of the key, the header up to here, and what follows it
//
// The first number of a key is the version of both: a change gets another one,
// and nodes of both versions keep apart.
const (
	keyPrefix  = "ozmo:1:"
	sumAt      = 17
	headerSize = 25
)

func blockKey(cluster, network string, hash fsm.Hash) string {
	return keyPrefix + cluster + ":block:" + network + ":" + hash.String()
}

// probeKey is asked for to see whether Redis answers. Nobody sets it.
func probeKey(cluster string) string { return keyPrefix + cluster + ":probe" }

func encode(key string, p blockcache.Packed) []byte {
	v := make([]byte, 0, headerSize+len(p.Bytes))
	if p.Plain {
		v = append(v, 'p')
	} else {
		v = append(v, 'z')
	}
	v = binary.BigEndian.AppendUint64(v, uint64(p.Size))
	v = binary.BigEndian.AppendUint64(v, uint64(len(p.Bytes)))
	v = binary.BigEndian.AppendUint64(v, checksum(key, v, p.Bytes))
	return append(v, p.Bytes...)
}

// decode reports false for anything that encode did not make for this key. The
// result shares memory with v.
func decode(key string, v []byte) (blockcache.Packed, bool) {
	if len(v) < headerSize || v[0] != 'z' && v[0] != 'p' {
		return blockcache.Packed{}, false
	}
	size, body := binary.BigEndian.Uint64(v[1:]), v[headerSize:]
	if size > blockcache.MaxPayload || binary.BigEndian.Uint64(v[9:]) != uint64(len(body)) ||
		binary.BigEndian.Uint64(v[sumAt:]) != checksum(key, v[:sumAt], body) {
		return blockcache.Packed{}, false
	}
	return blockcache.Packed{Bytes: body, Plain: v[0] == 'p', Size: int(size)}, true
}

func checksum(key string, header, body []byte) uint64 {
	d := xxhash.New()
	_, _ = d.WriteString(key) // a hash takes everything
	_, _ = d.Write(header)
	_, _ = d.Write(body)
	return d.Sum64()
}
