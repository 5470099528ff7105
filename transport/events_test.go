package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
	"github.com/vetch-dev/vetch/store/events"
)

// startEventSender is startSender for events.
func startEventSender(t testing.TB, o SenderOptions) (*EventSender, *sending) {
	t.Helper()
	s := &sending{reg: prometheus.NewRegistry(), log: new(lockedLog)}
	o.Registerer, o.Log = s.reg, slog.New(slog.NewTextHandler(s.log, nil))
	if o.SpoolLimit == 0 {
		o.SpoolLimit = 10 << 20
	}
	sender, err := NewEventSender(o)
	require.NoError(t, err)
	s.stop = running(t, sender.Run)
	return sender, s
}

// eventServer is a real store of events behind a receiver, which can be restarted.
type eventServer struct {
	dir  string
	mu   sync.Mutex
	db   *events.Embedded
	logs *OTLPLogs
	url  string
	lose atomic.Int32 // answers that get lost
}

func newEventServer(t *testing.T) *eventServer {
	t.Helper()
	s := &eventServer{dir: t.TempDir()}
	s.url = front(t, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.logs == nil:
			panic(http.ErrAbortHandler)
		case s.lose.Add(-1) >= 0:
			s.logs.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		require.Equal(t, "/v1/logs", r.URL.Path)
		s.logs.ServeHTTP(w, r)
	})
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *eventServer) start(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	s.db, err = events.Open(columnar.Options{Dir: s.dir, RetentionAge: 30 * 24 * time.Hour})
	require.NoError(t, err)
	s.logs, err = NewOTLPLogs(OTLPOptions{Store: s.db})
	require.NoError(t, err)
}

func (s *eventServer) stop(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		require.NoError(t, s.db.Close())
		s.db, s.logs = nil, nil
	}
}

// found waits until the store has that many events, and returns them.
func (s *eventServer) found(t *testing.T, n uint64) []model.Event {
	t.Helper()
	var list []model.Event
	require.Eventually(t, func() bool {
		page, err := s.db.Find(context.Background(), store.EventQuery{Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour), Limit: 1000})
		require.NoError(t, err)
		list = page.Events
		sum := uint64(0)
		for _, e := range list {
			sum += e.Count
		}
		require.LessOrEqual(t, sum, n, "%+v", list)
		return sum == n
	}, time.Minute, 10*time.Millisecond)
	return list
}

func crash(name string, at time.Time) model.Event {
	return model.Event{
		First: at.Add(-time.Second), Last: at, Count: 2, Type: model.EventWarning, Reason: "Crashed", Message: name + " was ended by SIGSEGV", Source: model.SourceKernel,
		Object:   model.Object{Namespace: "shop", Kind: "Pod", Name: name + "-0", UID: "uid-" + name},
		Workload: model.Workload{Cluster: "east", Namespace: "shop", Kind: "StatefulSet", Name: name}, Node: "node-a", Fields: map[string]string{"signal": "SIGSEGV", "pid": "7"},
	}
}

func TestEventsComeBackWhole(t *testing.T) {
	server := newEventServer(t)
	sender, s := startEventSender(t, SenderOptions{URL: server.url, SpoolDir: t.TempDir()})
	at := time.Now().Truncate(time.Microsecond)
	bare := model.Event{Last: at.Add(-time.Minute), Type: model.EventNormal, Reason: "Exited", Source: model.SourceKernel, Count: 1}
	require.NoError(t, sender.Append(t.Context(), []model.Event{crash("cart", at), bare}))
	s.wait(t, "vetch_ship_sent_total", "event", 2)
	list := server.found(t, 3)
	require.Len(t, list, 2)
	want := crash("cart", at)
	require.True(t, list[0].First.Equal(want.First))
	require.True(t, list[0].Last.Equal(want.Last))
	list[0].First, list[0].Last = want.First, want.Last
	require.Equal(t, want, list[0])
	require.Equal(t, "Exited", list[1].Reason)
	require.Equal(t, model.EventNormal, list[1].Type)
	require.Empty(t, list[1].Fields)
	require.EqualValues(t, 2, testutil.ToFloat64(server.logs.stored))
}

// TestEventsCountOnce loses answers, restarts both ends, and has the server away: each event counts once.
func TestEventsCountOnce(t *testing.T) {
	server := newEventServer(t)
	dir := t.TempDir()
	sender, s := startEventSender(t, SenderOptions{URL: server.url, SpoolDir: dir})
	at := time.Now()
	sent := uint64(0)
	give := func(n int) {
		var list []model.Event
		for i := range n {
			sent += 2
			list = append(list, crash(fmt.Sprint("cart", string(rune('a'+i%26))), at.Add(time.Duration(sent)*time.Millisecond)))
		}
		require.NoError(t, sender.Append(t.Context(), list))
	}
	server.lose.Store(2)
	give(3)
	s.wait(t, "vetch_ship_sent_total", "event", 3)
	server.found(t, sent)

	server.lose.Store(1)
	give(700) // two batches, of which the first is stored and not known to be
	require.Eventually(t, func() bool { return server.lose.Load() < 0 }, time.Minute, time.Millisecond)
	server.stop(t)
	give(10)
	s.stop()
	require.Zero(t, s.metric(t, "vetch_ship_dropped_total", ""))
	server.start(t) // it knows what it stored only from its disk
	sender, s = startEventSender(t, SenderOptions{URL: server.url, SpoolDir: dir})
	give(1)
	s.wait(t, "vetch_ship_spool_bytes", "", 0)
	server.found(t, sent)
	require.Zero(t, s.metric(t, "vetch_ship_failed_total", "")+s.metric(t, "vetch_ship_dropped_total", ""))
}

// TestRetriesOfEvents holds which answers bring a batch again.
func TestRetriesOfEvents(t *testing.T) {
	for status, reason := range map[int]string{
		429: "", 502: "", 503: "", 504: "", 0: "", 500: "other", 400: "rejected", 401: "unauthorized", 404: "not_found", 413: "too_large", 302: "redirect",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			sender, s := startEventSender(t, SenderOptions{URL: front(t, func(w http.ResponseWriter, _ *http.Request) {
				switch {
				case asked.Add(1) > 1:
				case status == 0:
					panic(http.ErrAbortHandler)
				default:
					w.WriteHeader(status)
				}
			})})
			require.NoError(t, sender.Append(t.Context(), []model.Event{crash("a", time.Now()), crash("b", time.Now())}))
			if reason == "" {
				s.wait(t, "vetch_ship_sent_total", "event", 2)
				require.EqualValues(t, 2, asked.Load())
				return
			}
			s.wait(t, "vetch_ship_failed_total", reason, 2)
			require.EqualValues(t, 1, asked.Load())
		})
	}
}

// otlp is a receiver without a disk.
type otlp struct {
	*OTLPLogs
	got  []model.Event
	fail error
}

func (o *otlp) Append(_ context.Context, list []model.Event) error {
	if o.fail == nil {
		o.got = append(o.got, list...)
	}
	return o.fail
}

func newOTLP(t testing.TB) *otlp {
	o := &otlp{}
	var err error
	o.OTLPLogs, err = NewOTLPLogs(OTLPOptions{Store: o, Registerer: prometheus.NewRegistry()})
	require.NoError(t, err)
	return o
}

// post sends a body and returns the status and what the answer says.
func (o *otlp) post(t testing.TB, body []byte, headers ...string) (code int, lost int64, text string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/x-protobuf")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	require.Equal(t, "application/x-protobuf", w.Header().Get("Content-Type"))
	if w.Code != http.StatusOK {
		var why spb.Status
		require.NoError(t, proto.Unmarshal(w.Body.Bytes(), &why))
		return w.Code, 0, why.GetMessage()
	}
	answer := plogotlp.NewExportResponse()
	require.NoError(t, answer.UnmarshalProto(w.Body.Bytes()))
	return w.Code, answer.PartialSuccess().RejectedLogRecords(), answer.PartialSuccess().ErrorMessage()
}

// records encodes log records, each made by a function.
func records(t testing.TB, fill ...func(plog.LogRecord)) []byte {
	t.Helper()
	logs := plog.NewLogs()
	list := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, f := range fill {
		f(list.AppendEmpty())
	}
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	require.NoError(t, err)
	return body
}

func good(r plog.LogRecord) {
	e := crash("cart", time.Now())
	toRecord(&e, r)
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	with := func(change func(plog.LogRecord)) func(plog.LogRecord) {
		return func(r plog.LogRecord) {
			good(r)
			change(r)
		}
	}
	for name, tt := range map[string]struct {
		change       func(plog.LogRecord)
		reason, text string
	}{
		"a line of a log": {func(r plog.LogRecord) { r.SetEventName("") }, "log", "logs are not stored yet"},
		"another's event": {func(r plog.LogRecord) { r.SetEventName("browser.click") }, "event_name", `"browser.click" is not known`},
		"no time":         {func(r plog.LogRecord) { r.SetTimestamp(0) }, "time", "without a time"},
		"no reason":       {func(r plog.LogRecord) { r.Attributes().Remove(attrReason) }, "attributes", "needs vetch.event.reason"},
		"count as text":   {func(r plog.LogRecord) { r.Attributes().PutStr(attrCount, "7") }, "attributes", "of type Str, not Int"},
		"count of none":   {func(r plog.LogRecord) { r.Attributes().PutInt(attrCount, -1) }, "attributes", "less than 1"},
		"map as a name":   {func(r plog.LogRecord) { r.Attributes().PutEmptyMap(attrNode) }, "attributes", "of type Map, not Str"},
		"map as a field":  {func(r plog.LogRecord) { r.Attributes().PutEmptyMap(attrField + "x") }, "attributes", "of type Map, not Str"},
	} {
		o := newOTLP(t)
		code, lost, text := o.post(t, records(t, good, with(tt.change), good, with(tt.change)))
		require.Equal(t, 200, code, name)
		require.EqualValues(t, 2, lost, name)
		require.Contains(t, text, tt.text, name)
		require.Len(t, o.got, 2, name)
		require.NotEqual(t, o.got[0].ID, o.got[1].ID)
		require.EqualValues(t, 2, testutil.ToFloat64(o.rejected.WithLabelValues(tt.reason)), name)
	}
	o := newOTLP(t)
	code, lost, _ := o.post(t, records(t, with(func(r plog.LogRecord) { r.Attributes().PutStr("other", "x"); r.Attributes().PutEmptyMap("more") })))
	require.Equal(t, 200, code)
	require.Zero(t, lost, "attributes of others are left alone")
	require.Len(t, o.got, 1)
	code, _, _ = o.post(t, nil)
	require.Equal(t, 200, code, "nothing is nothing wrong")
}

// TestPartialSuccessIsCounted has a server that takes some events of a batch.
func TestPartialSuccessIsCounted(t *testing.T) {
	o := newOTLP(t)
	sender, s := startEventSender(t, SenderOptions{URL: front(t, o.ServeHTTP)})
	nameless := crash("b", time.Now())
	nameless.Reason = ""
	require.NoError(t, sender.Append(t.Context(), []model.Event{crash("a", time.Now()), nameless, crash("c", time.Now())}))
	s.wait(t, "vetch_ship_failed_total", "rejected", 1)
	require.Equal(t, 2.0, s.metric(t, "vetch_ship_sent_total", "event"))
	require.Contains(t, s.log.text(), "needs vetch.event.reason")
}

func packed(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		var err error
		w, err = zstd.NewWriter(&b)
		require.NoError(t, err)
	}
	_, err := w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestHostileOTLP(t *testing.T) {
	one := records(t, good)
	deep := protowire.AppendTag(nil, 1, protowire.VarintType)
	for range 2000 { // an array that holds an array
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), deep))
	}
	wrap := func(numbers ...protowire.Number) []byte {
		b := deep
		for _, n := range numbers {
			b = protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
		}
		return b
	}
	many := bytes.Repeat([]byte{0x12, 0}, 300_000)                                        // empty log records
	many = protowire.AppendBytes([]byte{0x0a}, protowire.AppendBytes([]byte{0x12}, many)) // in a scope, in a resource
	bombs := map[string][]byte{"gzip": packed(t, "gzip", make([]byte, 64<<20)), "zstd": packed(t, "zstd", make([]byte, 64<<20))}
	for name, tt := range map[string]struct {
		body    []byte
		headers []string
		code    int
		reason  string
	}{
		"no protocol buffers": {[]byte("hello"), nil, 400, "protobuf"},
		"cut":                 {one[:len(one)-3], nil, 400, "protobuf"},
		"deep":                {wrap(5, 2, 2, 1), nil, 400, "protobuf"},
		"many records":        {many, nil, 413, "too_large"},
		"large":               {make([]byte, maxOTLPBody+1), nil, 413, "too_large"},
		"gzip bomb":           {bombs["gzip"], []string{"Content-Encoding", "gzip"}, 413, "too_large"},
		"zstd bomb":           {bombs["zstd"], []string{"Content-Encoding", "zstd"}, 413, "too_large"},
		"no gzip":             {one, []string{"Content-Encoding", "gzip"}, 400, "compression"},
		"no zstd":             {one, []string{"Content-Encoding", "zstd"}, 400, "compression"},
		"cut gzip":            {packed(t, "gzip", one)[:40], []string{"Content-Encoding", "gzip"}, 400, "body"},
		"no gzip at all":      {nil, []string{"Content-Encoding", "gzip"}, 400, "body"},
		"snappy":              {one, []string{"Content-Encoding", "snappy"}, 415, "encoding"},
		"JSON":                {[]byte("{}"), []string{"Content-Type", "application/json"}, 415, "content_type"},
	} {
		o := newOTLP(t)
		code, _, text := o.post(t, tt.body, tt.headers...)
		require.Equal(t, tt.code, code, "%s: %s", name, text)
		require.EqualValues(t, 1, testutil.ToFloat64(o.refused.WithLabelValues(tt.reason)), "%s: %s", name, text)
		require.Empty(t, o.got, name)
	}
	for _, encoding := range []string{"gzip", "zstd"} {
		o := newOTLP(t)
		code, _, text := o.post(t, packed(t, encoding, one), "Content-Encoding", encoding)
		require.Equal(t, 200, code, text)
		require.Len(t, o.got, 1)
	}
	o := newOTLP(t)
	o.fail = io.ErrClosedPipe
	code, _, text := o.post(t, one)
	require.Equal(t, 503, code)
	require.Contains(t, text, io.ErrClosedPipe.Error())
}

// TestLargeRequestsAreStoredInParts holds that no request that is let in is too large for the store.
func TestLargeRequestsAreStoredInParts(t *testing.T) {
	server := newEventServer(t)
	var fill []func(plog.LogRecord)
	at := time.Now()
	for i := range 1500 {
		fill = append(fill, func(r plog.LogRecord) {
			e := crash("cart", at.Add(-time.Duration(i)*time.Millisecond))
			e.Count, e.Message = 1, strings.Repeat("x", 5000)
			toRecord(&e, r)
		})
	}
	body := packed(t, "gzip", records(t, fill...))
	for range 2 { // the same request is the same events
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.url+"/v1/logs", bytes.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-protobuf")
		request.Header.Set("Content-Encoding", "gzip")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, 200, response.StatusCode)
		server.found(t, 1500)
	}
}

// FuzzOTLPLogs holds that no body does harm, and that what is taken is an event.
func FuzzOTLPLogs(f *testing.F) {
	f.Add(records(f, good, func(r plog.LogRecord) { r.Body().SetEmptyMap().PutEmptySlice("a").AppendEmpty().SetInt(1) }))
	f.Add(records(f, func(r plog.LogRecord) {
		good(r)
		r.Attributes().PutEmptyBytes(attrNode)
		r.SetTraceID(pcommon.TraceID{1})
	}))
	f.Add([]byte{0x0a, 0x04, 0x12, 0x02, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, body []byte) {
		list, wrong, err := decodeEvents(body)
		if err != nil {
			return
		}
		if len(list)+len(wrong) > len(body) {
			t.Fatalf("%d records of %d bytes", len(list)+len(wrong), len(body))
		}
		for i := range list {
			if e := &list[i]; e.Reason == "" || e.ID == "" || e.Count == 0 || e.Last.IsZero() {
				t.Fatalf("no event: %+v", e)
			}
		}
	})
}
