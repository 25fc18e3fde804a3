package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of DecodeDelivery.
var (
	// ErrNewerVersion means that a newer release wrote the delivery.
	ErrNewerVersion = errors.New("stored by a newer release: upgrade this node to read it")
	// ErrCorrupt means that the bytes are not a delivery.
	ErrCorrupt = errors.New("not a stored delivery")
)

// Version is the version of the stored form. It rises when an older reader
// would misunderstand the content; a field that it may ignore does not raise it.
const Version = 1

type envelope struct {
	V        int       `json:"v"`
	Delivery *Delivery `json:"delivery"`
}

// EncodeDelivery writes the stored form of a delivery: one line of JSON,
// {"v":1,"delivery":{…}}. The same delivery always gives the same bytes.
func EncodeDelivery(d *Delivery) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // the match object is stored as it came
	if err := enc.Encode(envelope{V: Version, Delivery: d}); err != nil {
		return nil, fmt.Errorf("delivery %s to trigger %q: cannot be stored: %w", d.Key, d.Trigger, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// DecodeDelivery reads what EncodeDelivery wrote, in this version or an older
// one. Errors wrap ErrNewerVersion or ErrCorrupt.
func DecodeDelivery(data []byte) (*Delivery, error) {
	// The version is looked at alone first: a newer form need not fit ours.
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if head.V > Version {
		return nil, fmt.Errorf("delivery of version %d: %w", head.V, ErrNewerVersion)
	}
	if head.V < 1 {
		return nil, fmt.Errorf("%w: it states no version", ErrCorrupt)
	}
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	d := env.Delivery
	switch {
	case d == nil:
		return nil, fmt.Errorf("%w: delivery is missing", ErrCorrupt)
	case d.Alert == nil:
		return nil, fmt.Errorf("%w: alert is missing", ErrCorrupt)
	case d.Key.IsZero(), d.Alert.ID.IsZero(), d.Alert.State == 0:
		return nil, fmt.Errorf("%w: key, alert id or state is missing", ErrCorrupt)
	}
	return d, nil
}
