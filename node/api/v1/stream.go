package v1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
)

// Streams are few: each is followed on every node.
const (
	maxStreams       = 512 // of a node
	maxTenantStreams = 32
	maxKeyStreams    = 8

	streamBeat  = 15 * time.Second // between two words, if only a comment
	streamWrite = 10 * time.Second // for the reader to take what is written
	streamCheck = time.Second      // whether it may still go on
)

var errTooManyStreams = errors.New("too many streams are open: end one of them")

// streams counts those that are open.
type streams struct {
	mu     sync.Mutex
	all    int
	tenant map[string]int
	key    map[string]int
}

// open takes a place, which has to be given back.
func (s *streams) open(tenant, key string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.key[key] >= maxKeyStreams:
		return nil, later(fmt.Errorf("%w: a key has %d at most", errTooManyStreams, maxKeyStreams), streamCheck)
	case s.tenant[tenant] >= maxTenantStreams:
		return nil, later(fmt.Errorf("%w: a tenant has %d at most on one node", errTooManyStreams, maxTenantStreams), streamCheck)
	case s.all >= maxStreams:
		return nil, later(fmt.Errorf("%w: this node has no room for more", errTooManyStreams), streamCheck)
	}
	if s.tenant == nil {
		s.tenant, s.key = map[string]int{}, map[string]int{}
	}
	s.all++
	s.tenant[tenant]++
	s.key[key]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		for counts, name := range map[*map[string]int]string{&s.tenant: tenant, &s.key: key} {
			if (*counts)[name]--; (*counts)[name] == 0 {
				delete(*counts, name)
			}
		}
	}), nil
}

type streamInput struct {
	TenantPath
	ReadYourWrites
	AlertFilter
	LastEventID string `header:"Last-Event-ID" maxLength:"32" doc:"Id of the last event that was read: the stream goes on from there, as far as the journals go back."`
	After       string `query:"last_event_id" maxLength:"32" doc:"The same, for who cannot send the header."`
}

type streamOutput struct {
	Body func(huma.Context)
}

// StreamEnd is the last event of a stream.
type StreamEnd struct {
	Reason string `json:"reason"`
}

// streamAlerts tells of a tenant's alerts as they change.
func (a *API) streamAlerts(ctx context.Context, in *streamInput) (*streamOutput, error) {
	since, err := readEventID("header.Last-Event-ID", in.LastEventID)
	if err == nil && since.IsZero() {
		since, err = readEventID("query.last_event_id", in.After)
	}
	if err != nil {
		return nil, err
	}
	who := actorOf(ctx)
	t, err := tenant(ctx, a.backend.View(), in.Tenant)
	if err != nil {
		return nil, err
	}
	release, err := a.streams.open(t.ID, who.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	news, err := a.backend.FollowAlerts(ctx, t, since)
	if err != nil {
		cancel()
		release()
		return nil, err
	}
	choice := in.choice()
	return &streamOutput{Body: func(c huma.Context) {
		defer release()
		defer func() {
			cancel()
			for range news { // until who follows has ended
			}
		}()
		a.metrics.streams.Inc()
		defer a.metrics.streams.Dec()
		_, w := humago.Unwrap(c)
		s := &stream{w: w, control: http.NewResponseController(w), metrics: a.metrics}
		s.begin()
		reason, err := s.run(ctx, news, &choice, func() string { return a.streamOver(who, t) })
		if err == nil && reason != "" {
			_ = s.event("end", "", StreamEnd{reason}) // the reader is gone: nothing to do about it
		}
	}}, nil
}

// streamOver tells why a stream has to end; empty: it may go on.
func (a *API) streamOver(who Actor, t *fsm.Tenant) string {
	v := a.backend.View()
	if now, ok := v.Tenant(t.ID); !ok || now.Born != t.Born {
		return "the tenant was deleted"
	}
	if who.Key != "" {
		if k, ok := v.Key(who.Key); !ok || k.Expired(a.now().UnixMilli()) {
			return "the key has ended"
		}
	}
	return ""
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	metrics *metrics
}

// begin answers before anything has happened. The limits of time for requests are not
// for streams: what is written has its own.
func (s *stream) begin() {
	_ = s.control.SetReadDeadline(time.Time{}) // where there is none, nothing has to be lifted
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
}

func (s *stream) run(ctx context.Context, news <-chan api.AlertNews, choice *api.AlertChoice, over func() string) (reason string, err error) {
	if err := s.write(fmt.Sprintf("retry: %d\n: ozmo\n\n", streamCheck.Milliseconds())); err != nil {
		return "", err
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	check := time.NewTicker(streamCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-check.C:
			if reason := over(); reason != "" {
				return reason, nil
			}
		case <-beat.C:
			if err := s.write(": still here\n\n"); err != nil {
				return "", err
			}
		case one, ok := <-news:
			if !ok {
				return "this node stops: connect again", nil
			}
			if reason := over(); reason != "" {
				return reason, nil
			}
			if err := s.tell(one, choice); err != nil {
				return "", err
			}
		}
	}
}

func (s *stream) tell(one api.AlertNews, choice *api.AlertChoice) error {
	id := fmt.Sprint(one.Mark)
	if one.Gap != nil {
		s.metrics.gaps.Inc()
		return s.event("gap", id, one.Gap)
	}
	e := one.Event
	if choice.State != "" && e.State != choice.State || !choice.Chooses(e.MonitorID, e.Monitor, e.Network, e.Transaction) {
		return nil
	}
	s.metrics.events.Inc()
	return s.event("alert", id, e)
}

func (s *stream) event(name, id string, v any) error {
	data, err := spec.Encode(v) // on one line
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return s.write(id + "event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
