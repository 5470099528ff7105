package transport

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/store/metrics"
)

const (
	benchSeries     = 100_000
	benchPerRequest = 5_000
)

func benchLabels(i int) labels.Labels {
	return labels.FromStrings(
		labels.MetricName, fmt.Sprintf("bench_metric_%d_total", i%50), "cluster", "production", "namespace", fmt.Sprintf("team-%d", i%20), "pod",
		fmt.Sprintf("service-%d-6f7d9c-%05d", i%200, i), "container", "main", "code", strconv.Itoa(200+i%5), "instance", fmt.Sprintf("10.0.%d.%d:9090", i/250%250, i%250),
	)
}

// round1 and round2 encode one sample of every series as requests, compressed.
func round1(b *testing.B, at int64) (out [][]byte) {
	for first := 0; first < benchSeries; first += benchPerRequest {
		var m prompb.WriteRequest
		for i := first; i < first+benchPerRequest; i++ {
			m.Timeseries = append(m.Timeseries, prompb.TimeSeries{
				Labels: prompb.FromLabels(benchLabels(i), nil), Samples: []prompb.Sample{{Timestamp: at, Value: float64(at + int64(i))}},
			})
		}
		raw, err := m.Marshal()
		require.NoError(b, err)
		out = append(out, snappy.Encode(nil, raw))
	}
	return out
}

func round2(b *testing.B, at int64) (out [][]byte) {
	for first := 0; first < benchSeries; first += benchPerRequest {
		out = append(out, snappy.Encode(nil, message2(b, func(m *writev2.Request, s *writev2.SymbolsTable) {
			for i := first; i < first+benchPerRequest; i++ {
				m.Timeseries = append(m.Timeseries, writev2.TimeSeries{
					LabelsRefs: s.SymbolizeLabels(benchLabels(i), nil), Samples: []writev2.Sample{{Timestamp: at, Value: float64(at + int64(i)), StartTimestamp: at - at%1_000_000}},
					Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: s.Symbolize("A counter of the benchmark.")},
				})
			}
		})))
	}
	return out
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIngest writes 100,000 series of 7 labels, 5,000 samples a request, one round after another, into a real store. It reports samples for each
// second and for each second of CPU time of the whole process; the decoder of Prometheus is measured beside ours.
//
//	go test ./transport -run '^$' -bench BenchmarkIngest -benchtime 40x
func BenchmarkIngest(b *testing.B) {
	kinds := map[string]struct {
		contentType string
		encode      func(*testing.B, int64) [][]byte
	}{"1.0": {type1, round1}, "2.0": {type2, round2}}
	for _, version := range []string{"1.0", "2.0"} {
		b.Run("vetch/"+version, func(b *testing.B) {
			db, err := metrics.Open(metrics.Options{Dir: b.TempDir()})
			require.NoError(b, err)
			defer db.Close()
			h, err := NewRemoteWrite(Options{Store: db})
			require.NoError(b, err)
			ingest(b, h, kinds[version].contentType, kinds[version].encode)
		})
		b.Run("prometheus/"+version, func(b *testing.B) {
			o := tsdb.DefaultOptions()
			o.WALCompression = "snappy"
			o.OutOfOrderTimeWindow = (2 * time.Hour).Milliseconds()
			db, err := tsdb.Open(b.TempDir(), nil, nil, o, nil)
			require.NoError(b, err)
			defer db.Close()
			types := remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}
			h := remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db, types, true, false, false)
			ingest(b, h, kinds[version].contentType, kinds[version].encode)
		})
	}
}

func ingest(b *testing.B, h http.Handler, contentType string, encode func(*testing.B, int64) [][]byte) {
	start := time.Now().Add(-time.Hour).UnixMilli()
	start -= start % 1_000_000
	send := func(body []byte) {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Content-Encoding", "snappy")
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusNoContent {
			b.Fatalf("status %d: %s", rec.Code, rec.Body)
		}
	}
	for _, body := range encode(b, start) { // the series are made here: that is another figure
		send(body)
	}
	var wall, cpu time.Duration
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		bodies := encode(b, start+int64(i+1)*1000)
		runtime.GC()
		cpu0, t0 := cpuTime(b), time.Now()
		b.StartTimer()
		for _, body := range bodies {
			send(body)
		}
		wall += time.Since(t0)
		cpu += cpuTime(b) - cpu0
	}
	b.StopTimer()
	n := float64(b.N * benchSeries)
	b.ReportMetric(n/wall.Seconds(), "samples/s")
	b.ReportMetric(n/cpu.Seconds(), "samples/cpu-s")
	b.ReportMetric(0, "ns/op")
}
