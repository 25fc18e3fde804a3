package notify

import (
	"net/http"
	"strconv"
)

// Header are the headers of every HTTP channel. Whose alert it is, what became
// of it and in which order things happened stand in headers because most bodies
// have no room for them: the last word on an alert is the state with the
// greatest position.
func Header(n *Notification) http.Header {
	h := make(http.Header)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "ozmo")
	h.Set("Idempotency-Key", n.Key.String())
	h.Set("Ozmo-Alert-Id", n.Alert.ID.String())
	h.Set("Ozmo-Alert-State", n.Alert.State.String())
	h.Set("Ozmo-Position", strconv.FormatUint(n.Alert.Position, 10))
	return h
}
