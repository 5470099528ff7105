package transport

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	configutil "github.com/prometheus/common/config"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// noScrapes is a Prometheus that scrapes nothing.
type noScrapes struct{}

func (noScrapes) Get() (*scrape.Manager, error) { return nil, fmt.Errorf("no scrapes") }

// TestPrometheusAsSender lets Prometheus's own remote storage tail the log of a database of its own and send all of it to us, as a Prometheus server does.
func TestPrometheusAsSender(t *testing.T) {
	for _, message := range []remoteapi.WriteMessageType{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType} {
		t.Run(string(message), func(t *testing.T) {
			r := newReceiver(t, Options{})
			dir := t.TempDir()
			opts := tsdb.DefaultOptions()
			opts.EnableExemplarStorage, opts.MaxExemplars = true, 1000
			from, err := tsdb.Open(dir, nil, nil, opts, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, from.Close()) }()

			sender := remote.NewStorage(nil, prometheus.NewRegistry(), from.StartTime, dir, time.Second, noScrapes{}, false)
			u, err := url.Parse(r.url)
			require.NoError(t, err)
			queue := config.DefaultQueueConfig
			queue.BatchSendDeadline = commonmodel.Duration(50 * time.Millisecond)
			require.NoError(t, sender.ApplyConfig(&config.Config{
				GlobalConfig: config.DefaultGlobalConfig,
				RemoteWriteConfigs: []*config.RemoteWriteConfig{{
					URL: &configutil.URL{URL: u}, RemoteTimeout: commonmodel.Duration(5 * time.Second), Name: "test", SendExemplars: true, SendNativeHistograms: true,
					ProtobufMessage: message, QueueConfig: queue, HTTPClientConfig: configutil.HTTPClientConfig{FollowRedirects: true},
				}},
			}))
			from.SetWriteNotified(sender)
			defer func() { require.NoError(t, sender.Close()) }()

			start := time.Now()
			const rounds, series = 30, 50
			for i := range int64(rounds) {
				// The watcher takes what is newer than its own start.
				at := start.Add(time.Duration(i+1) * time.Second).UnixMilli()
				app := from.Appender(context.Background())
				for s := range series {
					ls := labels.FromStrings("__name__", "sent_total", "series", fmt.Sprint(s))
					ref, err := app.Append(0, ls, at, float64(i))
					require.NoError(t, err)
					if s == 0 {
						_, err = app.AppendExemplar(ref, ls, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", fmt.Sprint(i)), Value: float64(i), Ts: at, HasTs: true})
						require.NoError(t, err)
					}
				}
				_, err = app.AppendHistogram(0, labels.FromStrings("__name__", "sent_seconds"), at, testHistogram(4+i), nil)
				require.NoError(t, err)
				require.NoError(t, app.Commit())
			}
			require.Eventually(t, func() bool {
				n := 0
				for _, samples := range r.read(t, "sent_total") {
					n += len(samples)
				}
				return n == rounds*series && len(r.read(t, "sent_seconds")[`{__name__="sent_seconds"}`]) == rounds && exemplars(t, r.db, "sent_total") == rounds
			}, time.Minute, 50*time.Millisecond)
		})
	}
}

func exemplars(t *testing.T, db storage.ExemplarQueryable, name string) (n int) {
	t.Helper()
	q, err := db.ExemplarQuerier(context.Background())
	require.NoError(t, err)
	found, err := q.Select(0, time.Now().Add(time.Hour).UnixMilli(), []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)})
	require.NoError(t, err)
	for _, f := range found {
		n += len(f.Exemplars)
	}
	return n
}
