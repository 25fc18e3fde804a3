package spec

import (
	"bytes"
	"encoding/json"
)

// Encode writes a document as JSON for people: as json.Marshal does, but with <, >
// and & as they are, since expressions and addresses are full of them. What is stored
// and hashed has always been written by json.Marshal, which spells them \u003c.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
