package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// maxSocketPath is the longest path of a unix socket that every system takes.
const maxSocketPath = 103

// listen opens the HTTP port and the local socket.
func (n *Node) listen() error {
	if n.opts.Listen != "" {
		if err := n.listenHTTP(); err != nil {
			return err
		}
	}
	if n.opts.NoSocket {
		return nil
	}
	path := filepath.Join(n.opts.DataDir, socketName)
	if len(path) > maxSocketPath {
		return fmt.Errorf("local socket: %s is %d bytes long, the system takes %d: give a shorter data directory with --data", path, len(path), maxSocketPath)
	}
	// Left behind by a process that was killed: the lock on the log says that
	// nobody else runs here.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("local socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	n.serve(l, &http.Server{Handler: n.operatorHandler(), ReadHeaderTimeout: headerPatience})
	return nil
}

// Listen is the address of the HTTP port, once started.
func (n *Node) Listen() string { return n.opts.Listen }

// atLeader are the operator's questions that the leader answers: it alone knows
// how every node is, or may change what they ask to.
var atLeader = []string{"/v1/status", "/v1/nodes/", "/v1/rebalance", "/v1/keyring", "/v1/restore"}

// operatorHandler answers the operator, or has the node do so that can.
func (n *Node) operatorHandler() http.Handler {
	local := api.Local(n, n, n.opts.Registry)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isTenantPath(r) {
			n.tenants.ServeHTTP(w, asOperator(r))
			return
		}
		for _, prefix := range atLeader {
			if !strings.HasPrefix(r.URL.Path, prefix) {
				continue
			}
			group := n.groupNow()
			if prefix == "/v1/status" && (group == nil || r.URL.Query().Has("local") || n.removed.Load() || !hasLeader(group)) {
				continue // what is known here is better than nothing
			}
			if n.toLeader(w, r) {
				return
			}
		}
		if r.URL.Path == "/v1/coverage/verify" && n.toHolder(w, r) {
			return
		}
		if r.URL.Path == "/v1/replay" && n.toReplayer(w, r) {
			return
		}
		if r.URL.Path == "/v1/triggers/test" && n.toOwner(w, r) {
			return
		}
		local.ServeHTTP(w, r)
	})
}

func hasLeader(group *consensus.Group) bool {
	_, ok := group.Leader()
	return ok
}

func (n *Node) serve(l net.Listener, s *http.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve := s.Serve
		if s.TLSConfig != nil {
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("HTTP", "address", l.Addr().String(), "error", err)
		}
	}()
	n.clean.push(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // connections that do not end are cut
		}
		<-done
		return nil
	})
}

// Reload reads the folder again.
func (n *Node) Reload(ctx context.Context) (api.Reloaded, error) {
	if n.opts.Config == "" {
		return api.Reloaded{}, fmt.Errorf("%w: this node was started without --config", api.ErrBadRequest)
	}
	report, err := n.Import(ctx, n.opts.Config)
	if err != nil {
		return api.Reloaded{}, err
	}
	out := api.Reloaded{Changed: report.Changed, Removed: report.Removed, Refused: report.Refused}
	for _, p := range report.Problems {
		out.Problems = append(out.Problems, p.String())
	}
	return out, nil
}
