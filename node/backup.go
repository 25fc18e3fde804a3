package node

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// An archive is a tar of meta.json, state.bin (a snapshot of package fsm) and
// SHA256SUMS, in this order. Secrets in it are sealed.
const (
	archiveFormat = 1
	metaFile      = "meta.json"
	stateFile     = "state.bin"
	sumsFile      = "SHA256SUMS"
)

// archiveMeta says what an archive is of.
type archiveMeta struct {
	Format     int       `json:"format"`
	Cluster    string    `json:"cluster"`
	Index      uint64    `json:"index"` // log index of the state
	Created    time.Time `json:"created"`
	Version    string    `json:"version"`
	SealingKey string    `json:"sealing_key"` // id of the key that opens its secrets
	// Stale: nobody has said that this is everything that was committed.
	Stale bool `json:"stale,omitempty"`
}

// errArchive: what was given is no whole archive.
var errArchive = errors.New("unreadable archive")

// Backup writes an archive of everything that was committed before; with stale, of
// what this node has of it, which takes no leader.
func (n *Node) Backup(ctx context.Context, w io.Writer, stale bool) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	if !stale {
		if err := n.upToDate(ctx); err != nil {
			return err
		}
	}
	v := n.state.View()
	state, size, err := n.spool(v)
	if err != nil {
		return err
	}
	defer os.Remove(state.Name())
	defer state.Close()
	meta, err := json.MarshalIndent(archiveMeta{
		Format: archiveFormat, Cluster: n.clusterName(), Index: v.Index(), Created: time.Now().UTC(), Version: n.opts.Version, SealingKey: n.keeper.ID(), Stale: stale,
	}, "", "  ")
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	var sums bytes.Buffer
	add := func(name string, size int64, r io.Reader) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: time.Now()}); err != nil {
			return err
		}
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(out, sum), r); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), name)
		return nil
	}
	if err := add(metaFile, int64(len(meta)), bytes.NewReader(meta)); err != nil {
		return err
	}
	if err := add(stateFile, size, state); err != nil {
		return err
	}
	text := bytes.Clone(sums.Bytes())
	if err := add(sumsFile, int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	return out.Close()
}

// upToDate waits until this node has what was committed before, for as long as
// there is a leader to say what that is.
func (n *Node) upToDate(ctx context.Context) error {
	for {
		err := n.caughtUp(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if _, ok := n.group.Leader(); !ok {
			return fmt.Errorf("%w: there is no leader, so nobody can say that node %q has everything; `ozmo backup --stale` takes what it has, up to log index %d",
				api.ErrUnavailable, n.opts.Name, n.state.View().Index())
		}
	}
}

// spool writes a view to a file that is gone soon; it is open at its beginning.
func (n *Node) spool(v *fsm.View) (*os.File, int64, error) {
	f, err := os.CreateTemp(n.opts.DataDir, "snapshot-*")
	if err != nil {
		return nil, 0, err
	}
	size, err := v.WriteTo(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, size, nil
}

// readArchive checks an archive from its first to its last byte before anything
// is done with it.
func readArchive(dir string, r io.Reader) (meta archiveMeta, v *fsm.View, err error) {
	in := tar.NewReader(bufio.NewReader(r))
	sums := map[string]string{}
	next := func(name string, use func(io.Reader) error) error {
		h, err := in.Next()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errArchive, name, err)
		}
		if h.Name != name {
			return fmt.Errorf("%w: %q where %s should be", errArchive, h.Name, name)
		}
		sum := sha256.New()
		if err := use(io.TeeReader(in, sum)); err != nil {
			return fmt.Errorf("%w: %s: %w", errArchive, name, err)
		}
		sums[name] = hex.EncodeToString(sum.Sum(nil))
		return nil
	}
	if err := next(metaFile, func(r io.Reader) error { return json.NewDecoder(io.LimitReader(r, maxErrorBody)).Decode(&meta) }); err != nil {
		return meta, nil, err
	}
	if meta.Format != archiveFormat {
		return meta, nil, fmt.Errorf("%w: format %d, this version reads %d", errArchive, meta.Format, archiveFormat)
	}
	spooled := filepath.Join(dir, "restore.tmp")
	defer os.Remove(spooled)
	if err := next(stateFile, func(r io.Reader) error { return copyTo(spooled, r) }); err != nil {
		return meta, nil, err
	}
	if err := next(sumsFile, func(r io.Reader) error {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var sum, name string
			if _, err := fmt.Sscanf(lines.Text(), "%s %s", &sum, &name); err != nil {
				return fmt.Errorf("line %q", lines.Text())
			}
			if sums[name] != sum {
				return fmt.Errorf("the checksum of %s is wrong", name)
			}
			delete(sums, name)
		}
		return nil
	}); err != nil {
		return meta, nil, err
	}
	if _, open := sums[stateFile]; open {
		return meta, nil, fmt.Errorf("%w: no checksum of %s", errArchive, stateFile)
	}
	f, err := os.Open(spooled)
	if err != nil {
		return meta, nil, err
	}
	defer f.Close()
	v, err = fsm.ReadSnapshot(f)
	return meta, v, err
}

func copyTo(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// errRestoring refuses commands while an archive takes the state's place: what
// they would change is about to be another state.
var errRestoring = errors.New("an archive is being restored: try again in a moment")

// Restore puts an archive in the place of the state. Nodes stay as they are;
// positions and epochs go on above all that were ever used. Only the leader can. An
// archive of documents that PostgreSQL does not have is refused, unless incomplete.
func (n *Node) Restore(ctx context.Context, r io.Reader, incomplete bool) (api.Restored, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Restored{}, err
	}
	if !n.reading.TryLock() {
		return api.Restored{}, fmt.Errorf("%w: %w", api.ErrUnavailable, errRestoring)
	}
	defer n.reading.Unlock()
	meta, restored, err := readArchive(n.opts.DataDir, r)
	if err != nil {
		return api.Restored{}, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
	}
	if meta.SealingKey != n.keeper.ID() {
		return api.Restored{}, fmt.Errorf("%w: the archive's secrets are sealed with key %s, this cluster has %s: start it with the sealing.key of the cluster that the archive is of",
			api.ErrRefused, meta.SealingKey, n.keeper.ID())
	}
	missing, err := n.checkOutside(ctx, restored, n.state.View(), incomplete)
	if err != nil {
		return api.Restored{}, err
	}
	n.restoring.Store(true)
	defer n.restoring.Store(false)
	n.group.Settle() // what was let through before is part of what must not come back
	if err := n.caughtUp(ctx); err != nil {
		return api.Restored{}, err
	}
	current := n.state.View()
	next := fsm.Rebase(restored, current)
	state, size, err := n.spool(next)
	if err != nil {
		return api.Restored{}, err
	}
	defer os.Remove(state.Name())
	defer state.Close()
	if err := n.group.Restore(ctx, next.Index(), n.group.Term(), size, state); err != nil {
		return api.Restored{}, err
	}
	if err := n.journal.Lose(foreign(restored, current)); err != nil {
		n.log.Error("which journals are lost could not be kept", "error", err)
	}
	out := api.Restored{Index: meta.Index, Missing: missing}
	for t := range next.Tenants() {
		if t.ID != fsm.Shared {
			out.Tenants++
		}
	}
	for range next.Networks() {
		out.Networks++
	}
	n.log.Warn("an archive was restored", "of", meta.Cluster, "created", meta.Created, "tenants", out.Tenants)
	if k := inForce(missing); k > 0 {
		n.log.Error("documents of the archive are missing in PostgreSQL: tenants wait for them", "documents", k, "of", tellMissing(missing))
	}
	poke(n.nudge)
	return out, nil
}

// foreign are the heads of networks that another cluster has judged further than
// this one: that one's journals are not here.
func foreign(restored, current *fsm.View) map[string]uint64 {
	out := heads(restored)
	for key := range out {
		was, _ := restored.Network(key)
		if now, ok := current.Network(key); ok && now.Next >= was.Next {
			delete(out, key)
		}
	}
	return out
}

// poke has somebody look once more.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
