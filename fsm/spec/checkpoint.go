package spec

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Checkpoint is how far the peer has come on a network.
type Checkpoint struct {
	LastBlock uint64   // 0 when the peer has none
	Missed    []uint64 // blocks not recovered, ascending
}

// The names of the peer's state files, after the slug.
const (
	suffixLastBlock    = "_last_block.txt"
	suffixMissed       = "_missed_blocks.json"
	suffixMissedLegacy = "_missed_blocks.txt"
)

// ReadCheckpoints reads the peer's state folder (data/): the checkpoint and the
// missed blocks of every network, by slug. A file that makes no sense is a
// problem, and its network is left out unless another file tells of it.
func ReadCheckpoints(fsys fs.FS) (map[string]Checkpoint, Problems) {
	r := folderReader{fsys: fsys, opts: newOptions(nil)}
	out := make(map[string]Checkpoint)
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		r.add(".", "", SeverityError, "cannot be read: %v", err)
	}
	for _, e := range entries {
		slug, read := checkpointFile(e.Name())
		if read == nil || e.IsDir() {
			continue
		}
		data, err := fs.ReadFile(fsys, path.Clean(e.Name()))
		if err != nil {
			r.add(e.Name(), "", SeverityError, "cannot be read: %v", err)
			continue
		}
		w := &walk{options: r.parseOptions(e.Name())}
		c := out[slug]
		if read(w, data, &c) {
			out[slug] = c
		}
		r.problems = append(r.problems, w.problems...)
	}
	for slug, c := range out {
		slices.Sort(c.Missed)
		c.Missed = slices.Compact(c.Missed)
		out[slug] = c
	}
	return out, r.problems.sorted()
}

func checkpointFile(name string) (slug string, read func(*walk, []byte, *Checkpoint) bool) {
	if s, ok := strings.CutSuffix(name, suffixLastBlock); ok {
		return s, readLastBlock
	}
	if s, ok := strings.CutSuffix(name, suffixMissed); ok {
		return s, readMissed
	}
	if s, ok := strings.CutSuffix(name, suffixMissedLegacy); ok {
		return s, readMissedLegacy
	}
	return "", nil
}

func readLastBlock(w *walk, data []byte, c *Checkpoint) bool {
	v, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		node{w: w}.fail("found %s, expected a block number: write the number of the last block you know was handled, or remove the file",
			quote(string(data)))
		return false
	}
	c.LastBlock = v
	return true
}

// readMissed keeps every entry but those the peer has already recovered.
func readMissed(w *walk, data []byte, c *Checkpoint) bool {
	inner, root := newWalk(data, w.options)
	ok := root.list(func(item node) {
		o := item.object()
		number, ok := o.required("block_number", "a whole number").whole(0, math.MaxUint64)
		status, _ := o.optional("status").text()
		if ok && status != "Recovered" {
			c.Missed = append(c.Missed, number)
		}
	})
	w.problems = append(w.problems, inner.problems...)
	return ok && len(inner.problems) == 0
}

// readMissedLegacy reads one number per line and skips lines that are none, as
// the peer does.
func readMissedLegacy(w *walk, data []byte, c *Checkpoint) bool {
	skipped := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if v, err := strconv.ParseUint(line, 10, 64); err == nil {
			c.Missed = append(c.Missed, v)
		} else if line != "" {
			skipped++
		}
	}
	if skipped > 0 {
		node{w: w}.warn("lines skipped because they are no block numbers: %d", skipped)
	}
	return true
}
