package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// missing names what an answer says is not there: the API does not, so that nothing
// can be guessed. Other errors stay as they are.
func missing(err error, format string, args ...any) error {
	if !client.NotFound(err) {
		return err
	}
	what := fmt.Sprintf(format, args...)
	switch text := err.Error(); {
	case text == v1.NothingForKey:
		return &unknown{fmt.Sprintf("there is no %s for this key", what), err}
	case strings.HasPrefix(text, "tenant ") || strings.HasPrefix(text, "operators, ") || strings.HasPrefix(text, what):
		return err // it has a name already
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unknown is v1.NothingForKey with the name of the thing.
type unknown struct {
	text string
	err  error
}

func (u *unknown) Error() string { return u.text }
func (u *unknown) Unwrap() error { return u.err }

// tenantText and ofOwner name whose something is, for errors.
func tenantText(tenant string) string { return fmt.Sprintf("tenant %q", tenant) }

func ofOwner(tenant string) string {
	if tenant == client.Shared {
		return "all tenants"
	}
	return tenantText(tenant)
}

// advice says what can be done about a refusal; empty where its own words do.
func advice(err error) string {
	r, ok := errors.AsType[*client.Refusal](err)
	if !ok {
		return ""
	}
	switch r.Status {
	case http.StatusUnauthorized:
		return "The key is not valid, or not any more: it was deleted, has expired, or is of another cluster. " +
			"`ozmo key create` makes one; give it with --key-file or OZMO_KEY, or keep it with `ozmo context set NAME --key-file FILE`."
	case http.StatusForbidden:
		_, role, _ := strings.Cut(r.Detail, "takes a key of role ")
		role, _, ok := strings.Cut(role, ",")
		switch {
		case !ok:
			return "" // it is not about keys
		case role == "operator":
			return "`ozmo key create --operator` makes a key that may, on the machine of a node."
		}
		return fmt.Sprintf("`ozmo key create TENANT --role %s` makes a key that may; owners of the tenant and operators can.", role)
	case http.StatusConflict:
		if r.Type == v1.TypeOverQuota {
			return "Operators raise it with `ozmo tenant quota set`."
		}
		return "Nothing was changed. To try again is of use only when what is in the way has gone or is mended."
	case http.StatusPreconditionFailed:
		return "Somebody has changed it meanwhile, and nothing was overwritten: get it again, look at what has changed, and apply again."
	case http.StatusTooManyRequests:
		return fmt.Sprintf("Try again in %v.", atLeastASecond(r.Wait))
	case http.StatusServiceUnavailable:
		text := fmt.Sprintf("Try again in %v.", atLeastASecond(r.Wait))
		if r.Changes {
			text += " The change may have been made all the same: look before it is made a second time."
		}
		return text
	}
	return ""
}

func atLeastASecond(d time.Duration) time.Duration { return max(d, time.Second) }
