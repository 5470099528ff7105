package servicemap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func newTestCache() *cache {
	return newCache(time.Now, slog.New(slog.DiscardHandler), newMetrics())
}

func TestEqualQuestionsAreComputedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, computed := newTestCache(), 0
		ask := func() {
			v, err := cached(t.Context(), c, question{answer: answerMap, key: "k", ttl: 2 * time.Second}, func(context.Context) (int, int, error) {
				time.Sleep(time.Second)
				computed++
				return computed, 1, nil
			})
			require.NoError(t, err)
			require.Equal(t, computed, v)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(ask)
		}
		wg.Wait()
		require.Equal(t, 1, computed)
		require.InDelta(t, 99, testutil.ToFloat64(c.metrics.shared), 0)
		time.Sleep(3999 * time.Millisecond) // what took 1 s is kept for 4 s
		ask()
		require.Equal(t, 1, computed)
		time.Sleep(time.Millisecond)
		ask()
		require.Equal(t, 2, computed)
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	c := newTestCache()
	for range 2 {
		_, err := cached(t.Context(), c, question{answer: answerMap, key: "k", ttl: time.Hour}, func(context.Context) (int, int, error) { return 0, 0, errors.New("broken") })
		require.EqualError(t, err, "broken")
	}
	require.InDelta(t, 2, testutil.ToFloat64(c.metrics.computed.WithLabelValues(answerMap, "error")), 0)
	require.Empty(t, c.entries)
}

func TestPanicIsAnError(t *testing.T) {
	_, err := cached(t.Context(), newTestCache(), question{answer: answerMap, key: "k", ttl: time.Hour}, func(context.Context) (int, int, error) { panic("odd data") })
	require.ErrorContains(t, err, "odd data")
}

func TestComputationEndsWithItsLastViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended := newTestCache(), make(chan struct{})
		ask := func(ctx context.Context) error {
			_, err := cached(ctx, c, question{answer: answerMap, key: "k", ttl: time.Hour}, func(ctx context.Context) (int, int, error) {
				<-ctx.Done()
				close(ended)
				return 0, 0, ctx.Err()
			})
			return err
		}
		first, goFirst := context.WithCancel(t.Context())
		second, goSecond := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, ctx := range []context.Context{first, second} {
			wg.Go(func() { require.ErrorIs(t, ask(ctx), context.Canceled) })
		}
		synctest.Wait()
		goFirst()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("the second viewer still waits")
		default:
		}
		goSecond()
		wg.Wait()
		<-ended
		require.Zero(t, c.waiting)
	})
}

func TestSlowComputationTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := cached(t.Context(), newTestCache(), question{answer: answerMap, key: "k", ttl: time.Hour}, func(ctx context.Context) (int, int, error) {
			<-ctx.Done()
			return 0, 0, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCache()
		ask := func(key string, weight int) {
			_, err := cached(t.Context(), c, question{answer: answerMap, key: key, ttl: time.Hour}, func(context.Context) (string, int, error) { return key, weight, nil })
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		for i := range 2 * maxCachedAnswers {
			ask(fmt.Sprint(i), 1)
		}
		require.Len(t, c.entries, maxCachedAnswers)
		require.Contains(t, c.entries, fmt.Sprint(2*maxCachedAnswers-1))
		ask("heavy", maxCachedWeight-1)
		require.Len(t, c.entries, 2)
		ask("too heavy to keep", maxCachedWeight+1)
		require.NotContains(t, c.entries, "too heavy to keep")

		release := make(chan struct{})
		var wg sync.WaitGroup
		for i := range maxWaiting {
			wg.Go(func() {
				_, err := cached(t.Context(), c, question{answer: answerMap, key: fmt.Sprint("slow ", i), ttl: time.Hour}, func(context.Context) (string, int, error) {
					<-release
					return "", 1, nil
				})
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		_, err := cached(t.Context(), c, question{answer: answerMap, key: "one more", ttl: time.Hour}, func(context.Context) (string, int, error) { return "", 1, nil })
		require.ErrorIs(t, err, ErrBusy)
		require.InDelta(t, 1, testutil.ToFloat64(c.metrics.busy), 0)
		close(release)
		wg.Wait()
		synctest.Wait()
		require.Zero(t, c.waiting)
	})
}

func TestLongRangesDoNotKeepTheLiveMapWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, release := newTestCache(), make(chan struct{})
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				_, err := cached(t.Context(), c, question{answer: answerMap, key: fmt.Sprint(i), long: true}, func(context.Context) (int, int, error) {
					<-release
					return 0, 0, nil
				})
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		_, err := cached(t.Context(), c, question{answer: answerMap, key: "live"}, func(context.Context) (int, int, error) { return 0, 0, nil })
		require.NoError(t, err)
		close(release)
		wg.Wait()
	})
}
