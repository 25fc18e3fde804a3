package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a node is started with.
type Options struct {
	DataDir string // log, snapshots, keys, journal, socket; made when missing
	Name    string // empty: the name the data directory has, or else the host's
	Config  string // folder of documents; empty: what the state holds
	// Checkpoints is a state folder of OpenZeppelin Monitor: networks that have
	// not begun here start where it left off.
	Checkpoints string
	Listen      string // HTTP address for health and metrics; empty: none

	Console    io.Writer // where triggers of type console write; nil: os.Stdout
	CacheBytes int64     // of the block cache in memory; 0: 256 MiB
	Logger     *slog.Logger
	Registry   *prometheus.Registry // nil: one of its own
	// Patience, RaftMultiplier: see worker.Options and consensus.Options.
	Patience       time.Duration
	RaftMultiplier float64
}

const (
	defaultCacheBytes = 256 << 20
	socketName        = "ozmo.sock"
)

var nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("a data directory is required: give --data")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Console == nil {
		o.Console = os.Stdout
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return o.identify()
}

// identity is what makes a data directory this node's.
type identity struct {
	Name string `json:"name"`
}

// identify takes the name from the data directory, or puts it there. The name
// is part of the Raft configuration: under another one the node would not find
// itself in its own group.
func (o *Options) identify() error {
	path := filepath.Join(o.DataDir, "node.json")
	data, err := os.ReadFile(path)
	if err == nil {
		var id identity
		if err := json.Unmarshal(data, &id); err != nil || id.Name == "" {
			return fmt.Errorf("%s is damaged: it should hold {\"name\": …}", path)
		}
		if o.Name != "" && o.Name != id.Name {
			return fmt.Errorf("the data directory %s belongs to node %q, not %q: use another directory, or that name", o.DataDir, id.Name, o.Name)
		}
		o.Name = id.Name
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if o.Name == "" {
		if o.Name, err = os.Hostname(); err != nil || !nodeName.MatchString(o.Name) {
			o.Name = "ozmo"
		}
	}
	if !nodeName.MatchString(o.Name) {
		return fmt.Errorf("node name %q: use letters, digits, dots and hyphens, at most 64", o.Name)
	}
	data, err = json.Marshal(identity{Name: o.Name})
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// writeFile puts a small file in place, all or nothing, also through a crash.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing of that name
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
