package tracer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/agent/probe"
)

// DefaultPollInterval is how often a tracer is asked.
const DefaultPollInterval = 5 * time.Second

const (
	maxBackOff   = 30 * time.Second
	pollPatience = 10 * time.Second
	lastPatience = 2 * time.Second // for the last answer
)

// SourceOptions say which tracer to read.
type SourceOptions struct {
	Log          *slog.Logger // nil: nothing is logged
	Path         string       // of the tracer's socket
	Root         string       // the host's file system; "" is "/"
	PollInterval time.Duration
	Registerer   prometheus.Registerer // nil: its figures are not exported
}

// Source reads another tracer in place of the probe.
type Source struct {
	log      *slog.Logger
	path     string
	interval time.Duration
	url      string
	client   *http.Client
	book     *book // belongs to the goroutine of Run

	mu        sync.Mutex
	connected bool
	lost      map[string]uint64
	polls     map[string]uint64
	rows      int
}

// The results of asking a tracer.
const (
	pollDone        = "done"
	pollUnreachable = "unreachable"
	pollRefused     = "refused" // another answer than 200
	pollInvalid     = "invalid" // an answer that cannot be read to its end
)

// NewSource prepares to read a tracer, which need not be there yet.
func NewSource(o SourceOptions) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.PollInterval <= 0 {
		o.PollInterval = DefaultPollInterval
	}
	s := &Source{
		log: o.Log, path: o.Path, interval: o.PollInterval, url: "http://tracer/connections?client_id=" + url.QueryEscape("vetch-"+rand.Text()),
		client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", o.Path)
			},
			MaxIdleConns: 1, DisableCompression: true,
		}},
		book:  newBook(procfs{filepath.Join(o.Root, "proc")}),
		lost:  make(map[string]uint64),
		polls: map[string]uint64{pollDone: 0, pollUnreachable: 0, pollRefused: 0, pollInvalid: 0},
	}
	for _, reason := range lostReasons {
		s.lost[reason] = 0
	}
	if o.Registerer != nil {
		if err := s.register(o.Registerer); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run asks the tracer every interval and gives each reading to snapshot, on one goroutine, until ctx ends; then once more. While the tracer does
// not answer it goes on asking, less and less often, and the readings are empty.
func (s *Source) Run(ctx context.Context, snapshot func(probe.Snapshot)) error {
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	var next time.Time
	failures := 0
	for {
		if now := time.Now(); !now.Before(next) {
			if s.poll(ctx, pollPatience) {
				failures = 0
			} else if ctx.Err() == nil {
				failures++
				next = now.Add(backOff(s.interval, failures))
			}
		}
		if ctx.Err() == nil {
			snapshot(s.take())
		}
		select {
		case <-ctx.Done():
			s.poll(context.WithoutCancel(ctx), lastPatience)
			s.book.settle()
			snapshot(s.take())
			return nil
		case <-tick.C:
		}
	}
}

// backOff is how long to wait after some failures in a row.
func backOff(interval time.Duration, failures int) time.Duration {
	wait := interval / 2 // so that the first of them is the next tick
	for range min(failures-1, 10) {
		wait *= 2
	}
	return min(wait, max(maxBackOff, interval))
}

// poll asks once; ok is false where the answer is not whole.
func (s *Source) poll(ctx context.Context, patience time.Duration) (ok bool) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, single, result, err := s.ask(limited)
	if err != nil && ctx.Err() != nil {
		return false // given up by us
	}
	s.book.read(answer.rows, single, err == nil, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[lostMalformed] += answer.malformed
	s.lost[lostRowsFull] += answer.over
	for reason, n := range s.book.lost {
		s.lost[reason] += n
	}
	clear(s.book.lost)
	s.polls[result]++
	s.rows = len(s.book.conns)
	if err != nil && s.connected || s.polls[pollDone] == 0 && s.polls[result] == 1 {
		s.log.Warn("the network tracer does not answer; asking again until it does", "socket", s.path, "err", err)
	} else if err == nil && !s.connected {
		s.log.Info("reading the network tracer", "socket", s.path, "rows", len(answer.rows))
	}
	s.connected = err == nil
	return err == nil
}

// ask gets an answer; single says that each row of it is one connection.
func (s *Source) ask(ctx context.Context) (answer decoded, single bool, result string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return answer, false, pollUnreachable, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer, false, pollUnreachable, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, false, pollRefused, fmt.Errorf("answered %s", response.Status)
	}
	if answer, err = decode(response.Body); err != nil {
		return answer, false, pollInvalid, err
	}
	return answer, response.Header.Get(aggregated) == "", pollDone, nil
}

// take is what was read since the last time.
func (s *Source) take() probe.Snapshot { return s.book.take(time.Now()) }

// Stats says whether the tracer answers, as a hook, and what of its answers could not be used.
func (s *Source) Stats() probe.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := probe.Stats{Hooks: map[string]bool{"tracer": s.connected}, Lost: make(map[string]uint64, len(s.lost))}
	for reason, n := range s.lost {
		out.Lost[reason] = n
	}
	return out
}

// Close is there for those who close a probe. There is nothing to close.
func (s *Source) Close() error { return nil }

// Check asks a tracer once, and gives the number of its rows.
func Check(ctx context.Context, path string) (rows int, err error) {
	s, err := NewSource(SourceOptions{Path: path})
	if err != nil {
		return 0, err
	}
	defer s.client.CloseIdleConnections()
	answer, _, _, err := s.ask(ctx)
	return len(answer.rows), err
}
