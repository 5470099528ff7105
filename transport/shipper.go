package transport

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/transport/spool"
)

const (
	defaultMemory = 16 << 20
	minBackoff    = 200 * time.Millisecond
	maxBackoff    = 10 * time.Second
	flushTime     = 2 * time.Second // for what is left at the end; the whole program has 5 s
	sayAgain      = 10 * time.Minute
)

// SenderOptions say where to and what may wait. URL is needed, all else has a default.
type SenderOptions struct {
	URL          string // http or https; without a path it is that of a vetch server
	Credentials  Credentials
	UserAgent    string
	SpoolDir     string // empty: what waits is in memory only
	SpoolLimit   int64  // bytes on disk
	SpoolReserve int64  // free space under which nothing is written, default 2 % of the file system, 16 to 256 MiB
	MemoryLimit  int64  // bytes in memory, default 16 MiB
	Log          *slog.Logger
	Registerer   prometheus.Registerer
}

// signal is what a shipper needs to know of what it ships.
type signal struct {
	name string   // label of its metrics: "metrics", "events"
	what string   // in the log: "samples", "events"
	path string   // of a vetch server
	sent []string // kinds that are counted when they were taken
	// failReason names a status after which nothing is sent again; "" for all others.
	failReason func(status int) string
	// post sends a batch once.
	post func(ctx context.Context, b *queued) verdict
	own  []prometheus.Collector // metrics of this signal alone
}

// shipper sends batches of one signal: in order, one request at a time. What the receiver does not take now waits in memory and on disk.
type shipper struct {
	signal
	log     *slog.Logger
	client  *client
	queue   *queue
	metrics *sendMetrics

	// The goroutine of Run alone uses these.
	said    map[string]time.Time // what was logged of refusals, by reason
	waiting bool                 // the receiver does not take batches, which was logged
}

// newShipper opens the spool. Errors: those of spool.Open, or what is wrong with the options.
func newShipper(o SenderOptions, of signal) (*shipper, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = defaultMemory
	}
	to, err := url.Parse(o.URL)
	if err != nil || to.User != nil || to.Host == "" || (to.Scheme != "http" && to.Scheme != "https") {
		// The text is not repeated: it may hold a password.
		return nil, errors.New("send " + of.what + ": the server must be an address such as https://vetch.example.org:4780, without a password")
	}
	if to.Path == "" || to.Path == "/" {
		to.Path = of.path
	}
	s := &shipper{signal: of, log: o.Log, metrics: newSendMetrics(of.sent), said: make(map[string]time.Time)}
	if s.client, err = newClient(to, o.Credentials, o.UserAgent); err != nil {
		return nil, err
	}
	s.queue = newQueue(o.Log, s.metrics, of.what, o.MemoryLimit)
	if o.SpoolDir != "" {
		s.queue.spool, err = spool.Open(spool.Options{
			Dir: o.SpoolDir, Limit: o.SpoolLimit, Reserve: o.SpoolReserve, Log: o.Log, Dropped: s.metrics.drop, Corrupt: s.metrics.corrupt.Inc,
		})
		if err != nil {
			return nil, err
		}
	}
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"signal": of.name}, o.Registerer)
	labelled.MustRegister(of.own...)
	s.metrics.register(labelled, s.queue, o.SpoolLimit)
	return s, nil
}

// Close lets go of the spool, for a sender that is not run. What waits goes to the spool.
func (s *shipper) Close() error { return s.queue.close() }

// Run sends until ctx ends; after that what is left for at most 2 s, if the receiver takes it. The rest stays in the spool for the next time.
func (s *shipper) Run(ctx context.Context) error {
	// A request that runs when ctx ends may still come to its own end.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, stop) })()
	attempt := 0
	for ctx.Err() == nil {
		b, err := s.queue.oldest()
		if err != nil {
			s.log.Error("read the spool", "err", err)
		} else if b == nil {
			select {
			case <-s.queue.filled:
			case <-ctx.Done():
			}
			continue
		}
		wait := time.Duration(0)
		if err == nil {
			if wait, err = s.attempt(sending, b); err == nil {
				attempt = 0
				continue
			}
		}
		attempt++
		sleep(ctx, max(wait, backoff(attempt)))
	}
	return s.finish(sending)
}

// finish sends the last batches where nothing is in the way.
func (s *shipper) finish(ctx context.Context) error {
	defer s.client.http.CloseIdleConnections()
	for !s.queue.late() && ctx.Err() == nil {
		b, err := s.queue.oldest()
		if err != nil || b == nil {
			break
		}
		if _, err := s.attempt(ctx, b); err != nil {
			break
		}
	}
	return s.queue.close()
}

// errAgain says that the batch is to be sent again later.
var errAgain = errors.New("the receiver takes nothing now")

// attempt sends a batch once. Where it was neither taken nor refused it returns errAgain and how long the receiver asks to wait.
func (s *shipper) attempt(ctx context.Context, b *queued) (time.Duration, error) {
	answer := s.post(ctx, b)
	switch reason := s.failReason(answer.status); {
	case answer.broken:
		s.refused(b, answer, "batch")
	case answer.status/100 == 2 && answer.lost > 0:
		s.refused(b, answer, "rejected")
	case answer.status/100 == 2:
		s.taken(b)
	case reason == "":
		s.queue.delay()
		if !s.waiting && ctx.Err() == nil {
			s.waiting = true
			s.log.Warn("the server takes nothing; it waits", "signal", s.name, "status", answer.status, "err", answer.text)
		}
		return answer.after, errAgain
	default:
		s.refused(b, answer, reason)
	}
	return 0, s.queue.done(b)
}

// ask posts a body and counts the answer.
func (s *shipper) ask(ctx context.Context, headers map[string]string, body []byte) verdict {
	answer := s.client.post(ctx, headers, body)
	code := "error"
	if answer.status != 0 {
		code = strconv.Itoa(answer.status)
	}
	s.metrics.requests.WithLabelValues(code).Inc()
	return answer
}

func (s *shipper) taken(b *queued) {
	s.count(int(b.Samples), int(b.Histograms))
	if s.waiting {
		s.waiting = false
		size := s.queue.size(time.Now())
		s.log.Info("the server takes what it is sent again", "signal", s.name, "lag", size.lag.Round(time.Second), "spool_bytes", size.disk)
	}
}

// count counts what the receiver took: numbers as the batch has them.
func (s *shipper) count(numbers ...int) {
	for i, kind := range s.sent {
		s.metrics.sent.WithLabelValues(kind).Add(float64(numbers[i]))
	}
}

// refused counts what the receiver will never take, and says so once in a while.
func (s *shipper) refused(b *queued, a verdict, reason string) {
	samples, histograms := min(a.written.samples, int(b.Samples)), min(a.written.histograms, int(b.Histograms))
	if a.lost > 0 {
		samples = b.Count() - min(a.lost, b.Count())
	}
	s.count(samples, histograms)
	lost := b.Count() - samples - histograms
	s.metrics.failed.WithLabelValues(reason).Add(float64(lost))
	s.waiting = false
	if now := time.Now(); now.Sub(s.said[reason]) > sayAgain {
		s.said[reason] = now
		s.log.Error("the server refuses what it is sent; that is lost and counted in vetch_ship_failed_total", "signal", s.name, "reason", reason, "status", a.status,
			s.what, lost, "answer", a.text, "url", s.client.url)
	}
}

// failReasons are the values of the label of vetch_ship_failed_total.
func failReasons() []string {
	return []string{"batch", "forbidden", "not_found", "other", "redirect", "rejected", "too_large", "unauthorized"}
}

// backoff is doubled with each attempt; jitter keeps many agents from coming at once.
func backoff(attempt int) time.Duration {
	d := min(minBackoff<<min(attempt-1, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
