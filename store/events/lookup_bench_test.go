package events

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store/columnar"
)

// BenchmarkAppendWithID stores batches of events that have IDs, beside 200,000 that were stored in the last day: what is asked of the store is in it.
func BenchmarkAppendWithID(b *testing.B) {
	e, err := Open(columnar.Options{Dir: b.TempDir(), RetentionAge: 30 * 24 * time.Hour})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	start := time.Now().Add(-24 * time.Hour)
	make := func(n int, id string) model.Event {
		event := backOff(1, fmt.Sprint("cart-", n%1000))
		event.Last = start.Add(time.Duration(n) * 400 * time.Millisecond)
		event.First, event.ID = event.Last, id
		return event
	}
	for n := 0; n < 200_000; n += 5000 {
		var list []model.Event
		for i := range 5000 {
			list = append(list, make(n+i, fmt.Sprint("before-", n+i)))
		}
		for i := range list { // as if each had been asked for: only the store knows them
			e.totals.put(list[i].ID, 0)
		}
		require.NoError(b, e.Append(b.Context(), list))
	}
	e.totals = newRecent[uint64]()
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := 0
			for b.Loop() {
				var list []model.Event
				for range size {
					n++
					list = append(list, make(199_000, fmt.Sprint("now-", size, "-", b.N, "-", n)))
				}
				require.NoError(b, e.Append(b.Context(), list))
			}
		})
	}
}
