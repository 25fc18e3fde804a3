package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.Uint64Range(0, 1000).Draw(rt, "from")
		n := rapid.Uint64Range(1, 50).Draw(rt, "n")
		parallel := rapid.IntRange(1, 8).Draw(rt, "parallel")
		failing := from + rapid.Uint64Range(0, 60).Draw(rt, "failing")
		delays := rapid.SliceOfN(rapid.IntRange(0, 5), int(n), int(n)).Draw(rt, "delays")
		synctest.Test(t, func(t *testing.T) {
			var running, most atomic.Int64
			boom := errors.New("boom")
			next := from
			err := inOrder(t.Context(), from, from+n-1, parallel, func(_ context.Context, height uint64) (uint64, error) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-time.After(time.Duration(delays[height-from]) * time.Second)
				if height == failing {
					return 0, boom
				}
				return 2 * height, nil
			}, func(height, value uint64) error {
				if height != next || value != 2*height {
					t.Errorf("got %d with %d, want height %d", height, value, next)
				}
				next++
				return nil
			})
			end := from + n
			if failing < end {
				end = failing
				if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), fmt.Sprintf("block %d: ", failing)) {
					t.Errorf("got the error %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if next != end || most.Load() > int64(parallel) || running.Load() != 0 {
				t.Errorf("went to %d, want %d; %d at a time, allowed %d; %d left", next, end, most.Load(), parallel, running.Load())
			}
		})
	})
}

func TestInOrderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		used := 0
		err := inOrder(ctx, 1, 1<<62, 3, func(ctx context.Context, height uint64) (int, error) {
			if height == 5 { // never answers
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			return 0, nil
		}, func(height uint64, _ int) error {
			if used++; height == 4 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || used != 4 {
			t.Errorf("%v after %d", err, used)
		}
		full := errors.New("full")
		err = inOrder(t.Context(), 1, 9, 3, func(context.Context, uint64) (int, error) { return 0, nil },
			func(uint64, int) error { return full })
		if !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
	})
}

func TestReadResult(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"bare object", ` {"hash": "0x1"} `, `{"hash": "0x1"}`},
		{"bare array", `[1]`, `[1]`},
		{"response", `{"jsonrpc": "2.0", "id": 1, "result": [{"a": 1}]}`, `[{"a": 1}]`},
		{"response with no error", `{"result": {}, "error": null}`, `{}`},
		{"error", `{"error": {"code": -32000, "message": "header\u0007 not found"}, "id": 1}`, `holds no result but an error: header\a not found (code -32000)`},
		{"null", `{"result": null}`, ""},
		{"null alone", `null`, "the result is null"},
		{"no JSON", `<html>`, "not valid JSON"},
		{"empty", ``, "not valid JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readResult(filepath.Join(write(t, map[string]any{"f": tt.content}), "f"))
			text := string(got)
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, tt.want) || err == nil && text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}

func FuzzReadBlock(f *testing.F) {
	f.Add(`{"result": {"number": "0x1", "transactions": []}}`, `[]`)
	f.Add(`{"transactions": ["0x1"]}`, `{"error": {"code": 1}}`)
	f.Add(`null`, ``)
	f.Fuzz(func(t *testing.T, block, receipts string) {
		dir := write(t, map[string]any{"block": block, "receipts": receipts})
		b, _, err := readBlock(&testOptions{blockFile: filepath.Join(dir, "block"), receiptsFile: filepath.Join(dir, "receipts")})
		if (b == nil) == (err == nil) {
			t.Errorf("block %v, error %v", b, err)
		}
	})
}
