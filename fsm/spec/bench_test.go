package spec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// bigMonitor pads the sample's ABI to the size of a usual token's.
func bigMonitor(tb testing.TB) string {
	var items []string
	for i := range 30 {
		items = append(items, fmt.Sprintf(`{"type":"function","name":"f%d","stateMutability":"view",`+
			`"inputs":[{"name":"account","type":"address","internalType":"address"},{"name":"amount","type":"uint256","internalType":"uint256"}],`+
			`"outputs":[{"name":"","type":"bool","internalType":"bool"}]}`, i))
	}
	return edit(tb, sampleMonitor, sampleABI, "["+strings.Join(items, ",")+"]")
}

func BenchmarkParseMonitor(b *testing.B) {
	for name, doc := range map[string]string{"small": sampleMonitor, "abi30": bigMonitor(b)} {
		b.Run(name, func(b *testing.B) {
			data := []byte(doc)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ps := ParseMonitor(data); ps.Err() != nil {
					b.Fatal(ps)
				}
			}
		})
	}
}

func BenchmarkParseNetwork(b *testing.B) {
	data := []byte(sampleNetwork)
	b.ReportAllocs()
	for b.Loop() {
		if _, ps := ParseNetwork(data); ps.Err() != nil {
			b.Fatal(ps)
		}
	}
}

func BenchmarkMarshalMonitor(b *testing.B) {
	m := mustMonitor(b, sampleMonitor)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFolder(b *testing.B) {
	const monitors = 10_000
	fsys := plainFolder()
	for i := range monitors {
		set(fsys, fmt.Sprintf("monitors/m%d.json", i), edit(b, sampleMonitor, "Large transfers", fmt.Sprintf("Monitor %d", i)))
	}

	for b.Loop() {
		f, ps := ReadFolder(fsys)
		if ps.Err() != nil || len(f.Monitors) != monitors+1 {
			b.Fatal(ps)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/monitors, "µs/monitor")
}
