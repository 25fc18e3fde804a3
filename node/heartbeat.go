package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// The heartbeat that an operator receives is a dead man's switch: a cluster that
// has lost its quorum sends no alerts, so its silence, or what the nodes say of
// their quorum, is the alarm. Every node sends its own, whatever becomes of the
// others.

const (
	defaultHeartbeatInterval = time.Minute
	minHeartbeatInterval     = time.Second
	heartbeatPatience        = 10 * time.Second // for one to be accepted
	lastHeartbeatPatience    = time.Second      // for that of a node that stops
	heartbeatLogPause        = 5 * time.Minute  // between two lines on failures
)

// pulse sends heartbeats for as long as the node runs, also while it waits for a
// cluster or a leader.
type pulse struct {
	url, secretFile string
	interval        time.Duration
	client          *http.Client
	read            func() Heartbeat
	log             *slog.Logger
	metrics         *metrics

	leaving  atomic.Bool // the node stops as planned: it says so once more
	sequence uint64
	began    time.Time
	secret   string // as read last
	failures int    // in a row
	logged   time.Time
}

func newPulse(n *Node) *pulse {
	return &pulse{
		url: n.opts.HeartbeatURL, secretFile: n.opts.HeartbeatSecretFile, interval: n.opts.HeartbeatInterval,
		// The operator's own choice: no egress guard.
		client: notify.NewHTTPClient(n.opts.Network.Dial, nil),
		read:   n.lifeSign, log: n.log, metrics: n.metrics, began: time.Now(),
	}
}

func (p *pulse) run(ctx context.Context) {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	defer p.client.CloseIdleConnections()
	for {
		p.beat(ctx, min(heartbeatPatience, max(p.interval, minHeartbeatInterval)))
		select {
		case <-ticker.C:
			continue
		case <-ctx.Done():
		}
		if p.leaving.Load() {
			p.beat(context.WithoutCancel(ctx), lastHeartbeatPatience)
		}
		return
	}
}

// beat sends one heartbeat. A failure costs nothing but the heartbeat.
func (p *pulse) beat(ctx context.Context, patience time.Duration) {
	p.sequence++
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.send(limited)
	if err != nil && ctx.Err() != nil {
		return // the node stops: nobody has failed
	}
	if err == nil {
		p.metrics.heartbeats.WithLabelValues("sent").Inc()
		if p.failures > 0 {
			p.log.Info("heartbeats are accepted again", "destination", spec.Redact(p.url), "failed", p.failures)
		}
		p.failures, p.logged = 0, time.Time{}
		return
	}
	p.metrics.heartbeats.WithLabelValues("failed").Inc()
	p.failures++
	if now := time.Now(); now.Sub(p.logged) >= heartbeatLogPause {
		p.logged = now
		p.log.Warn("the heartbeat for the operator was not accepted", "failed", p.failures, "error", err)
	}
}

func (p *pulse) send(ctx context.Context) error {
	secret, err := readHeartbeatSecret(p.secretFile)
	if err == nil {
		p.secret = secret // a file that is being replaced keeps the one before in force
	} else if p.secret == "" {
		return err
	}
	now := time.Now()
	sign := p.read()
	sign.Time, sign.Sequence, sign.Interval = now.UTC(), p.sequence, p.interval.Seconds()
	body, err := json.Marshal(sign)
	if err != nil {
		return err
	}
	r := notify.Request{Method: http.MethodPost, URL: p.url, Header: http.Header{}, Body: body, Secrets: []string{p.secret}}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ozmo")
	id := fmt.Sprintf("heartbeat-%s-%d-%d", sign.Node, p.began.UnixMilli(), p.sequence)
	webhook.Sign(r.Header, p.secret, id, body, now)
	_, err = notify.NewHTTP(p.client).Do(ctx, r)
	return err
}

// readHeartbeatSecret reads the signing secret, each time anew: it is replaced
// without a restart.
func readHeartbeatSecret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--heartbeat-secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("--heartbeat-secret-file: %s is empty", file)
	}
	return secret, nil
}

// checkHeartbeat lists what is wrong with the options of the heartbeat.
func (o *Options) checkHeartbeat() (errs []error) {
	if o.HeartbeatURL == "" {
		if o.HeartbeatSecretFile != "" {
			errs = append(errs, errors.New("--heartbeat-secret-file: there is no --heartbeat-url to send to"))
		}
		return errs
	}
	u, err := url.Parse(o.HeartbeatURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		errs = append(errs, errors.New("--heartbeat-url: want an address like https://watch.example.net/ozmo")) // not quoted: it may hold a key
	}
	if o.HeartbeatInterval < minHeartbeatInterval {
		errs = append(errs, fmt.Errorf("--heartbeat-interval %v: want %v or more", o.HeartbeatInterval, minHeartbeatInterval))
	}
	if o.HeartbeatSecretFile == "" {
		errs = append(errs, errors.New("--heartbeat-url: heartbeats are signed: name the file with the secret in --heartbeat-secret-file"))
	} else if _, err := readHeartbeatSecret(o.HeartbeatSecretFile); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// age is a time in the past, as milliseconds before now; nil: not known.
func age(now time.Time, millis int64) *int64 {
	if millis == 0 {
		return nil
	}
	d := max(now.UnixMilli()-millis, 0)
	return &d
}
