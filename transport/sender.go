package transport

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/vetch-dev/vetch/transport/spool"
)

const (
	defaultMemory = 16 << 20
	minBackoff    = 200 * time.Millisecond
	maxBackoff    = 10 * time.Second
	flushTime     = 2 * time.Second // for what is left at the end; the whole program has 5 s
	askAgain      = time.Hour       // after which a receiver that knew only version 1.0 is asked for 2.0 again
	sayAgain      = 10 * time.Minute
	writePath     = "/api/v1/write"
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

// Sender ships samples by remote write 2.0, or 1.0 where the receiver knows no other: in order, one request at a time. What the receiver does not take
// now waits in memory and on disk. What it refuses for good is counted.
type Sender struct {
	log     *slog.Logger
	client  *client
	queue   *queue
	metrics *sendMetrics

	mu       sync.Mutex
	metadata map[string]metadata.Metadata // by name of the metric
	encoders sync.Pool                    // of *encoder

	// The goroutine of Run alone uses these.
	oldUntil time.Time            // until then the receiver is spoken to in version 1.0
	said     map[string]time.Time // what was logged of refusals, by reason
	waiting  bool                 // the receiver does not take batches, which was logged
}

// NewSender opens the spool. Errors: those of spool.Open, or what is wrong with the options.
func NewSender(o SenderOptions) (*Sender, error) {
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
		return nil, errors.New("send samples: the server must be an address such as https://vetch.example.org:4780, without a password")
	}
	if to.Path == "" || to.Path == "/" {
		to.Path = writePath
	}
	s := &Sender{log: o.Log, metrics: newSendMetrics(), metadata: make(map[string]metadata.Metadata), said: make(map[string]time.Time)}
	s.encoders.New = func() any { return new(encoder) }
	if s.client, err = newClient(to, o.Credentials, o.UserAgent); err != nil {
		return nil, err
	}
	s.queue = newQueue(o.Log, s.metrics, o.MemoryLimit)
	if o.SpoolDir != "" {
		s.queue.spool, err = spool.Open(spool.Options{
			Dir: o.SpoolDir, Limit: o.SpoolLimit, Reserve: o.SpoolReserve, Log: o.Log, Dropped: s.metrics.drop, Corrupt: s.metrics.corrupt.Inc,
		})
		if err != nil {
			return nil, err
		}
	}
	s.metrics.register(o.Registerer, s.queue, o.SpoolLimit)
	return s, nil
}

// Close lets go of the spool, for a Sender that is not run. What waits goes to the spool.
func (s *Sender) Close() error { return s.queue.close() }

// Run sends until ctx ends; after that what is left for at most 2 s, if the receiver takes it. The rest stays in the spool for the next time.
func (s *Sender) Run(ctx context.Context) error {
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
func (s *Sender) finish(ctx context.Context) error {
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
var errAgain = errors.New("the receiver does not take samples now")

// attempt sends a batch once. Where it was neither taken nor refused it returns errAgain and how long the receiver asks to wait.
func (s *Sender) attempt(ctx context.Context, b *queued) (time.Duration, error) {
	v := version2
	if time.Now().Before(s.oldUntil) {
		v = version1
	}
	body := b.Body
	if v == version1 {
		var err error
		if body, err = downgrade(body); err != nil {
			// The checksum was right, so this is no batch of ours.
			s.refused(b, verdict{text: err.Error()}, "batch")
			return 0, s.queue.done(b)
		}
	}
	answer := s.client.post(ctx, v, body)
	code := "error"
	if answer.status != 0 {
		code = strconv.Itoa(answer.status)
	}
	s.metrics.requests.WithLabelValues(code).Inc()
	switch reason := failReason(answer.status); {
	case v == version2 && speaksOld(answer, b):
		s.oldUntil = time.Now().Add(askAgain)
		s.log.Info("the server does not speak remote write 2.0; 1.0 is used, without start times", "status", answer.status)
		return s.attempt(ctx, b)
	case answer.status/100 == 2:
		s.taken(b)
	case reason == "":
		s.queue.delay()
		if !s.waiting && ctx.Err() == nil {
			s.waiting = true
			s.log.Warn("the server does not take samples; they wait", "status", answer.status, "err", answer.text)
		}
		return answer.after, errAgain
	default:
		s.refused(b, answer, reason)
	}
	return 0, s.queue.done(b)
}

// speaksOld reports whether the receiver does not know version 2.0: it says so, or takes the message for one of 1.0, which looks empty then.
func speaksOld(a verdict, b *queued) bool {
	return a.status == http.StatusUnsupportedMediaType || (a.status/100 == 2 && !a.written.known && b.Count() > 0)
}

func (s *Sender) taken(b *queued) {
	s.metrics.sent.WithLabelValues("sample").Add(float64(b.Samples))
	s.metrics.sent.WithLabelValues("histogram").Add(float64(b.Histograms))
	if s.waiting {
		s.waiting = false
		size := s.queue.size(time.Now())
		s.log.Info("the server takes samples again", "lag", size.lag.Round(time.Second), "spool_bytes", size.disk)
	}
}

// refused counts what the receiver will never take, and says so once in a while.
func (s *Sender) refused(b *queued, a verdict, reason string) {
	samples, histograms := min(a.written.samples, int(b.Samples)), min(a.written.histograms, int(b.Histograms))
	s.metrics.sent.WithLabelValues("sample").Add(float64(samples))
	s.metrics.sent.WithLabelValues("histogram").Add(float64(histograms))
	lost := b.Count() - samples - histograms
	s.metrics.failed.WithLabelValues(reason).Add(float64(lost))
	s.waiting = false
	if now := time.Now(); now.Sub(s.said[reason]) > sayAgain {
		s.said[reason] = now
		s.log.Error("the server refuses samples; they are lost and counted in vetch_ship_failed_total", "reason", reason, "status", a.status,
			"samples", lost, "answer", a.text, "url", s.client.url)
	}
}

// failReasons are the values of the label of vetch_ship_failed_total.
func failReasons() []string {
	return []string{"batch", "forbidden", "not_found", "other", "redirect", "rejected", "too_large", "unauthorized"}
}

// failReason names a status after which nothing is sent again; "" for all others. The specification of remote write asks for that of
// all 4xx but 429.
func failReason(status int) string {
	switch {
	case status == http.StatusBadRequest:
		return "rejected"
	case status == http.StatusUnauthorized:
		return "unauthorized"
	case status == http.StatusForbidden:
		return "forbidden"
	case status == http.StatusNotFound:
		return "not_found"
	case status == http.StatusRequestEntityTooLarge:
		return "too_large"
	case status == http.StatusTooManyRequests:
		return ""
	case status/100 == 3:
		return "redirect"
	case status/100 == 4:
		return "other"
	}
	return ""
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
