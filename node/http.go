package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// HTTP says how the HTTP port is served.
type HTTP struct {
	// CORSOrigins are the origins of pages that may use the API; empty: none.
	CORSOrigins []string
	// TLSCert and TLSKey are PEM files, read again when they change; empty: plain HTTP.
	TLSCert, TLSKey string
	// KeyRate and AddressRate are requests a second of a tenant's key, and of an
	// address, but for operators'; twice as many at once. 0: any number.
	KeyRate, AddressRate float64
}

// What a client may take its time for. Streams of alerts have limits of their own.
const (
	headerPatience = 10 * time.Second
	readPatience   = time.Minute // for the whole of a request
	writePatience  = 2 * time.Minute
	idlePatience   = 2 * time.Minute
	maxHeader      = 64 << 10 // bytes
)

// check lists everything that does not go together.
func (h *HTTP) check(listen string) (errs []error) {
	for _, origin := range h.CORSOrigins {
		if err := api.CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("--http-cors-origins: %w", err))
		}
	}
	if (h.TLSCert == "") != (h.TLSKey == "") {
		errs = append(errs, errors.New("--http-tls-cert and --http-tls-key go together: one of them is given"))
	}
	if h.TLSCert != "" && listen == "" {
		errs = append(errs, errors.New("--http-tls-cert: there is no HTTP port, --listen is empty"))
	}
	if h.KeyRate < 0 {
		errs = append(errs, fmt.Errorf("--http-rate-key %v: want 0 (any number) or more", h.KeyRate))
	}
	if h.AddressRate < 0 {
		errs = append(errs, fmt.Errorf("--http-rate-address %v: want 0 (any number) or more", h.AddressRate))
	}
	return errs
}

// publicServer is the server of the HTTP port: slow clients do not hold it up.
func publicServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerPatience, ReadTimeout: readPatience, WriteTimeout: writePatience,
		IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// listenHTTP opens the HTTP port.
func (n *Node) listenHTTP() error {
	server := publicServer(n.publicHandler(), n.log)
	if n.opts.HTTP.TLSCert != "" {
		files := &certificateFiles{cert: n.opts.HTTP.TLSCert, key: n.opts.HTTP.TLSKey, log: n.log}
		if err := files.load(); err != nil {
			return fmt.Errorf("--http-tls-cert, --http-tls-key: %w", err)
		}
		if err := files.usable(files.now); err != nil {
			n.log.Warn("clients refuse the certificate of the HTTP port: renew it, it is read again when the file changes", "file", files.cert, "error", err)
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.certificate}
	}
	l, err := net.Listen("tcp", n.opts.Listen)
	if err != nil {
		return fmt.Errorf("HTTP port: %w (another address can be given with --listen)", err)
	}
	n.opts.Listen = l.Addr().String()
	if server.TLSConfig == nil && !isLoopback(n.opts.Listen) {
		n.log.Warn("the HTTP port is reached from other machines and speaks plain HTTP: whoever listens on the way has the API keys; "+
			"give it --http-tls-cert and --http-tls-key, or put a proxy with TLS before it", "listen", n.opts.Listen)
	}
	n.serve(l, server)
	return nil
}

// certificateFiles is a certificate and its key, read again when the files change.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	now     *tls.Certificate
	changed [2]time.Time // of the files, as they were read
	looked  time.Time
}

// certificatePause is how long the files are not looked at again.
const certificatePause = time.Second

func (f *certificateFiles) times() (out [2]time.Time, err error) {
	for i, path := range []string{f.cert, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return out, err
		}
		out[i] = info.ModTime()
	}
	return out, nil
}

// usable refuses a certificate that clients refuse for its time.
func (f *certificateFiles) usable(c *tls.Certificate) error {
	switch now := time.Now(); {
	case now.After(c.Leaf.NotAfter):
		return fmt.Errorf("it has expired on %v", c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.Leaf.NotBefore):
		return fmt.Errorf("it is not valid before %v", c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// load reads the files. A certificate that is not valid now replaces none that is.
func (f *certificateFiles) load() error {
	changed, err := f.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return err
	}
	if err := f.usable(&pair); err != nil && f.now != nil && f.usable(f.now) == nil {
		return fmt.Errorf("%s: %w", f.cert, err)
	}
	f.now, f.changed, f.looked = &pair, changed, time.Now()
	return nil
}

// certificate is the present one. Files that cannot be used leave the one before.
func (f *certificateFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < certificatePause {
		return f.now, nil
	}
	f.looked = time.Now()
	changed, err := f.times()
	if err == nil && changed != f.changed {
		if err = f.load(); err == nil {
			f.log.Info("the certificate of the HTTP port was read again", "file", f.cert, "until", f.now.Leaf.NotAfter)
		} else {
			f.changed = changed // said once
		}
	} else if err == nil {
		return f.now, nil
	}
	if err != nil {
		f.log.Error("the certificate of the HTTP port cannot be read again: the one before stays", "error", err)
	}
	return f.now, nil
}
