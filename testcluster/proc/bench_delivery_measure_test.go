package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// get reads a page of the node's HTTP over its socket.
func (n *Node) get(ctx context.Context, page string) (string, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(n.Data, "ozmo.sock"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+page, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Transport{DialContext: dial, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d\n%s", page, resp.StatusCode, body)
	}
	return string(body), err
}

// samples are metrics as a node shows them, of several nodes added up.
type samples map[string]float64 // by name with labels

func (s *samples) add(line string) {
	if *s == nil {
		*s = samples{}
	}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return
	}
	value, err := strconv.ParseFloat(line[i+1:], 64)
	if err == nil {
		(*s)[line[:i]] += value
	}
}

// sum adds up a metric over its labels.
func (s samples) sum(name string) (total float64) {
	for key, value := range s {
		if key == name || strings.HasPrefix(key, name+"{") {
			total += value
		}
	}
	return total
}

// histogram is how many observations were at most so large, by bound in seconds.
type histogram map[float64]float64

func (s samples) histogram(name string) histogram {
	h := histogram{}
	for key, value := range s {
		labels, ok := strings.CutPrefix(key, name+"_bucket{")
		if !ok {
			continue
		}
		_, bound, ok := strings.Cut(labels, `le="`)
		if !ok {
			continue
		}
		bound, _, _ = strings.Cut(bound, `"`)
		if le, err := strconv.ParseFloat(bound, 64); err == nil {
			h[le] += value
		}
	}
	return h
}

func (h histogram) minus(o histogram) histogram {
	out := histogram{}
	for le, n := range h {
		out[le] = n - o[le]
	}
	return out
}

func (h histogram) count() int { return int(h[math.Inf(1)]) }

// quantile takes observations to be spread evenly within their bucket.
func (h histogram) quantile(q float64) time.Duration {
	rank := q * h[math.Inf(1)]
	var below, lower float64
	for _, le := range slices.Sorted(maps.Keys(h)) {
		n := h[le]
		if n >= rank && n > below {
			if math.IsInf(le, 1) {
				return time.Duration(lower * float64(time.Second))
			}
			return time.Duration((lower + (le-lower)*(rank-below)/(n-below)) * float64(time.Second))
		}
		below, lower = n, le
	}
	return 0
}

// folderSize is what the files of a folder take, in bytes.
func folderSize(t testing.TB, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return gone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return gone(err)
		}
		total += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// gone makes nothing of files that went away meanwhile, such as old snapshots.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// residentBytes is how much memory a process has; 0 where the system does not
// tell.
func residentBytes(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		t.Fatalf("statm: %q", text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// timers measures how late timers are: what a busy machine adds to every time
// measured here.
type timers struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	late []time.Duration
}

func lateTimers(t testing.TB) *timers {
	ctx, cancel := context.WithCancel(t.Context())
	m := &timers{cancel: cancel}
	m.running.Go(func() {
		for {
			due := time.Now().Add(askLate)
			timer := time.NewTimer(askLate)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			m.mu.Lock()
			m.late = append(m.late, time.Since(due))
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() { m.stop() })
	return m
}

func (m *timers) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = nil
}

// stop ends the measuring and tells by how much timers were late.
func (m *timers) stop() []time.Duration {
	m.cancel()
	m.running.Wait()
	return m.late
}
