package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/store/metrics"
)

const (
	type1 = "application/x-protobuf;proto=prometheus.WriteRequest"
	type2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

func good1(t testing.TB) []byte {
	m := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:     []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "x"}},
		Samples:    []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: 1}},
		Exemplars:  []prompb.Exemplar{{Labels: []prompb.Label{{Name: "t", Value: "1"}}}},
		Histograms: []prompb.Histogram{prompb.FromIntHistogram(1, testHistogram(4))},
	}}, Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up", Help: "Up."}}}
	b, err := m.Marshal()
	require.NoError(t, err)
	return b
}

func good2(t testing.TB) []byte {
	return message2(t, func(m *writev2.Request, s *writev2.SymbolsTable) {
		m.Timeseries = []writev2.TimeSeries{{
			LabelsRefs: s.SymbolizeLabels(labels.FromStrings("__name__", "up", "job", "x"), nil),
			Samples:    []writev2.Sample{{Timestamp: time.Now().UnixMilli(), Value: 1, StartTimestamp: 5}},
			Exemplars:  []writev2.Exemplar{{LabelsRefs: s.SymbolizeLabels(labels.FromStrings("t", "1"), nil)}},
			Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, 1, testHistogram(4))},
			Metadata:   writev2.Metadata{Type: 1, HelpRef: s.Symbolize("Up.")},
		}}
	})
}

func TestHostileRequests(t *testing.T) {
	bomb := binary.AppendUvarint(nil, 100<<20)
	bomb = append(bomb, make([]byte, 100)...)
	tests := map[string]struct {
		method, contentType, encoding string
		body                          []byte
		status                        int
		reason, says                  string
	}{
		"GET":                  {method: "GET", status: 405, reason: "method"},
		"JSON":                 {contentType: "application/json", status: 415, reason: "content_type", says: "use application/x-protobuf"},
		"no media type":        {contentType: ";;;", status: 415, reason: "content_type"},
		"unknown message":      {contentType: "application/x-protobuf;proto=a.b.C", status: 415, reason: "content_type", says: "io.prometheus.write.v2.Request"},
		"gzip":                 {encoding: "gzip", status: 415, reason: "encoding", says: "use snappy"},
		"not snappy":           {body: []byte("hello, world"), status: 400, reason: "snappy"},
		"empty":                {body: nil, status: 400, reason: "snappy"},
		"bomb":                 {body: bomb, status: 400, reason: "snappy", says: "cannot hold"},
		"says 4 GiB":           {body: binary.AppendUvarint(nil, math.MaxUint32), status: 400, reason: "snappy"},
		"large when packed":    {body: make([]byte, 1<<20+9), status: 413, reason: "too_large", says: "limit of 1048576 bytes"},
		"large when unpacked":  {body: snappy.Encode(nil, make([]byte, 5<<20)), status: 413, reason: "too_large", says: "without compression"},
		"noise":                {body: snappy.Encode(nil, bytes.Repeat([]byte{0xfe, 0x07}, 100)), status: 400, reason: "protobuf"},
		"field zero":           {body: snappy.Encode(nil, []byte{0, 0, 0}), status: 400, reason: "protobuf"},
		"series as number":     {body: snappy.Encode(nil, []byte{0x08, 1}), status: 400, reason: "protobuf"},
		"longer than the body": {body: snappy.Encode(nil, []byte{0x0a, 0xff, 0xff, 0x03}), status: 400, reason: "protobuf", says: "longer than its message"},
		"symbol as number":     {contentType: type2, body: snappy.Encode(nil, []byte{0x20, 1}), status: 400, reason: "protobuf"},
		"first symbol":         {contentType: type2, body: snappy.Encode(nil, []byte{0x22, 1, 'a'}), status: 400, reason: "symbols"},
		"half a message 1":     {contentType: type1, body: snappy.Encode(nil, good1(t)[:30]), status: 400, reason: "protobuf"},
		"half a message 2":     {contentType: type2, body: snappy.Encode(nil, good2(t)[:50]), status: 400, reason: "protobuf"},
		"nothing in it":        {contentType: type1, body: snappy.Encode(nil, nil), status: 204},
		"old sender":           {contentType: "", body: snappy.Encode(nil, nil), status: 204},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, Options{MaxBody: 1 << 20, MaxDecoded: 4 << 20})
			method := tt.method
			if method == "" {
				method = http.MethodPost
			}
			req, err := http.NewRequest(method, r.url, bytes.NewReader(tt.body))
			require.NoError(t, err)
			if tt.contentType != "" {
				req.Header.Set("Content-Type", tt.contentType)
			}
			if tt.encoding != "" {
				req.Header.Set("Content-Encoding", tt.encoding)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.status, resp.StatusCode, "%s", text)
			require.Contains(t, string(text), tt.says)
			if tt.reason != "" {
				require.Equal(t, 1.0, testutil.ToFloat64(r.write.metrics.refused.WithLabelValues(tt.reason)))
				require.NotEmpty(t, strings.TrimSpace(string(text)))
			}
			require.Empty(t, r.read(t, "up"), "nothing of a broken request is kept")
		})
	}
}

// failing is a store that cannot commit.
type failing struct {
	*metrics.DB
	err, appendErr error
}

func (f *failing) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &failingAppender{f.DB.AppenderV2(ctx), f}
}

func (f *failing) SetMetadata(string, metadata.Metadata) {}

type failingAppender struct {
	storage.AppenderV2
	f *failing
}

func (a *failingAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	if a.f.appendErr != nil {
		return 0, a.f.appendErr
	}
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
}

func (a *failingAppender) Commit() error {
	if a.f.err != nil {
		return errors.Join(a.f.err, a.Rollback())
	}
	return a.AppenderV2.Commit()
}

func TestStoreThatCannotWrite(t *testing.T) {
	r := newReceiver(t, Options{})
	f := &failing{DB: r.db, err: metrics.ErrDiskFull}
	w, err := NewRemoteWrite(Options{Store: f})
	require.NoError(t, err)
	post := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("POST", "/", bytes.NewReader(snappy.Encode(nil, message2(t, func(m *writev2.Request, s *writev2.SymbolsTable) {
			m.Timeseries = []writev2.TimeSeries{{
				LabelsRefs: s.SymbolizeLabels(labels.FromStrings("__name__", "up"), nil),
				Samples:    []writev2.Sample{{Timestamp: time.Now().UnixMilli(), StartTimestamp: time.Now().UnixMilli() - 100, Value: 1}},
			}}
		}))))
		req.Header.Set("Content-Type", type2)
		w.ServeHTTP(rec, req)
		return rec
	}
	rec := post()
	require.Equal(t, 503, rec.Code)
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
	require.Equal(t, "0", rec.Header().Get("X-Prometheus-Remote-Write-Samples-Written"))
	require.Contains(t, rec.Body.String(), "disk is full")
	require.Zero(t, w.refs.len())
	f.err, f.appendErr = nil, errors.New("read series: input/output error")
	rec = post()
	require.Equal(t, 503, rec.Code, "not the sender's fault")
	require.Contains(t, rec.Body.String(), "input/output error")
	f.appendErr = nil
	rec = post()
	require.Equal(t, 204, rec.Code)
	require.Equal(t, "1", rec.Header().Get("X-Prometheus-Remote-Write-Samples-Written"))
	require.Len(t, r.read(t, "up")[`{__name__="up"}`], 2, "the sample, and the zero sample that was lost with the first attempt")
}

// A series whose labels are not in one run, or whose reference the store has dropped, is found by its labels.
func TestReferencesThatDoNotHold(t *testing.T) {
	r := newReceiver(t, Options{MaxSeries: 1})
	now := time.Now().UnixMilli()
	label := func(name, value string) []byte {
		l := prompb.Label{Name: name, Value: value}
		b, err := l.Marshal()
		require.NoError(t, err)
		return append([]byte{0x0a, byte(len(b))}, b...)
	}
	s := prompb.Sample{Timestamp: now, Value: 3}
	sampleBytes, err := s.Marshal()
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		var series []byte
		series = append(series, label("__name__", name)...)
		series = append(append(series, 0x12, byte(len(sampleBytes))), sampleBytes...)
		series = append(series, label("job", name)...)
		_, err = r.send(t, "prometheus.WriteRequest", append([]byte{0x0a, byte(len(series))}, series...))
		require.NoError(t, err)
		require.Equal(t, []string{r.sample(now, 3)}, r.read(t, name)[`{__name__="`+name+`", job="`+name+`"}`])
	}
	b := good2(t)
	_, _ = r.send(t, "io.prometheus.write.v2.Request", b)
	for i := range r.write.refs.shards {
		for h, k := range r.write.refs.shards[i].series {
			k.ref += 1000 // as if it had been dropped
			r.write.refs.shards[i].series[h] = k
		}
	}
	_, err = r.send(t, "io.prometheus.write.v2.Request", message2(t, func(m *writev2.Request, s *writev2.SymbolsTable) {
		m.Timeseries = []writev2.TimeSeries{{
			LabelsRefs: s.SymbolizeLabels(labels.FromStrings("__name__", "up", "job", "x"), nil), Samples: []writev2.Sample{{Timestamp: now + 60_000, Value: 9}},
		}}
	}))
	require.NoError(t, err)
	all := r.read(t, "up")[`{__name__="up", job="x"}`]
	require.Equal(t, r.sample(now+60_000, 9), all[len(all)-1])
}

// FuzzDecode holds that no body does harm, and that what Prometheus's own decoder reads as float samples is what is counted.
func FuzzDecode(f *testing.F) {
	f.Add(good1(f), false)
	f.Add(good2(f), true)
	f.Add([]byte{0x0a, 0xff, 0xff, 0x03}, false)
	f.Add([]byte{0x22, 0, 0x2a, 4, 0x0a, 2, 0, 9}, true)
	db, err := metrics.Open(metrics.Options{Dir: f.TempDir()})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, db.Close()) })
	w, err := NewRemoteWrite(Options{Store: db})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, second bool) {
		b := new(buffers)
		batch := newBatch(context.Background(), w, b)
		var err error
		want := math.MaxInt // where Prometheus reads nothing there is nothing to compare with: we are more lenient about metadata
		if second {
			err = batch.decode2(body)
			var m writev2.Request
			if m.Unmarshal(body) == nil {
				want = 0
				for _, s := range m.Timeseries {
					want += len(s.Samples)
				}
			}
		} else {
			err = batch.decode1(body)
			var m prompb.WriteRequest
			if m.Unmarshal(body) == nil {
				want = 0
				for _, s := range m.Timeseries {
					want += len(s.Samples)
				}
			}
		}
		if err == nil && batch.outcome.samples > want {
			t.Fatalf("took %d samples where there are %d", batch.outcome.samples, want)
		}
		require.NoError(t, batch.app.Rollback())
	})
}
