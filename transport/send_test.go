package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// sending is a Sender that runs until the test ends or stop is called.
type sending struct {
	*Sender
	reg  *prometheus.Registry
	log  *lockedLog
	stop func()
}

func startSender(t testing.TB, o SenderOptions) *sending {
	t.Helper()
	s := &sending{reg: prometheus.NewRegistry(), log: new(lockedLog)}
	o.Registerer, o.Log = s.reg, slog.New(slog.NewTextHandler(s.log, nil))
	if o.SpoolLimit == 0 {
		o.SpoolLimit = 10 << 20
	}
	var err error
	s.Sender, err = NewSender(o)
	require.NoError(t, err)
	s.stop = running(t, s.Run)
	return s
}

// lockedLog is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func appendOne(app storage.AppenderV2, ls labels.Labels, start, at int64, v float64) error {
	_, err := app.Append(0, ls, start, at, v, nil, nil, storage.AOptions{})
	return err
}

// give sends one round of n series at a time.
func (s *sending) give(t *testing.T, n int, at int64) {
	t.Helper()
	app := s.AppenderV2(context.Background())
	for i := range n {
		require.NoError(t, appendOne(app, labels.FromStrings("__name__", "given_total", "i", fmt.Sprint(i)), at-1000, at, float64(i)))
	}
	require.NoError(t, app.Commit())
}

// metric is the sum of a family.
func (s *sending) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (s *sending) wait(t *testing.T, name, label string, want float64) {
	t.Helper()
	require.Eventually(t, func() bool { return s.metric(t, name, label) == want }, time.Minute, 5*time.Millisecond, "%s{%s}", name, label)
}

// front is a server before a receiver, which a test can put anything into.
func front(t testing.TB, serve http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return server.URL
}

// TestRoundTrip sends all kinds of samples to our own receiver, and finds them as they were.
func TestRoundTrip(t *testing.T) {
	r := newReceiver(t, Options{})
	s := startSender(t, SenderOptions{URL: r.url, SpoolDir: t.TempDir()})
	s.SetMetadata("c_total", metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Things.", Unit: "bytes"})
	now := time.Now().UnixMilli()
	stale := math.Float64frombits(value.StaleNaN)
	app := s.AppenderV2(context.Background())
	counter, gauge, durations := labels.FromStrings("__name__", "c_total", "a", "ö", "b", ""), labels.FromStrings("__name__", "g"), labels.FromStrings("__name__", "d_seconds")
	for _, err := range []error{
		appendOne(app, counter, now-5000, now, 7), appendOne(app, gauge, 0, now, math.Inf(-1)), appendOne(app, gauge, 0, now+1, stale),
	} {
		require.NoError(t, err)
	}
	h := testHistogram(40)
	_, err := app.Append(0, durations, now-5000, now, 0, h, nil, storage.AOptions{})
	require.NoError(t, err)
	_, err = app.Append(0, labels.EmptyLabels(), 0, now, 0, nil, nil, storage.AOptions{})
	require.ErrorIs(t, err, errNoName)
	require.NoError(t, app.Commit())
	s.wait(t, "vetch_ship_sent_total", "", 4)
	require.Equal(t, 1.0, s.metric(t, "vetch_ship_sent_total", "histogram"))
	require.Equal(t, 1.0, s.metric(t, "vetch_ship_rounds_total", "metrics"))

	require.Len(t, r.read(t, "c_total")[`{__name__="c_total", a="ö"}`], 2, "the start is there as zero")
	got := r.read(t, "g")[`{__name__="g"}`]
	require.Len(t, got, 2)
	require.Len(t, r.read(t, "d_seconds")[`{__name__="d_seconds"}`], 2)
	require.Equal(t, metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Things.", Unit: "bytes"}, r.db.Metadata("c_total", 0)["c_total"])
	require.Zero(t, s.metric(t, "vetch_ship_lag_seconds", ""))
	require.Zero(t, s.metric(t, "vetch_ship_queue_bytes", ""))
}

// TestRoundsAreSplit sends more series than a batch holds.
func TestRoundsAreSplit(t *testing.T) {
	r := newReceiver(t, Options{})
	s := startSender(t, SenderOptions{URL: r.url})
	s.give(t, 2*batchSeries+1, time.Now().UnixMilli())
	s.wait(t, "vetch_ship_sent_total", "", 2*batchSeries+1)
	require.Equal(t, 3.0, s.metric(t, "vetch_ship_requests_total", "204"))
	require.Equal(t, 1.0, s.metric(t, "vetch_ship_rounds_total", ""))
	require.Len(t, r.read(t, "given_total"), 2*batchSeries+1)
}

// TestAwayServer answers with an error of each kind for a while: all is sent in the end, once and in order.
func TestAwayServer(t *testing.T) {
	for name, away := range map[string]http.HandlerFunc{
		"500":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"503":         func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) },
		"429":         func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(429) },
		"no answer":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"broken HTTP": func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 999999 hello\r\n\r\n") },
	} {
		for _, dir := range []string{"", t.TempDir()} {
			t.Run(fmt.Sprintf("%s, spool %t", name, dir != ""), func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, Options{})
				var back atomic.Bool
				s := startSender(t, SenderOptions{SpoolDir: dir, URL: front(t, func(w http.ResponseWriter, req *http.Request) {
					if !back.Load() {
						away(w, req)
						return
					}
					r.write.ServeHTTP(w, req)
				})})
				start := time.Now().UnixMilli()
				for i := range int64(20) {
					s.give(t, 10, start+i)
				}
				require.Eventually(t, func() bool { return s.metric(t, "vetch_ship_requests_total", "") >= 2 }, time.Minute, time.Millisecond)
				require.Positive(t, s.metric(t, "vetch_ship_queue_bytes", "")+s.metric(t, "vetch_ship_spool_bytes", ""))
				require.Positive(t, s.metric(t, "vetch_ship_lag_seconds", ""))
				if dir != "" {
					s.wait(t, "vetch_ship_queue_bytes", "", 0)
				}
				back.Store(true)
				s.wait(t, "vetch_ship_sent_total", "", 200)
				for series, samples := range r.read(t, "given_total") {
					require.Len(t, samples, 21, series) // and the start
				}
				require.Zero(t, s.metric(t, "vetch_ship_spool_bytes", ""))
				require.Equal(t, 1, strings.Count(s.log.text(), "takes nothing; it waits"), s.log.text())
				require.Equal(t, 1, strings.Count(s.log.text(), "takes what it is sent again"), s.log.text())
			})
		}
	}
}

// hijack writes text as the answer.
func hijack(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}

// TestRestart leaves the spool to the next process.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := startSender(t, SenderOptions{SpoolDir: dir, URL: front(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })})
	start := time.Now().UnixMilli()
	for i := range int64(5) {
		s.give(t, 10, start+i)
	}
	s.stop()
	require.Zero(t, s.metric(t, "vetch_ship_dropped_total", ""))

	r := newReceiver(t, Options{})
	s = startSender(t, SenderOptions{SpoolDir: dir, URL: r.url})
	s.give(t, 10, start+5)
	s.wait(t, "vetch_ship_sent_total", "", 60)
	for series, samples := range r.read(t, "given_total") {
		require.Len(t, samples, 7, series)
	}
}

// TestEndSends what was given last, also while a request runs. What a busy machine does not get done in time is in the spool.
func TestEndSends(t *testing.T) {
	r := newReceiver(t, Options{})
	o := SenderOptions{SpoolDir: t.TempDir(), URL: front(t, func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(20 * time.Millisecond) // so that a request runs when the sender is to end
		r.write.ServeHTTP(w, req)
	})}
	s := startSender(t, o)
	start := time.Now().UnixMilli()
	for i := range int64(5) {
		s.give(t, 10, start+i)
	}
	s.stop()
	require.Zero(t, s.metric(t, "vetch_ship_dropped_total", ""))
	left := 50 - s.metric(t, "vetch_ship_sent_total", "")
	require.Less(t, left, 50.0)
	s = startSender(t, o)
	s.wait(t, "vetch_ship_sent_total", "", left)
	for series, samples := range r.read(t, "given_total") {
		require.Len(t, samples, 6, series)
	}
}

// TestRefused counts what no retry can mend, says so once, and goes on.
func TestRefused(t *testing.T) {
	for status, reason := range map[int]string{
		400: "rejected", 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large", 418: "other", 302: "redirect", 308: "redirect",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			stolen := front(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
			secret := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(secret, []byte("a secret of many letters\n"), 0o600))
			s := startSender(t, SenderOptions{Credentials: Credentials{TokenFile: secret}, URL: front(t, func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("Authorization") != "Bearer a secret of many letters" {
					t.Error("there is no token in the request")
				}
				w.Header().Set("Location", stolen)
				w.WriteHeader(status)
				fmt.Fprint(w, "no,\x1b[31m never")
			})})
			for i := range int64(3) {
				s.give(t, 10, i+1)
			}
			s.wait(t, "vetch_ship_failed_total", reason, 30)
			require.Equal(t, 3.0, s.metric(t, "vetch_ship_requests_total", ""))
			require.Equal(t, 1, strings.Count(s.log.text(), "refuses what it is sent"), s.log.text())
			require.NotContains(t, s.log.text(), "secret")
			require.NotContains(t, s.log.text(), `\x1b`)
			if status == 400 {
				require.Contains(t, s.log.text(), "never")
			}
		})
	}
}

// TestPartlyRefused believes a receiver of 2.0 that says how much of a batch it has taken, but not more than there was.
func TestPartlyRefused(t *testing.T) {
	s := startSender(t, SenderOptions{URL: front(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "7")
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "1000")
		w.WriteHeader(400)
	})})
	s.give(t, 10, 1)
	s.wait(t, "vetch_ship_failed_total", "rejected", 3)
	require.Equal(t, 7.0, s.metric(t, "vetch_ship_sent_total", ""))
}

// TestEndlessAnswer must cost no more than a look at its beginning.
func TestEndlessAnswer(t *testing.T) {
	for _, status := range []int{204 - 4, 400, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := startSender(t, SenderOptions{URL: front(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "10")
				w.WriteHeader(status)
				for {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			})})
			s.give(t, 10, 1)
			require.Eventually(t, func() bool { return s.metric(t, "vetch_ship_requests_total", fmt.Sprint(status)) >= 1 }, time.Minute, time.Millisecond)
		})
	}
}

// TestOnlyVersion1 meets receivers that refuse version 2.0, or take it for an empty request of 1.0.
func TestOnlyVersion1(t *testing.T) {
	for _, answer := range []int{http.StatusUnsupportedMediaType, http.StatusNoContent} {
		t.Run(fmt.Sprint(answer), func(t *testing.T) {
			r := newReceiver(t, Options{})
			s := startSender(t, SenderOptions{URL: front(t, func(w http.ResponseWriter, req *http.Request) {
				if strings.Contains(req.Header.Get("Content-Type"), "v2") {
					w.WriteHeader(answer)
					return
				}
				r.write.ServeHTTP(w, req)
			})})
			s.SetMetadata("given_total", metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Given."})
			start := time.Now().UnixMilli()
			s.give(t, 10, start)
			app := s.AppenderV2(context.Background())
			_, err := app.Append(0, labels.FromStrings("__name__", "d_seconds"), 0, start, 0, testHistogram(40), nil, storage.AOptions{})
			require.NoError(t, err)
			require.NoError(t, app.Commit())
			s.wait(t, "vetch_ship_sent_total", "", 11)
			require.Equal(t, 3.0, s.metric(t, "vetch_ship_requests_total", ""), "2.0 is tried once")
			require.Len(t, r.read(t, "given_total"), 10)
			require.Len(t, r.read(t, "d_seconds"), 1)
			require.Equal(t, "Given.", r.db.Metadata("given_total", 0)["given_total"].Help)
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := startSender(t, SenderOptions{MemoryLimit: 50_000, URL: front(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })})
	for i := range int64(100) {
		s.give(t, 100, i+1)
	}
	require.LessOrEqual(t, s.metric(t, "vetch_ship_queue_bytes", ""), 50_000.0)
	lost := s.metric(t, "vetch_ship_dropped_total", "memory_full")
	require.Positive(t, lost)
	s.stop()
	require.Equal(t, 10_000-lost, s.metric(t, "vetch_ship_dropped_total", "stopped"), "what nothing can keep is counted")
}

func TestSpoolIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := startSender(t, SenderOptions{SpoolDir: dir, SpoolLimit: 300_000, URL: front(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })})
	for i := range int64(400) {
		s.give(t, 100, time.Now().UnixMilli()+i)
	}
	s.stop()
	lost := s.metric(t, "vetch_ship_dropped_total", "spool_full")
	require.Positive(t, lost)
	r := newReceiver(t, Options{})
	s = startSender(t, SenderOptions{SpoolDir: dir, URL: r.url})
	s.wait(t, "vetch_ship_sent_total", "", 40_000-lost)
}

// TestFullDisk makes the disk full by a reserve that no disk has: memory is all there is, and that is counted.
func TestFullDisk(t *testing.T) {
	s := startSender(t, SenderOptions{SpoolDir: t.TempDir(), SpoolLimit: 1 << 20, MemoryLimit: 50_000, SpoolReserve: 1 << 60,
		URL: front(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })})
	for i := range int64(100) {
		s.give(t, 100, i+1)
	}
	require.Positive(t, s.metric(t, "vetch_ship_dropped_total", "memory_full"))
	require.Eventually(t, func() bool { return s.metric(t, "vetch_ship_spool_failures_total", "disk_full") > 0 }, time.Minute, time.Millisecond)
	s.stop()
	require.Equal(t, 1, strings.Count(s.log.text(), "the spool takes nothing"), s.log.text())
}

func TestCredentialsAreReadAgain(t *testing.T) {
	for name, basic := range map[string]bool{"token": false, "password": true} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			require.NoError(t, os.WriteFile(file, []byte("the first one"), 0o600))
			c := Credentials{TokenFile: file}
			if basic {
				c = Credentials{Username: "agent", PasswordFile: file}
			}
			var seen sync.Map
			s := startSender(t, SenderOptions{Credentials: c, URL: front(t, func(w http.ResponseWriter, req *http.Request) {
				secret := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
				if basic {
					_, secret, _ = req.BasicAuth()
				}
				seen.Store(secret, true)
				w.WriteHeader(400)
			})})
			s.give(t, 1, 1)
			s.wait(t, "vetch_ship_failed_total", "", 1)
			require.NoError(t, os.WriteFile(file, []byte("another"), 0o600))
			s.give(t, 1, 2)
			s.wait(t, "vetch_ship_failed_total", "", 2)
			for _, secret := range []string{"the first one", "another"} {
				_, ok := seen.Load(secret)
				require.True(t, ok, secret)
			}
		})
	}
}

func TestSenderRefusesWhatCannotWork(t *testing.T) {
	for _, o := range []SenderOptions{
		{}, {URL: "vetch.example.org:4780"}, {URL: "ftp://x"}, {URL: "https://user:password@x"},
		{URL: "https://x", Credentials: Credentials{CAFile: "/does/not/exist"}},
	} {
		_, err := NewSender(o)
		require.Error(t, err, o.URL)
		require.NotContains(t, err.Error(), "password@")
	}
}

func TestRetryAfter(t *testing.T) {
	require.Equal(t, 7*time.Second, retryAfter("7"))
	require.Equal(t, maxRetryAfter, retryAfter("2000000000"))
	require.Zero(t, retryAfter("-5"))
	require.Zero(t, retryAfter(""))
	require.Zero(t, retryAfter("soon"))
	require.Zero(t, retryAfter("Wed, 21 Oct 2015 07:28:00 GMT"))
	require.Equal(t, maxRetryAfter, retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	for attempt := 1; attempt < 100; attempt++ {
		require.LessOrEqual(t, backoff(attempt), maxBackoff)
		require.GreaterOrEqual(t, backoff(attempt), minBackoff/2)
	}
}

func TestSenderMetricsAreWellNamed(t *testing.T) {
	s := startSender(t, SenderOptions{URL: "http://127.0.0.1:1"})
	problems, err := testutil.GatherAndLint(s.reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestSilentServer takes connections and never answers: what waits goes to the disk before the memory is full.
func TestSilentServer(t *testing.T) {
	release := make(chan struct{})
	s := startSender(t, SenderOptions{SpoolDir: t.TempDir(), MemoryLimit: 100_000, URL: front(t, func(http.ResponseWriter, *http.Request) { <-release })})
	defer close(release) // before the server is closed
	for i := range int64(200) {
		s.give(t, 100, i+1)
	}
	require.Positive(t, s.metric(t, "vetch_ship_spool_bytes", ""))
	require.LessOrEqual(t, s.metric(t, "vetch_ship_queue_bytes", ""), 25_000.0)
	require.Zero(t, s.metric(t, "vetch_ship_dropped_total", ""))
	s.stop()
	require.Zero(t, s.metric(t, "vetch_ship_dropped_total", ""))
}

// FuzzDowngrade gives any bytes for a batch of a spool.
func FuzzDowngrade(f *testing.F) {
	e := new(encoder)
	require.NoError(f, e.add(labels.FromStrings("__name__", "a_total", "b", "c"), point{start: 1, time: 2, value: 3}, metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "H."}))
	require.NoError(f, e.add(labels.FromStrings("__name__", "d_seconds"), point{time: 2, integer: testHistogram(40)}, metadata.Metadata{}))
	good := e.finish().Body
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := downgrade(body)
		if err == nil && out == nil {
			t.Error("neither a body nor an error")
		}
	})
}

// running runs a sender until stop, or the end of the test.
func running(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}
