package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Errors of DecodeDelivery and DecodeAlert.
var (
	// ErrNewerVersion means that a newer release wrote the bytes.
	ErrNewerVersion = errors.New("stored by a newer release: upgrade this node to read it")
	// ErrCorrupt means that the bytes are not what they should be.
	ErrCorrupt = errors.New("not a stored alert or delivery")
	// ErrTooLarge means that something is too large to be stored.
	ErrTooLarge = errors.New("too large to be stored")
)

// Version is the first byte of a stored form: one line of JSON, compressed with
// zstd, follows. It rises when an older reader would misunderstand the content; a
// field that it may ignore does not raise it.
const Version = 1

// MaxStored bounds what is stored, in bytes before compression: what comes from
// the log must not be able to ask for any amount of memory.
const MaxStored = 32 << 20

// EncodeDelivery writes the stored form of a delivery. The same delivery always
// gives the same bytes, as long as the release is the same. It fails with
// ErrTooLarge, or for a match object that is no JSON.
func EncodeDelivery(d *Delivery) ([]byte, error) {
	data, err := encode(d)
	if err != nil {
		return nil, fmt.Errorf("delivery %s to trigger %q: cannot be stored: %w", d.Key, d.Trigger, err)
	}
	return data, nil
}

// DecodeDelivery reads what EncodeDelivery wrote, in this version or an older
// one. Errors wrap ErrNewerVersion or ErrCorrupt.
func DecodeDelivery(data []byte) (*Delivery, error) {
	d := new(Delivery)
	if err := decode(data, d); err != nil {
		return nil, err
	}
	if d.Key.IsZero() {
		return nil, fmt.Errorf("%w: the key is missing", ErrCorrupt)
	}
	if err := d.Alert.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// EncodeAlert writes the stored form of an alert, with the match object only
// where that is asked for: it is most of the bytes. Otherwise as EncodeDelivery.
func EncodeAlert(a *Alert, withMatch bool) ([]byte, error) {
	if !withMatch {
		short := *a
		short.Match = nil
		a = &short
	}
	data, err := encode(a)
	if err != nil {
		return nil, fmt.Errorf("alert %s: cannot be stored: %w", a.ID, err)
	}
	return data, nil
}

// DecodeAlert reads what EncodeAlert wrote, as DecodeDelivery.
func DecodeAlert(data []byte) (*Alert, error) {
	a := new(Alert)
	if err := decode(data, a); err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Alert) check() error {
	switch {
	case a == nil:
		return fmt.Errorf("%w: the alert is missing", ErrCorrupt)
	case a.ID.IsZero(), a.State == 0:
		return fmt.Errorf("%w: the alert's id or state is missing", ErrCorrupt)
	}
	return nil
}

// encode writes the version, and what is given as compressed JSON.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // the match object is stored as it came
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(text) > MaxStored {
		return nil, fmt.Errorf("%d bytes: %w", len(text), ErrTooLarge)
	}
	return compressor.EncodeAll(text, []byte{Version}), nil
}

func decode(data []byte, v any) error {
	text, err := expand(data)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// expand gives the JSON of a stored form.
func expand(data []byte) ([]byte, error) {
	switch {
	case len(data) == 0 || data[0] == 0:
		return nil, fmt.Errorf("%w: it states no version", ErrCorrupt)
	case data[0] > Version:
		return nil, fmt.Errorf("version %d: %w", data[0], ErrNewerVersion)
	}
	text, err := expander.DecodeAll(data[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return text, nil
}

// The coders start no goroutines for whole buffers and may be used by many at a
// time. They are made and used once before anything else runs, so that the
// channels they make at their first use belong to no test's bubble.
var compressor, expander = newCoders()

func newCoders() (*zstd.Encoder, *zstd.Decoder) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constant
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxStored))
	if err != nil {
		panic(err)
	}
	if _, err := dec.DecodeAll(enc.EncodeAll(make([]byte, 64), nil), nil); err != nil {
		panic(err)
	}
	return enc, dec
}
