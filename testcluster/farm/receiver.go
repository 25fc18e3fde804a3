package farm

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
)

// Receiver is one server at one address, which stays its own while nobody
// listens there.
type Receiver struct {
	Name string

	farm    *Farm
	service service
	address string
	done    chan struct{} // closed when it ends for good
	handled sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when the fault changes
	closing sync.Once
	serving *serving // nil: nobody listens
}

// service is a protocol.
type service interface {
	// serve serves a listener until stop, which cuts all connections, was called.
	serve(r *Receiver, l net.Listener) (stop func(), served <-chan struct{})
	// url is the address as a document gives it.
	url(host, port string) string
}

type serving struct {
	stop   func()
	served <-chan struct{}
}

// Host is the name or address under which senders find it.
func (r *Receiver) Host() string { return r.farm.opts.Host }

// Port is the number of its port.
func (r *Receiver) Port() string {
	_, port, _ := net.SplitHostPort(r.address) // we made it
	return port
}

// URL is where to send to.
func (r *Receiver) URL() string { return r.service.url(r.Host(), r.Port()) }

// Fault is what it does wrong now.
func (r *Receiver) Fault() Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault
}

// now is the fault with what is closed when it changes.
func (r *Receiver) now() (Fault, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault, r.changed
}

// Set has it do something wrong from now on, or nothing any more. What hangs
// because of the fault before is cut off.
func (r *Receiver) Set(f Fault) error {
	r.mu.Lock()
	before := r.fault
	r.fault = f
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if f.shut() || before.shut() {
		r.shut()
	}
	if f.Kind == Refused {
		return nil
	}
	return r.listen()
}

// listen serves, unless it does already.
func (r *Receiver) listen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.serving != nil {
		return nil
	}
	l, err := r.farm.listen(r.address)
	if err != nil {
		return err
	}
	r.address = l.Addr().String()
	stop, served := r.service.serve(r, l)
	r.serving = &serving{stop, served}
	return nil
}

func (r *Receiver) shut() {
	r.mu.Lock()
	s := r.serving
	r.serving = nil
	r.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.served
	}
}

func (r *Receiver) close() error {
	r.closing.Do(func() { close(r.done) })
	r.shut()
	r.handled.Wait()
	return nil
}

// Ports are taken from below the range from which systems choose those of
// outgoing connections: there, another connection could take the port of a
// receiver that is shut.
const (
	firstPort = 2000
	ports     = 13000
)

var nextPort = struct {
	sync.Mutex
	at int
}{at: os.Getpid() * 251 % ports}

// listen opens a listener at an address, or at one of its own choice.
func (f *Farm) listen(address string) (net.Listener, error) {
	if f.opts.Listen != nil {
		if address == "" {
			address = ":0"
		} else {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			address = ":" + port
		}
		return f.opts.Listen(address)
	}
	if address != "" {
		return net.Listen("tcp", address)
	}
	nextPort.Lock()
	defer nextPort.Unlock()
	var last error
	for range ports {
		nextPort.at = (nextPort.at + 1) % ports
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort.at))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, last
}

func cutName(name, receiver string) (key string, ok bool) {
	return strings.CutPrefix(name, receiver+" ")
}
