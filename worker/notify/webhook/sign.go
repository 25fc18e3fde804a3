package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// The headers of the two signature schemes.
const (
	// OpenZeppelin Monitor (spec triggers-and-notifications §4).
	headerSignature = "X-Signature" // hex(HMAC-SHA256(secret, body ‖ timestamp))
	headerTimestamp = "X-Timestamp" // Unix time in milliseconds

	// Standard Webhooks.
	headerID                = "Webhook-Id"
	headerStandardTimestamp = "Webhook-Timestamp" // Unix time in seconds
	headerStandardSignature = "Webhook-Signature" // "v1," base64(HMAC-SHA256(key, id "." timestamp "." body))
)

// sign is the peer's signature of a body at a time in milliseconds.
func sign(secret string, body []byte, millis string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	mac.Write([]byte(millis))
	return hex.EncodeToString(mac.Sum(nil))
}

// signStandard is the Standard Webhooks signature, version included.
func signStandard(secret, id string, body []byte, seconds string) string {
	mac := hmac.New(sha256.New, standardKey(secret))
	mac.Write([]byte(id + "." + seconds + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// standardKey is the key that a secret stands for: "whsec_" announces base64.
// Every other secret, also one that only looks like that, is the key itself.
func standardKey(secret string) []byte {
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) > 0 {
			return key
		}
	}
	return []byte(secret)
}

func millis(t time.Time) string  { return strconv.FormatInt(t.UnixMilli(), 10) }
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
