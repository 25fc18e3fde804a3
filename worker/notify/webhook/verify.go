package webhook

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Errors of Verify.
var (
	// ErrUnsigned means that the request carries no signature.
	ErrUnsigned = errors.New("request is not signed")
	// ErrBadSignature means that a signature does not fit body and secret.
	ErrBadSignature = errors.New("signature does not fit")
	// ErrStale means that the request was signed too long ago or in the future.
	ErrStale = errors.New("signature is too old or from the future")
)

// Verify is for receivers: it checks a request from its headers and its body as
// received. Every scheme that is present must fit, and one must be. tolerance
// is how far the time of signing may be from now, either way; 0 or less does
// not look at the time. To notice repeated requests, compare Idempotency-Key.
func Verify(header http.Header, body []byte, secret string, tolerance time.Duration) error {
	if secret == "" {
		return fmt.Errorf("%w: the secret is empty, so nothing can be verified", ErrBadSignature)
	}
	ours, standard := header.Get(headerSignature), header.Get(headerStandardSignature)
	if ours == "" && standard == "" {
		return fmt.Errorf("%w: neither %s nor %s is present", ErrUnsigned, headerSignature, headerStandardSignature)
	}
	if ours != "" {
		stamp := header.Get(headerTimestamp)
		if !hmac.Equal([]byte(ours), []byte(sign(secret, body, stamp))) {
			return fmt.Errorf("%s: %w", headerSignature, ErrBadSignature)
		}
		if err := checkAge(headerTimestamp, stamp, time.UnixMilli, tolerance); err != nil {
			return err
		}
	}
	if standard != "" {
		stamp := header.Get(headerStandardTimestamp)
		if !anyEqual(standard, signStandard(secret, header.Get(headerID), body, stamp)) {
			return fmt.Errorf("%s: %w", headerStandardSignature, ErrBadSignature)
		}
		fromSeconds := func(n int64) time.Time { return time.Unix(n, 0) }
		if err := checkAge(headerStandardTimestamp, stamp, fromSeconds, tolerance); err != nil {
			return err
		}
	}
	return nil
}

// anyEqual reports whether one of several signatures, separated by spaces as
// during a change of secrets, is the wanted one.
func anyEqual(list, want string) bool {
	found := false
	for one := range strings.FieldsSeq(list) {
		if hmac.Equal([]byte(one), []byte(want)) {
			found = true
		}
	}
	return found
}

func checkAge(name, stamp string, at func(int64) time.Time, tolerance time.Duration) error {
	n, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w: not a number", name, ErrStale)
	}
	if tolerance <= 0 {
		return nil
	}
	if age := time.Since(at(n)); age > tolerance || age < -tolerance {
		return fmt.Errorf("%s: %w: it differs by more than %s from the clock here", name, ErrStale, tolerance)
	}
	return nil
}
