package client

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Archive is what an archive of `ozmo backup` says of itself.
type Archive struct {
	Format     int       `json:"format"`
	Cluster    string    `json:"cluster"`
	Index      uint64    `json:"index"` // of the log, when it was made
	Created    time.Time `json:"created"`
	Version    string    `json:"version"`     // of the node that made it
	SealingKey string    `json:"sealing_key"` // id of the key that opens its secrets
	// Stale: it is what one node had, whether or not the cluster had more.
	Stale bool `json:"stale,omitempty"`
}

// ErrNoArchive: what was given is no whole archive.
var ErrNoArchive = errors.New("this is no whole archive of `ozmo backup`")

const (
	archiveMeta = "meta.json"
	archiveSums = "SHA256SUMS"
	maxMeta     = 1 << 20 // bytes that the small files of an archive may have
)

// CheckArchive reads an archive to its end and checks that nothing of it is
// missing or changed. Whether this version can read the state in it, the node
// finds out.
func CheckArchive(r io.Reader) (Archive, error) {
	var a Archive
	buffered := bufio.NewReader(r)
	in := tar.NewReader(buffered)
	sums := map[string]string{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return a, fmt.Errorf("%w: it ends before %s", ErrNoArchive, archiveSums)
		}
		if err != nil {
			return a, fmt.Errorf("%w: %w", ErrNoArchive, err)
		}
		sum := sha256.New()
		body := io.TeeReader(in, sum)
		switch {
		case h.Name == archiveMeta:
			err = json.NewDecoder(io.LimitReader(body, maxMeta)).Decode(&a)
		case len(sums) == 0:
			return a, fmt.Errorf("%w: it begins with %q instead of %s", ErrNoArchive, h.Name, archiveMeta)
		case h.Name == archiveSums:
			if err := checkSums(body, sums); err != nil {
				return a, err
			}
			if _, err := io.Copy(io.Discard, buffered); err != nil {
				return a, fmt.Errorf("%w: %w", ErrNoArchive, err)
			}
			return a, nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, body)
		}
		if err != nil {
			return a, fmt.Errorf("%w: %s: %w", ErrNoArchive, h.Name, err)
		}
		sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
}

// checkSums wants one line for each file, with its checksum.
func checkSums(r io.Reader, sums map[string]string) error {
	lines := bufio.NewScanner(io.LimitReader(r, maxMeta))
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		if sums[name] != sum || sum == "" {
			return fmt.Errorf("%w: the checksum of %q is wrong", ErrNoArchive, name)
		}
		delete(sums, name)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoArchive, archiveSums, err)
	}
	if len(sums) > 0 {
		return fmt.Errorf("%w: there is no checksum of %q", ErrNoArchive, slices.Sorted(maps.Keys(sums)))
	}
	return nil
}
