package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/spool"
)

// The bounds of one request, far below those of the receiver.
const (
	maxBatchEvents = 500
	maxBatchText   = 1 << 20
	logsPath       = "/v1/logs"
)

// EventSender ships events as log records of OTLP over HTTP. An event that has no ID gets one, so that a batch whose answer was lost can be sent again
// without its events being counted twice.
type EventSender struct {
	*shipper
	run  string // of this process
	last atomic.Uint64
}

// NewEventSender opens the spool. Errors: those of spool.Open, or what is wrong with the options.
func NewEventSender(o SenderOptions) (*EventSender, error) {
	s := &EventSender{run: rand.Text()}
	var err error
	s.shipper, err = newShipper(o, signal{
		name: "events", what: "events", path: logsPath, sent: []string{"event"}, failReason: otlpFailReason, post: s.export,
	})
	return s, err
}

// Append hands events over to be sent, and does not wait for that. It fails only where one cannot be encoded.
func (s *EventSender) Append(_ context.Context, events []model.Event) error {
	for len(events) > 0 {
		n, text := 0, 0
		for n < len(events) && n < maxBatchEvents && (n == 0 || text < maxBatchText) {
			text += sizeOf(&events[n])
			n++
		}
		b, err := s.pack(events[:n])
		if err != nil {
			return err
		}
		s.queue.put(b)
		events = events[n:]
	}
	return nil
}

// sizeOf is about what an event takes in a request, in bytes.
func sizeOf(e *model.Event) int {
	n := 1000 + len(e.Message)
	for _, text := range texts(e) {
		n += len(*text)
	}
	for name, value := range e.Fields {
		n += len(name) + len(value)
	}
	return n
}

func (s *EventSender) pack(events []model.Event) (*spool.Batch, error) {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "vetch")
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName("github.com/vetch-dev/vetch")
	records := scope.LogRecords()
	records.EnsureCapacity(len(events))
	for _, e := range events {
		if e.ID == "" {
			e.ID = s.run + "/" + strconv.FormatUint(s.last.Add(1), 10)
		}
		toRecord(&e, records.AppendEmpty())
	}
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	if err != nil {
		return nil, fmt.Errorf("encode events: %w", err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compress events: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress events: %w", err)
	}
	return &spool.Batch{Body: packed.Bytes(), Time: time.Now().UnixMilli(), Samples: uint32(len(events))}, nil
}

// export posts a batch and reads which of its events were refused.
func (s *EventSender) export(ctx context.Context, b *queued) verdict {
	answer := s.ask(ctx, map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}, b.Body)
	// An answer that is none of OTLP is that of a receiver that knows no partial success, or of something before it.
	if answer.status != http.StatusOK {
		var why spb.Status
		if answer.status != 0 && proto.Unmarshal(answer.body, &why) == nil && why.GetMessage() != "" {
			answer.text = clean(why.GetMessage())
		}
		return answer
	}
	partial := plogotlp.NewExportResponse()
	if err := partial.UnmarshalProto(answer.body); err == nil {
		answer.lost = int(min(max(partial.PartialSuccess().RejectedLogRecords(), 0), int64(b.Count())))
		answer.text = clean(partial.PartialSuccess().ErrorMessage())
	}
	return answer
}

// otlpFailReason implements signal.failReason: only 429, 502, 503 and 504 may be sent again, as OTLP 1.x says in its part on HTTP.
func otlpFailReason(status int) string {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ""
	}
	if status/100 == 5 {
		return "other"
	}
	return failReason(status)
}
