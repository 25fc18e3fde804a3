package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A snapshot is: magic, format version (uint16), a header record, records
// [type byte][length uint32][body], and a trailer record {records, CRC-32C of
// everything before it}. Numbers are big endian, bodies msgpack.
const (
	snapshotMagic  = "OZMOSNAP"
	snapshotFormat = 1
	// maxRecord bounds what a torn or hostile length can make Restore reserve.
	maxRecord = 1 << 30
)

// recordType names a record of a snapshot. Types are append-only.
type recordType byte

const (
	recordHeader     recordType = 1
	recordTenant     recordType = 2
	recordChange     recordType = 3
	recordBlob       recordType = 4
	recordNetwork    recordType = 5
	recordCohort     recordType = 6
	recordCursor     recordType = 7
	recordFired      recordType = 8
	recordOutbox     recordType = 9
	recordDead       recordType = 10
	recordNode       recordType = 11
	recordCluster    recordType = 12
	recordToken      recordType = 13
	recordRetraction recordType = 14
	recordForgotten  recordType = 15
	recordReplayed   recordType = 16
	recordSecret     recordType = 17
	recordKey        recordType = 18
	recordAudit      recordType = 19
	recordBacktest   recordType = 20
	recordStore      recordType = 32
	recordTrailer    recordType = 255
)

// ErrSnapshot reports a snapshot that cannot be read.
var ErrSnapshot = errors.New("unreadable snapshot")

type header struct {
	Index uint64 `codec:"i"`
}

type trailer struct {
	Records uint64 `codec:"n"`
	CRC     uint32 `codec:"c"`
}

type changeRecord struct {
	Index  uint64 `codec:"i"`
	Tenant string `codec:"t"`
}

type blobRecord struct {
	Hash Hash `codec:"h"`
	Blob Blob `codec:"b"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteTo writes the view as a snapshot. Views are immutable: it may take its
// time while the state goes on.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	out := &recordWriter{w: bufio.NewWriterSize(w, 1<<16), crc: crc32.New(castagnoli)}
	out.raw([]byte(snapshotMagic))
	out.raw(binary.BigEndian.AppendUint16(nil, snapshotFormat))
	out.record(recordHeader, header{Index: v.index})
	writeAll(out, recordTenant, v.tenants)
	for key, tenant := range walk(v.changes, "") {
		out.record(recordChange, changeRecord{Index: binary.BigEndian.Uint64([]byte(key)), Tenant: tenant})
	}
	for key, b := range walk(v.blobs, "") {
		out.record(recordBlob, blobRecord{Hash: Hash([]byte(key)), Blob: *b})
	}
	writeAll(out, recordNetwork, v.networks)
	writeAll(out, recordCohort, v.cohorts)
	writeAll(out, recordCursor, v.cursors)
	writeAll(out, recordFired, v.fired)
	writeAll(out, recordOutbox, v.outbox)
	writeAll(out, recordDead, v.dead)
	writeAll(out, recordNode, v.nodes)
	if v.cluster != nil {
		out.record(recordCluster, v.cluster)
	}
	writeAll(out, recordToken, v.tokens)
	writeAll(out, recordRetraction, v.retracted)
	for tenant, b := range walk(v.boxes, "") {
		if b.Forgotten > 0 {
			out.record(recordForgotten, forgotten{Tenant: tenant, Count: b.Forgotten})
		}
	}
	writeAll(out, recordReplayed, v.replays)
	writeAll(out, recordSecret, v.secrets)
	writeAll(out, recordKey, v.keys)
	for log := range values(v.audits) {
		for _, a := range log.entries {
			out.record(recordAudit, a)
		}
	}
	writeAll(out, recordBacktest, v.backtests)
	if v.store != nil {
		out.record(recordStore, v.store)
	}
	out.record(recordTrailer, trailer{Records: out.records, CRC: out.crc.Sum32()})
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.n, out.err
}

func writeAll[T any](out *recordWriter, kind recordType, tree *tree[*T]) {
	for v := range values(tree) {
		out.record(kind, v)
	}
}

type recordWriter struct {
	w       *bufio.Writer
	crc     hash.Hash32
	n       int64
	records uint64
	err     error
}

func (o *recordWriter) raw(b []byte) {
	if o.err != nil {
		return
	}
	_, _ = o.crc.Write(b) // a hash never fails
	var n int
	n, o.err = o.w.Write(b)
	o.n += int64(n)
}

func (o *recordWriter) record(kind recordType, v any) {
	if o.err != nil {
		return
	}
	body, err := marshal(v)
	if err != nil {
		o.err = fmt.Errorf("snapshot record type %d: %w", kind, err)
		return
	}
	o.raw(append([]byte{byte(kind)}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...))
	o.raw(body)
	o.records++
}

// ReadSnapshot builds a view from what WriteTo wrote.
func ReadSnapshot(r io.Reader) (*View, error) {
	in := &recordReader{r: bufio.NewReaderSize(r, 1<<16), crc: crc32.New(castagnoli)}
	start := make([]byte, len(snapshotMagic)+2)
	if err := in.full(start); err != nil || string(start[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrSnapshot)
	}
	if format := binary.BigEndian.Uint16(start[len(snapshotMagic):]); format != snapshotFormat {
		return nil, fmt.Errorf("%w: format %d, this version reads %d", ErrSnapshot, format, snapshotFormat)
	}
	l := newLoader()
	for {
		sum := in.crc.Sum32()
		kind, body, err := in.record()
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrSnapshot, in.records, err)
		}
		if kind == recordTrailer {
			var t trailer
			if err := unmarshal(body, &t); err != nil {
				return nil, fmt.Errorf("%w: trailer: %w", ErrSnapshot, err)
			}
			if t.Records != in.records-1 || t.CRC != sum {
				return nil, fmt.Errorf("%w: %d records and checksum %08x, the trailer says %d and %08x",
					ErrSnapshot, in.records-1, sum, t.Records, t.CRC)
			}
			return l.view(), nil
		}
		if err := l.load(kind, body); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrSnapshot, in.records, err)
		}
	}
}

type recordReader struct {
	r       *bufio.Reader
	crc     hash.Hash32
	records uint64
}

func (in *recordReader) full(b []byte) error {
	_, err := io.ReadFull(in.r, b)
	_, _ = in.crc.Write(b)
	return err
}

func (in *recordReader) record() (recordType, []byte, error) {
	var head [5]byte
	if err := in.full(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("length %d", n)
	}
	// Grown while reading: a false length costs no more than what is there.
	body, err := io.ReadAll(io.LimitReader(in.r, int64(n)))
	if err == nil && len(body) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	_, _ = in.crc.Write(body)
	in.records++
	return recordType(head[0]), body, err
}

// loader fills a new view.
type loader struct {
	*tx
	forgotten []forgotten
	audits    []*Audit
}

func newLoader() *loader { return &loader{tx: begin(&View{})} }

func (l *loader) load(kind recordType, body []byte) error {
	switch kind {
	case recordHeader:
		var h header
		err := unmarshal(body, &h)
		l.index = h.Index
		return err
	case recordTenant:
		return insert(l, body, &l.tenants, func(t *Tenant) string { return t.ID })
	case recordChange:
		var c changeRecord
		err := unmarshal(body, &c)
		put(l.edit, &l.changes, changeKey(c.Index, c.Tenant), c.Tenant)
		return err
	case recordBlob:
		var b blobRecord
		err := unmarshal(body, &b)
		l.putBlob(b.Hash, &b.Blob)
		return err
	case recordNetwork:
		return insert(l, body, &l.networks, func(n *Network) string { return n.Key })
	case recordCohort:
		return insert(l, body, &l.cohorts, func(c *Cohort) string { return c.ID })
	case recordCursor:
		return insert(l, body, &l.cursors, func(c *Cursor) string { return cursorKey(c.Network, c.Cohort) })
	case recordFired:
		return insert(l, body, &l.fired, func(f *Fired) string { return firedKey(f.Network, f.Block, f.Alert) })
	case recordOutbox:
		return insert(l, body, &l.outbox, func(o *Outgoing) string { return letterKey(o.Tenant, o.Key) })
	case recordDead:
		return insert(l, body, &l.dead, func(d *Dead) string { return letterKey(d.Tenant, d.Key) })
	case recordNode:
		return insert(l, body, &l.nodes, func(n *Node) string { return n.Name })
	case recordCluster:
		l.cluster = new(Cluster)
		return unmarshal(body, l.cluster)
	case recordToken:
		return insert(l, body, &l.tokens, func(t *Token) string { return t.ID })
	case recordRetraction:
		return insert(l, body, &l.retracted, func(r *retraction) string { return retractionKey(r.Network, r.Alert) })
	case recordForgotten:
		var f forgotten
		err := unmarshal(body, &f)
		l.forgotten = append(l.forgotten, f)
		return err
	case recordReplayed:
		return insert(l, body, &l.replays, func(r *replayed) string { return replayKey(r.Tenant, r.Network, r.Monitor) })
	case recordSecret:
		return insert(l, body, &l.secrets, func(s *Secret) string { return secretKey(s.Tenant, s.Name) })
	case recordKey:
		return l.loadKey(body)
	case recordAudit:
		a := new(Audit)
		err := unmarshal(body, a)
		l.audits = append(l.audits, a)
		return err
	case recordBacktest:
		return l.loadBacktest(body)
	case recordStore:
		l.store = new(Store)
		return unmarshal(body, l.store)
	default:
		return fmt.Errorf("type %d is of a newer version", kind)
	}
}

func insert[T any](l *loader, body []byte, at **tree[*T], key func(*T) string) error {
	v := new(T)
	if err := unmarshal(body, v); err != nil {
		return err
	}
	put(l.edit, at, key(v), v)
	return nil
}

func (l *loader) view() *View {
	l.indexMembers()
	l.indexRetractable()
	for d := range l.DeadLetters() {
		l.indexDead(d)
	}
	l.countBoxes(l.forgotten)
	l.countContent()
	l.loadAudits(l.audits)
	l.indexOutside()
	l.end()
	return l.View
}

// Restore replaces the whole state by a snapshot and wakes everybody.
func (s *State) Restore(r io.Reader) error {
	v, err := ReadSnapshot(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.reader = s.View().reader
	s.view.Store(v)
	for t, ch := range s.waiting {
		close(ch)
		delete(s.waiting, t)
	}
	return nil
}
