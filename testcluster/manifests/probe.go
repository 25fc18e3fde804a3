package manifests

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Probe is a question that Kubernetes asks a container over HTTP.
type Probe struct {
	Path      string
	Port      int           // of the container
	Delay     time.Duration // before the first question
	Period    time.Duration // between two
	Timeout   time.Duration // of one
	Failures  int           // in a row until it counts as failed
	Successes int           // in a row until it counts as good
}

// Limit is how long a container that never answers is borne with.
func (p Probe) Limit() time.Duration { return p.Delay + time.Duration(p.Failures)*p.Period }

// Check asks once, at another address than the container's, as a kubelet does:
// any status from 200 to 399 within the timeout is good.
func (p Probe) Check(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+p.Path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 10<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s: status %d\n%s", p.Path, resp.StatusCode, body)
	}
	return nil
}
