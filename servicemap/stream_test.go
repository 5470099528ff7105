package servicemap

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
)

// fakeStore answers every question about connections with one edge of a rate that the test sets; time in these tests is not real.
type fakeStore struct {
	rate  atomic.Int64
	asked atomic.Int64
	fails atomic.Bool
}

func (f *fakeStore) Instant(_ context.Context, expr string, _ time.Time) (promql.Vector, error) {
	if f.fails.Load() {
		return nil, errors.New("the store is away")
	}
	if expr != (selection{}).edgeRate("vetch_edge_connections_total", pairLabels+",protocol", time.Minute) {
		return nil, nil
	}
	f.asked.Add(1)
	ls := labels.FromStrings("client", "a", "client_kind", "Process", "server", "b", "server_kind", "Process", "port", "80", "protocol", "tcp")
	return promql.Vector{{Metric: ls, F: float64(f.rate.Load())}}, nil
}

func (f *fakeStore) Range(context.Context, string, time.Time, time.Time, time.Duration) (promql.Matrix, error) {
	return nil, nil
}

func runService(t *testing.T, f *fakeStore, file string) (*Service, func()) {
	s, err := New(Options{Engine: f, PositionsFile: file})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return s, func() {
		stop()
		require.NoError(t, <-done)
	}
}

func connectRate(t *testing.T, data []byte) float64 {
	var m Map
	require.NoError(t, json.Unmarshal(data, &m))
	return *m.Edges[0].ConnectRate
}

func TestStreamSendsAtOnceAndAfterChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		f.rate.Store(1)
		s, stop := runService(t, f, "")
		defer stop()
		sub, err := s.Subscribe(Query{})
		require.NoError(t, err)
		synctest.Wait()
		require.InDelta(t, 1, connectRate(t, <-sub.Updates), 0)
		time.Sleep(time.Minute)
		require.Empty(t, sub.Updates, "nothing has changed")
		f.rate.Store(2)
		time.Sleep(updateInterval)
		synctest.Wait()
		require.InDelta(t, 2, connectRate(t, <-sub.Updates), 0)

		late, err := s.Subscribe(Query{})
		require.NoError(t, err)
		require.InDelta(t, 2, connectRate(t, <-late.Updates), 0, "who comes late gets the present map at once")
		require.Len(t, s.fanout.topics, 1)
		late.Close()
		late.Close()
		sub.Close()
		require.Empty(t, s.fanout.topics)
		require.Zero(t, s.fanout.readers)
		synctest.Wait()
		asked := f.asked.Load()
		time.Sleep(time.Minute)
		require.Equal(t, asked, f.asked.Load(), "without readers nothing is computed")
	})
}

func TestOneComputationForAllReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		s, stop := runService(t, f, "")
		defer stop()
		for range 100 {
			sub, err := s.Subscribe(Query{})
			require.NoError(t, err)
			defer sub.Close()
			other, err := s.Subscribe(Query{Namespace: "shop"})
			require.NoError(t, err)
			defer other.Close()
		}
		time.Sleep(10*updateInterval - time.Millisecond)
		require.LessOrEqual(t, f.asked.Load(), int64(11))
		require.GreaterOrEqual(t, f.asked.Load(), int64(9))
	})
}

func TestSlowReadersGetTheNewestAndAreDroppedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		s, stop := runService(t, f, "")
		defer stop()
		slow, err := s.Subscribe(Query{})
		require.NoError(t, err)
		change := func() {
			f.rate.Add(1)
			time.Sleep(updateInterval)
			synctest.Wait()
		}
		for range 5 {
			change()
		}
		require.InDelta(t, float64(f.rate.Load()), connectRate(t, <-slow.Updates), 0)
		require.Positive(t, testutil.ToFloat64(s.metrics.skipped))
		for range maxMissed + 3 {
			change()
		}
		<-slow.Updates
		_, open := <-slow.Updates
		require.False(t, open)
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.dropped.WithLabelValues(dropSlow)), 0)
		require.Zero(t, s.fanout.readers)
	})
}

func TestReadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := runService(t, &fakeStore{}, "")
		for range maxReaders {
			_, err := s.Subscribe(Query{})
			require.NoError(t, err)
		}
		_, err := s.Subscribe(Query{})
		require.ErrorIs(t, err, ErrBusy)
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.dropped.WithLabelValues(dropLimit)), 0)
		require.InDelta(t, maxReaders, testutil.ToFloat64(s.metrics.subscribers), 0)
		stop()
		require.Zero(t, s.fanout.readers)
	})
}

func TestStreamOutlivesErrorsOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		f.fails.Store(true)
		s, stop := runService(t, f, "")
		defer stop()
		sub, err := s.Subscribe(Query{})
		require.NoError(t, err)
		defer sub.Close()
		time.Sleep(5 * updateInterval)
		require.Empty(t, sub.Updates)
		f.fails.Store(false)
		time.Sleep(updateInterval)
		synctest.Wait()
		require.InDelta(t, 0, connectRate(t, <-sub.Updates), 0)
	})
}

func TestStopEndsStreamsAndSavesPositions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "positions.json")
	synctest.Test(t, func(t *testing.T) {
		s, stop := runService(t, &fakeStore{}, file)
		sub, err := s.Subscribe(Query{})
		require.NoError(t, err)
		<-sub.Updates
		require.Error(t, s.Run(t.Context()), "it runs already")
		stop()
		_, open := <-sub.Updates
		require.False(t, open)
		sub.Close()
		_, err = s.Subscribe(Query{})
		require.ErrorIs(t, err, ErrNotRunning)
	})
	require.Len(t, openPositions(t, file).places, 2)
}
