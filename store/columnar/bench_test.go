package columnar

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkAppend stores lines of 190 bytes, one batch for each operation; the metric lines/s is the figure to compare.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			db, err := Open(Options{Dir: b.TempDir(), Name: "test"})
			require.NoError(b, err)
			defer func() { require.NoError(b, db.Close()) }()
			records := make([]Record, size)
			n := 0
			for b.Loop() {
				for i := range records {
					n++
					records[i] = Record{
						Time: time.Now(), Stream: []Field{{"source", "bench"}}, Fields: []Field{{"level", "info"}, {"status", "200"}},
						Message: fmt.Sprintf(`10.0.%d.%d - - "GET /cart/%d/items/%d HTTP/1.1" 200 %d "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36" %d ms`,
							n%256, n/256%256, n, n*7%1000, n*13%10_000, n%300),
					}
				}
				require.NoError(b, db.Append(context.Background(), records))
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
