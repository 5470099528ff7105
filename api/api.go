// Package api serves everything over one HTTP port: the page, the APIs behind it, remote write, and the program's own metrics.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/query/metricquery"
)

// What New returns, wrapped with the address and what to do.
var (
	ErrAddressInUse = errors.New("address is in use")
	ErrNotSafe      = errors.New("address can be reached by others and is not protected")
)

const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	bodyTimeout    = time.Minute
	answerTimeout  = 5 * time.Minute
	maxHeaderBytes = 64 << 10
	drainTimeout   = 3 * time.Second // what runs may take that long to end when we stop; the whole program has 5 s
)

// Options say what is served. Listen is needed; what is nil is answered with 404.
type Options struct {
	Listen        string // host:port; port 0 takes a free one
	WebConfigFile string // TLS and users, in the format of Prometheus's exporter-toolkit
	TokenFile     string // bearer tokens that are let in, see tokens
	Insecure      bool   // allow an address that others can reach without TLS and users
	Log           *slog.Logger
	Registerer    prometheus.Registerer
	Gatherer      prometheus.Gatherer // for /metrics
	Stream        model.Gatherer      // what /metrics has beside it, family by family, too much to be held at once; nil: nothing
	Query         *metricquery.Engine // for /api/v1/
	Write         http.Handler        // for /api/v1/write
	Logs          http.Handler        // for /v1/logs
	Map           http.Handler        // for /api/map, /api/map/stream, /api/workloads, /api/workload
	Inventory     http.Handler        // for /api/namespaces, /api/nodes, /api/pods and one each of them
	Events        http.Handler        // for /api/events, /api/events/counts
	Web           http.Handler        // for everything else
	Ready         func() error        // nil, or why not; for /-/ready
	Status        func() any          // for /api/status, the Status of openapi.yaml
}

// Server is a listening server.
type Server struct {
	opts     Options
	log      *slog.Logger
	tokens   *tokens // nil: none are asked for
	listener net.Listener
	server   *http.Server
	metrics  *httpMetrics
	stopping context.Context // ends the streams
	stop     context.CancelFunc
}

// New listens; requests wait until Run. Errors: ErrAddressInUse, ErrNotSafe, or what is wrong with the web configuration.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	protection, err := readWebConfig(o.WebConfigFile)
	if err != nil {
		return nil, err
	}
	var known *tokens
	if o.TokenFile != "" {
		if protection.basic {
			return nil, fmt.Errorf("%s has basic_auth_users, which cannot be together with tokens: a request carries one of them", o.WebConfigFile)
		}
		if known, err = openTokens(o.TokenFile, o.Log); err != nil {
			return nil, err
		}
		protection.users = true
	}
	listener, err := net.Listen("tcp", o.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another program listens on %s; stop it or choose another address", ErrAddressInUse, o.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	if err := checkSafe(listener.Addr(), protection, o); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &Server{opts: o, log: o.Log, tokens: known, listener: listener, metrics: newHTTPMetrics(o.Registerer)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.server = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // broken TLS and HTTP of clients
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then lets the requests that run end, for at most 3 s, and closes the port.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		file := s.opts.WebConfigFile
		err := web.Serve(s.listener, s.server, &web.FlagConfig{WebConfigFile: &file}, s.log)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve HTTP: %w", err)
	})
	g.Go(func() error {
		<-ctx.Done()
		s.stop()
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if err := s.server.Shutdown(drain); err != nil {
			s.log.Warn("requests were cut at the end", "err", err)
			return ignoreClosed(s.server.Close())
		}
		return nil
	})
	return g.Wait()
}

// Close gives the port back if Run was never called.
func (s *Server) Close() error {
	s.stop()
	return ignoreClosed(errors.Join(s.server.Close(), s.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// readWebConfig says whether the file asks for TLS and for users (or certificates of clients).
func readWebConfig(file string) (protection, error) {
	if file == "" {
		return protection{}, nil
	}
	if err := web.Validate(file); err != nil {
		return protection{}, fmt.Errorf("read web configuration %s: %w", file, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return protection{}, fmt.Errorf("read web configuration: %w", err)
	}
	defer f.Close()
	return parseProtection(io.LimitReader(f, 1<<20))
}

// checkSafe refuses to show this machine's traffic to others by mistake.
func checkSafe(addr net.Addr, p protection, o Options) error {
	tcp, ok := addr.(*net.TCPAddr)
	if o.Insecure || (ok && tcp.IP.IsLoopback()) || (p.tls && p.users) {
		return nil
	}
	missing := "TLS and users"
	switch {
	case p.tls:
		missing = "users (basic_auth_users, client certificates, or --web-token-file)"
	case p.users:
		missing = "TLS (tls_server_config)"
	}
	return fmt.Errorf("%w: %s needs %s in a web configuration file, or --insecure if the network is trusted; or listen on 127.0.0.1", ErrNotSafe, o.Listen, missing)
}
