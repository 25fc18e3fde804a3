package webhook

import (
	"net/http"
	"time"
)

// Sign adds to a header what a receiver verifies a body with, in both schemes
// (see Verify): the message's id, the time of signing and the signatures.
func Sign(h http.Header, secret, id string, body []byte, at time.Time) {
	h.Set(headerID, id)
	h.Set(headerStandardTimestamp, seconds(at))
	h.Set(headerStandardSignature, signStandard(secret, id, body, seconds(at)))
	h.Set(headerTimestamp, millis(at))
	h.Set(headerSignature, sign(secret, body, millis(at)))
}
