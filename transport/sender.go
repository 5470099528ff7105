package transport

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/metadata"
)

const (
	askAgain  = time.Hour // after which a receiver that knew only version 1.0 is asked for 2.0 again
	writePath = "/api/v1/write"
)

// Sender ships samples by remote write 2.0, or 1.0 where the receiver knows no other. What it refuses for good is counted.
type Sender struct {
	*shipper

	mu       sync.Mutex
	metadata map[string]metadata.Metadata // by name of the metric
	encoders sync.Pool                    // of *encoder
	rounds   prometheus.Counter

	oldUntil time.Time // until then the receiver is spoken to in version 1.0; of the goroutine of Run alone
}

// NewSender opens the spool. Errors: those of spool.Open, or what is wrong with the options.
func NewSender(o SenderOptions) (*Sender, error) {
	s := &Sender{metadata: make(map[string]metadata.Metadata), rounds: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vetch_ship_rounds_total", Help: "Rounds of samples that were handed over to be sent. Where it is shipped too, a value that the server lacks is a round that was lost.",
	})}
	s.encoders.New = func() any { return new(encoder) }
	var err error
	s.shipper, err = newShipper(o, signal{
		name: "metrics", what: "samples", path: writePath, sent: []string{"sample", "histogram"}, failReason: failReason, post: s.write, own: []prometheus.Collector{s.rounds},
	})
	return s, err
}

// The headers of the versions.
var (
	headers1 = map[string]string{"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
	headers2 = map[string]string{
		"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "X-Prometheus-Remote-Write-Version": "2.0.0",
	}
)

// write posts a batch in the version that the receiver knows.
func (s *Sender) write(ctx context.Context, b *queued) verdict {
	if !time.Now().Before(s.oldUntil) {
		answer := s.ask(ctx, headers2, b.Body)
		if !speaksOld(answer, b) {
			return answer
		}
		s.oldUntil = time.Now().Add(askAgain)
		s.log.Info("the server does not speak remote write 2.0; 1.0 is used, without start times", "status", answer.status)
	}
	body, err := downgrade(b.Body)
	if err != nil {
		// The checksum was right, so this is no batch of ours.
		return verdict{broken: true, text: err.Error()}
	}
	return s.ask(ctx, headers1, body)
}

// speaksOld reports whether the receiver does not know version 2.0: it says so, or takes the message for one of 1.0, which looks empty then.
func speaksOld(a verdict, b *queued) bool {
	return a.status == http.StatusUnsupportedMediaType || (a.status/100 == 2 && !a.written.known && b.Count() > 0)
}

// failReason implements signal.failReason. The specification of remote write asks for that of
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
