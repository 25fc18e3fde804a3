package farm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// webhooks is HTTP, with or without TLS.
type webhooks struct{ secure bool }

func (w *webhooks) url(host, port string) string {
	if w.secure {
		return "https://" + net.JoinHostPort(host, port)
	}
	return "http://" + net.JoinHostPort(host, port)
}

func (w *webhooks) serve(r *Receiver, l net.Listener) (stop func(), served <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &http.Server{
		Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // senders that give up are no news
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if w.secure {
			s.TLSConfig = r.farm.config(r)
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			r.farm.ledger.fail("receiver %s: %w", r.Name, err)
		}
	}()
	return func() {
		cancel()
		_ = s.Close() // connections that were closed already are no news either
	}, done
}

// bodyLimit is more than any notification has.
const bodyLimit = 1 << 20

// ServeHTTP takes one delivery, or does what the receiver's fault says.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.handled.Add(1)
	defer r.handled.Done()
	fault, changed := r.now()
	if fault.Kind == Reset {
		r.reset(w, req)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, bodyLimit))
	if err != nil {
		return // the sender is gone: nothing was received
	}
	d, err := read(r.Name, req, body)
	if err == nil && r.farm.opts.Secret != "" {
		err = webhook.Verify(req.Header, body, r.farm.opts.Secret, 10*time.Minute)
	}
	if err != nil {
		r.farm.ledger.fail("receiver %s: %w: %.300s", r.Name, err, body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if times := r.farm.ledger.note(r.Name, d.Key, d.At); fault.perKey() && times > fault.Times {
		fault = Fault{}
	}
	if r.misbehave(w, req, fault, changed, &d) {
		return
	}
	d.At = time.Now()
	r.farm.ledger.take(d)
	w.WriteHeader(http.StatusNoContent)
}

// misbehave does what a fault says; false: the delivery is taken.
func (r *Receiver) misbehave(w http.ResponseWriter, req *http.Request, f Fault, changed <-chan struct{}, d *Delivery) bool {
	gone := req.Context().Done()
	switch f.Kind {
	case TooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.After/time.Second)))
		r.farm.ledger.hold(r.Name, d.Key, time.Now().Add(f.After))
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case Broken:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case Gone:
		http.Error(w, "gone", http.StatusGone)
	case NotFound:
		http.Error(w, "no such hook", http.StatusNotFound)
	case Loris:
		r.trickle(w, changed)
	case Garbage:
		raw(w, func(c net.Conn, out *bufio.ReadWriter) {
			_, _ = out.WriteString("220 this is not the server you are looking for\r\n") // it is to fail at the sender's end
			_ = out.Flush()
		})
	case Hang:
		select {
		case <-gone:
		case <-changed:
		case <-r.done:
		}
		panic(http.ErrAbortHandler) // net/http's way of cutting the connection
	case Slow:
		return !r.pause(f.After, gone)
	default:
		return false
	}
	return true
}

// raw takes the connection from net/http and closes it afterwards.
func raw(w http.ResponseWriter, do func(c net.Conn, out *bufio.ReadWriter)) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler) // HTTP/2: there is no connection of the request's own
	}
	c, out, err := h.Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	do(c, out)
}

// reset cuts the connection hard in the middle of the body.
func (r *Receiver) reset(w http.ResponseWriter, req *http.Request) {
	_, _ = io.ReadFull(req.Body, make([]byte, 16))
	raw(w, func(c net.Conn, _ *bufio.ReadWriter) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // what comes is a reset, not an end
		}
	})
}

// trickle answers a byte a second, and never to the end of a header.
func (r *Receiver) trickle(w http.ResponseWriter, changed <-chan struct{}) {
	raw(w, func(_ net.Conn, out *bufio.ReadWriter) {
		_, err := out.WriteString("HTTP/1.1 200 OK\r\nX-Patience: ")
		for err == nil && out.Flush() == nil && r.pause(time.Second, changed) {
			err = out.WriteByte('.')
		}
	})
}
