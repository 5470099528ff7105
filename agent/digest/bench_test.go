package digest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// busyWorld has clients that each use several services, with routes and codes.
func busyWorld(t testing.TB, clients, servers, routes int) *world {
	w := newWorld(t)
	for s := range servers {
		w.owner(probe.OwnerID(1000+s), fmt.Sprintf("server%d", s))
		w.listener(probe.OwnerID(1000+s), fmt.Sprintf("127.0.0.1:%d", 8000+s))
	}
	for c := range clients {
		w.owner(probe.OwnerID(1+c), fmt.Sprintf("client%d", c))
	}
	w.busy(clients, servers, routes)
	w.poll()
	return w
}

// busy fills a snapshot with traffic between all clients and servers.
func (w *world) busy(clients, servers, routes int) {
	for c := range clients {
		for s := range servers {
			at := fmt.Sprintf("127.0.0.1:%d", 8000+s)
			one := w.client(probe.OwnerID(1+c), probe.OwnerID(1000+s), at)
			two := w.server(probe.OwnerID(1000+s), probe.OwnerID(1+c), at, "127.0.0.1:0")
			w.tcp(one, 1, 100, 200, 1)
			w.tcp(two, 1, 200, 100, 1)
			for r := range routes {
				route := fmt.Sprintf("/route/%d", r)
				for _, key := range []probe.PairKey{one, two} {
					delta := w.http(key, route, 200, 3)
					delta.Buckets[bucketOf10ms+r%40]++
					delta.Count++
				}
			}
		}
	}
}

func BenchmarkGather(b *testing.B) {
	w := busyWorld(b, 20, 10, 20)
	series := 0
	w.digest.Gather(func(model.Sample) { series++ })
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		w.digest.Gather(func(model.Sample) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series)*1000, "ns/1000series")
	b.ReportMetric(float64(series), "series")
}

func BenchmarkApply(b *testing.B) {
	w := busyWorld(b, 20, 10, 20)
	w.busy(20, 10, 20)
	snapshot := w.next
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		w.now = w.now.Add(time.Second)
		snapshot.Time = w.now
		w.digest.Apply(snapshot)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(snapshot.Requests)+len(snapshot.Pairs)), "ns/delta")
}

// TestGatherWhileApplying has readers and the writer run at the same time; sums are whole and never go back.
func TestGatherWhileApplying(t *testing.T) {
	w := busyWorld(t, 3, 3, 3)
	const polls = 50
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := 0.0
			for {
				total := 0.0
				w.digest.Gather(func(s model.Sample) {
					if s.Family.Name == "vetch_edge_requests_total" {
						total += s.Value
					}
					if s.Histogram != nil {
						s.Histogram.PositiveBuckets = nil // it is ours now
					}
				})
				if total < last || int(total)%108 != 0 { // 3 clients, 3 servers, 4 requests on each of 3 routes: 108 a poll
					t.Errorf("%v requests after %v", total, last)
				}
				last = total
				w.digest.Status()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range polls {
		w.busy(3, 3, 3)
		w.poll()
	}
	close(stop)
	readers.Wait()
	if got, want := w.read().sum("vetch_edge_requests_total"), float64((polls+1)*108); got != want {
		t.Errorf("%v requests, want %v", got, want)
	}
}
