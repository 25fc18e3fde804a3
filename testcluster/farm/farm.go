package farm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Options say where receivers are. The zero value is loopback.
type Options struct {
	// Listen opens the listener of a receiver at an address of ":0" or at one that
	// it had before; nil: on 127.0.0.1, at ports that no outgoing connection takes
	// while nobody listens.
	Listen func(address string) (net.Listener, error)
	Host   string // under which senders find it; empty: 127.0.0.1
	Secret string // that webhooks are signed with; empty: signatures are not checked
}

// Farm is receivers.
type Farm struct {
	opts   Options
	ledger ledger
	certs  *certificates

	mu        sync.Mutex
	receivers map[string]*Receiver
}

// New makes a farm without receivers. Close it.
func New(o Options) (*Farm, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	certs, err := newCertificates(o.Host)
	if err != nil {
		return nil, err
	}
	return &Farm{opts: o, certs: certs, receivers: map[string]*Receiver{}, ledger: ledger{tries: map[string]*Attempts{}}}, nil
}

// Authority is the certificate of who vouches for the farm's receivers with TLS,
// in PEM.
func (f *Farm) Authority() []byte { return f.certs.authority }

// WriteAuthority puts Authority into a file, for SSL_CERT_FILE.
func (f *Farm) WriteAuthority(path string) error { return os.WriteFile(path, f.certs.authority, 0o600) }

// Close ends all receivers and waits for what they do.
func (f *Farm) Close() error {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.receivers))
	f.mu.Unlock()
	var errs []error
	for _, r := range all {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// Webhook opens a receiver of webhooks.
func (f *Farm) Webhook(name string) (*Receiver, error) { return f.open(name, &webhooks{}) }

// SecureWebhook is Webhook with TLS.
func (f *Farm) SecureWebhook(name string) (*Receiver, error) {
	return f.open(name, &webhooks{secure: true})
}

// Mail opens a receiver of mail, with STARTTLS.
func (f *Farm) Mail(name string) (*Receiver, error) { return f.open(name, mail{}) }

func (f *Farm) open(name string, s service) (*Receiver, error) {
	r := &Receiver{Name: name, farm: f, service: s, done: make(chan struct{}), changed: make(chan struct{})}
	if err := r.listen(); err != nil {
		return nil, fmt.Errorf("receiver %s: %w", name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.receivers[name] != nil {
		return nil, errors.Join(fmt.Errorf("there are two receivers %s", name), r.close())
	}
	f.receivers[name] = r
	return r, nil
}

// Receiver is the receiver of a name, nil when there is none.
func (f *Farm) Receiver(name string) *Receiver {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.receivers[name]
}

// Heal ends the faults of all receivers that have one of these kinds.
func (f *Farm) Heal(kinds ...Kind) error {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.receivers))
	f.mu.Unlock()
	for _, r := range all {
		if slices.Contains(kinds, r.Fault().Kind) {
			if err := r.Set(Fault{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Deliveries is what was taken so far, in order of arrival.
func (f *Farm) Deliveries() []Delivery {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	return slices.Clone(f.ledger.taken)
}

// Taken is how many deliveries were taken so far.
func (f *Farm) Taken() int {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	return len(f.ledger.taken)
}

// Attempts tells what came at a receiver, by key, as far as keys could be read.
func (f *Farm) Attempts(receiver string) map[string]Attempts {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	out := map[string]Attempts{}
	for name, a := range f.ledger.tries {
		if key, ok := cutName(name, receiver); ok {
			out[key] = *a
		}
	}
	return out
}

// Errors are requests that no sender should make: wrong signatures, missing
// headers, and attempts before a Retry-After is over, which Hasty counts.
func (f *Farm) Errors() []error {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	return slices.Clone(f.ledger.errs)
}

// Hasty counts attempts that came before a Retry-After was over.
func (f *Farm) Hasty() int {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	return f.ledger.hasty
}

// config is the TLS of a receiver that may show a certificate of nobody's.
func (f *Farm) config(r *Receiver) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if r.Fault().Kind == BadTLS {
			return &f.certs.bad, nil
		}
		return &f.certs.good, nil
	}}
}

// pause waits, unless the receiver ends or changes before.
func (r *Receiver) pause(d time.Duration, gone <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.done:
	case <-gone:
	}
	return false
}
