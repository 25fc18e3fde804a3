package testcluster

import "github.com/ozmo-dev/ozmo/watcher/blockcache"

// What packages make once and keep must not be made inside of a bubble: its
// channels would be of no use in the next one.
func init() {
	if _, err := blockcache.Pack(make([]byte, 1024)).Unpack(); err != nil {
		panic(err)
	}
}
