package transport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/vetch-dev/vetch/model"
)

const (
	maxOTLPBody    = 4 << 20
	maxOTLPDecoded = 8 << 20
	maxOTLPRunning = 4
	maxWindow      = 8 << 20 // of zstd
)

// EventStore is where events go: all of a call or none. An event with an ID that is stored already must not be stored twice.
type EventStore interface {
	Append(ctx context.Context, events []model.Event) error
}

// OTLPOptions of an OTLPLogs. Store is needed.
type OTLPOptions struct {
	Store      EventStore
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// OTLPLogs is the receiver of log records by OTLP over HTTP, an http.Handler for POST. It takes events (docs/formats/events.md) and no other records.
//
// Answers: 200, with a partial success for the records that can never be stored; 400 for a body that makes no sense; 413 over a limit (4 MiB, 8 MiB without
// compression, 200,000 fields); 415 for another format than protocol buffers; 503 where the store cannot take events now: nothing was kept, and the
// request may be sent again.
type OTLPLogs struct {
	opts    OTLPOptions
	log     *slog.Logger
	running chan struct{}

	requests, refused, rejected *prometheus.CounterVec
	stored                      prometheus.Counter
}

// NewOTLPLogs makes a receiver. It has nothing to close.
func NewOTLPLogs(o OTLPOptions) (*OTLPLogs, error) {
	if o.Store == nil {
		return nil, errors.New("receive events: no store given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	l := &OTLPLogs{
		opts: o, log: o.Log, running: make(chan struct{}, maxOTLPRunning),
		requests: counter("vetch_otlp_requests_total", "OTLP requests with log records, by status.", "code"),
		refused:  counter("vetch_otlp_refused_total", "OTLP requests with log records that were not accepted as a whole, by reason.", "reason"),
		rejected: counter("vetch_otlp_rejected_total", "Log records of OTLP that can never be stored, by reason; log: they are no events.", "reason"),
		stored:   prometheus.NewCounter(prometheus.CounterOpts{Name: "vetch_otlp_events_total", Help: "Events of OTLP that were handed to the store."}),
	}
	for _, reason := range []string{"body", "compression", "content_type", "encoding", "protobuf", "store", "too_large"} {
		l.refused.WithLabelValues(reason)
	}
	for _, reason := range []string{reasonLog, reasonName, reasonTime, reasonAttributes} {
		l.rejected.WithLabelValues(reason)
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{l.requests, l.refused, l.rejected, l.stored} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register the metrics of OTLP: %w", err)
			}
		}
	}
	return l, nil
}

// ServeHTTP implements http.Handler.
func (l *OTLPLogs) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	select {
	case l.running <- struct{}{}:
		defer func() { <-l.running }()
	case <-r.Context().Done():
		return // who asked is gone
	}
	answer, err := l.receive(rw, r)
	if err != nil {
		l.fail(rw, err)
		return
	}
	body, err := answer.MarshalProto()
	if err != nil {
		l.fail(rw, fmt.Errorf("encode the answer: %w", err))
		return
	}
	l.requests.WithLabelValues("200").Inc()
	rw.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = rw.Write(body) // a sender that is gone sends it again
}

// receive decodes one request and stores its events.
func (l *OTLPLogs) receive(rw http.ResponseWriter, r *http.Request) (plogotlp.ExportResponse, error) {
	answer := plogotlp.NewExportResponse()
	body, err := readOTLP(rw, r)
	if err != nil {
		return answer, err
	}
	events, wrong, err := decodeEvents(body)
	if err != nil {
		return answer, err
	}
	for len(events) > 0 {
		n := fitting(events)
		if err := l.opts.Store.Append(r.Context(), events[:n]); err != nil {
			return answer, &refusal{status: http.StatusServiceUnavailable, reason: "store", err: err}
		}
		l.stored.Add(float64(n))
		events = events[n:]
	}
	if len(wrong) == 0 {
		return answer, nil
	}
	var messages []string
	for _, w := range wrong {
		l.rejected.WithLabelValues(w.reason).Inc()
		if text := w.Error(); len(messages) < maxMessages && (len(messages) == 0 || messages[len(messages)-1] != text) {
			messages = append(messages, text)
		}
	}
	answer.PartialSuccess().SetRejectedLogRecords(int64(len(wrong)))
	answer.PartialSuccess().SetErrorMessage(strings.Join(messages, "; "))
	l.log.Debug("log records refused", "records", len(wrong), "err", messages)
	return answer, nil
}

// fitting is how many events a store takes at once for sure. As each has an ID, it does not matter if only some of a request were stored.
func fitting(events []model.Event) int {
	const maxText, maxEvents = 2 << 20, 5000
	n, text := 0, 0
	for n < len(events) && n < maxEvents && (n == 0 || text < maxText) {
		text += 2 * sizeOf(&events[n])
		n++
	}
	return n
}

// decodeEvents reads the events of a request, and what is wrong with the records that are none. An event without an ID gets one, which is the same if the
// request comes again.
func decodeEvents(body []byte) (events []model.Event, wrong []*notStored, err error) {
	if err := checkShape(body, logsShape()); err != nil {
		return nil, nil, err
	}
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalProto(body); err != nil {
		return nil, nil, refuse(http.StatusBadRequest, "protobuf", "decode log records: %w", err)
	}
	sum := sha256.Sum256(body)
	for _, resource := range request.Logs().ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				event, bad := eventOrNot(record)
				if bad != nil {
					wrong = append(wrong, bad)
					continue
				}
				if event.ID == "" {
					event.ID = hex.EncodeToString(sum[:16]) + "/" + strconv.Itoa(len(events))
				}
				events = append(events, event)
			}
		}
	}
	return events, wrong, nil
}

func eventOrNot(r plog.LogRecord) (model.Event, *notStored) {
	event, err := toEvent(r)
	var bad *notStored
	if errors.As(err, &bad) {
		return event, bad
	}
	return event, nil
}

// readOTLP gives the body without compression.
func readOTLP(rw http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-protobuf" {
		return nil, refuse(http.StatusUnsupportedMediaType, "content_type", "content type %.80q is not supported; use application/x-protobuf", r.Header.Get("Content-Type"))
	}
	var from io.Reader = http.MaxBytesReader(rw, r.Body, maxOTLPBody)
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(from)
		if err != nil {
			return nil, brokenBody(err)
		}
		defer unpacked.Close()
		from = unpacked
	case "zstd":
		unpacked, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxOTLPDecoded+1))
		if err != nil {
			return nil, brokenBody(err)
		}
		defer unpacked.Close()
		from = unpacked
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "encoding", "content encoding %.40q is not supported; use gzip, zstd or none", encoding)
	}
	body, err := readAll(io.LimitReader(from, maxOTLPDecoded+1), nil, min(r.ContentLength, maxOTLPBody))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), len(body) > maxOTLPDecoded:
		return nil, refuse(http.StatusRequestEntityTooLarge, "too_large", "the body has more than %d bytes without compression; send fewer records in one request", maxOTLPDecoded)
	case err != nil:
		return nil, brokenBody(err)
	}
	return body, nil
}

// brokenBody tells a body that is too large from one that cannot be read.
func brokenBody(err error) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "the body is over the limit of %d bytes; send fewer records in one request", over.Limit)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "body", "the body breaks off: %w", err)
	}
	return refuse(http.StatusBadRequest, "compression", "read body: %w", err)
}

// fail answers with a google.rpc.Status, as OTLP asks for.
func (l *OTLPLogs) fail(rw http.ResponseWriter, err error) {
	code, kind := http.StatusInternalServerError, codes.Internal
	var no *refusal
	if errors.As(err, &no) {
		code = no.status
		l.refused.WithLabelValues(no.reason).Inc()
		kind = codes.InvalidArgument
	}
	if code == http.StatusServiceUnavailable {
		kind = codes.Unavailable
		rw.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		l.log.Warn("events cannot be stored now", "err", err)
	} else {
		l.log.Debug("OTLP refused", "status", code, "err", err)
	}
	l.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	// Nothing is left to do where even that cannot be encoded.
	body, _ := proto.Marshal(status.New(kind, strings.ToValidUTF8(err.Error(), "\uFFFD")).Proto())
	rw.Header().Set("Content-Type", "application/x-protobuf")
	rw.WriteHeader(code)
	_, _ = rw.Write(body)
}
