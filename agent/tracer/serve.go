package tracer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxAnswers     = 8   // that are being written at once
	maxReaders     = 256 // connections to the socket; more wait
	maxClientID    = 128 // bytes
	stopPatience   = time.Second
	answerPatience = 30 * time.Second
	idlePatience   = 2 * time.Minute
	maxHead        = 16 << 10
)

// aggregated marks the answers of a tracer whose rows are no single connections.
const aggregated = "Vetch-Rows"

// ServerOptions say where to serve.
type ServerOptions struct {
	Log        *slog.Logger // nil: nothing is logged
	Path       string       // of the socket
	Version    string
	Registerer prometheus.Registerer // nil: its figures are not exported
}

// Server answers GET /connections?client_id= and /status on a unix socket.
type Server struct {
	log     *slog.Logger
	version string
	socket  *socket
	http    *http.Server
	room    chan struct{} // one for each answer that is being written

	mu      sync.Mutex // guards all that follows; held for no longer than a walk through the rows
	table   table
	clients clients
	refused map[string]uint64 // requests by reason
	answers uint64
}

// The reasons why a request is refused.
const (
	refusedClients = "clients" // more of them than there is room for
	refusedBusy    = "busy"    // more answers at once than there is room for
	refusedBadID   = "client_id"
)

// Listen takes the socket; Run serves on it. Close is for a server that is not run.
func Listen(o ServerOptions) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := listenUnix(o.Path)
	if err != nil {
		return nil, err
	}
	s := &Server{
		log: o.Log, version: o.Version, socket: l, room: make(chan struct{}, maxAnswers), table: newTable(), clients: newClients(),
		refused: map[string]uint64{refusedClients: 0, refusedBusy: 0, refusedBadID: 0},
	}
	if o.Registerer != nil {
		if err := s.register(o.Registerer); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connections", s.connections)
	mux.HandleFunc("GET /status", s.status)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: answerPatience, IdleTimeout: idlePatience,
		MaxHeaderBytes: maxHead, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Run serves until ctx ends, and removes the socket.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		err := s.http.Shutdown(limit)
		if err != nil { // a reader that does not read
			err = s.http.Close()
		}
		stopped <- err
	})
	err := s.http.Serve(netutil.LimitListener(s.socket, maxReaders))
	if stop() { // it ended by itself
		return errors.Join(fmt.Errorf("serve the tracer's socket: %w", err), s.Close())
	}
	return errors.Join(<-stopped, s.Close())
}

// Close removes the socket. Closing twice is harmless.
func (s *Server) Close() error {
	return errors.Join(s.http.Close(), s.socket.Close())
}

// Apply adds a snapshot of the probe; own are the addresses of the machine itself.
func (s *Server) Apply(snapshot *probe.Snapshot, own []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.expire(snapshot.Time)
	s.table.apply(snapshot, own, func(r *row) {
		if last, ok := s.table.tell(r); ok {
			s.clients.end(r, last)
		}
	})
}

// answer is what a client is told now; refusal says why it is not.
func (s *Server) answer(id string, now time.Time) (rows []Connection, refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, first := s.clients.visit(id, now)
	if who == nil {
		s.refused[refusedClients]++
		return nil, refusedClients
	}
	s.answers++
	rows = make([]Connection, 0, len(s.table.rows)+len(s.clients.closed))
	s.clients.tellClosed(who, func(c Connection) { rows = append(rows, c) })
	for _, r := range s.table.rows {
		if c, ok := s.table.tell(r); ok {
			s.clients.differ(who, first, r, &c)
			rows = append(rows, c)
		}
	}
	return rows, ""
}

func (s *Server) refuse(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[reason]++
}

func (s *Server) connections(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("client_id")
	if len(id) > maxClientID {
		s.refuse(refusedBadID)
		http.Error(w, fmt.Sprintf("client_id may have %d bytes", maxClientID), http.StatusBadRequest)
		return
	}
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		s.refuse(refusedBusy)
		http.Error(w, "too many ask at once", http.StatusServiceUnavailable)
		return
	}
	rows, refusal := s.answer(id, time.Now())
	if refusal != "" {
		http.Error(w, fmt.Sprintf("there are %d clients already", maxClients), http.StatusServiceUnavailable)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set(aggregated, "pairs")
	if err := writeConnections(bufio.NewWriterSize(w, 64<<10), rows); err != nil {
		s.log.Debug("a reader of connections went away", "err", err)
	}
}

func writeConnections(w *bufio.Writer, rows []Connection) error {
	if _, err := w.WriteString(`{"connections":[`); err != nil {
		return err
	}
	var line []byte
	for i := range rows {
		line = line[:0]
		if i > 0 {
			line = append(line, ',')
		}
		line = rows[i].appendJSON(line)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if _, err := w.WriteString("]}\n"); err != nil {
		return err
	}
	return w.Flush()
}

// status answers with 200, as it did; what is in it is ours.
func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	out := struct {
		Version     string `json:"version"`
		Connections int    `json:"connections"`
		Clients     int    `json:"clients"`
	}{s.version, len(s.table.rows), len(s.clients.by)}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log.Debug("a reader of the status went away", "err", err)
	}
}
