package digest

import (
	"fmt"
	"testing"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestLags: what consumers have not read is that of the last snapshot, from one end of each connection.
func TestLags(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "kafka")
	w.listener(2, "0.0.0.0:9092")
	c, s, outside := w.client(1, 2, "127.0.0.1:9092"), w.server(2, 1, "127.0.0.1:9092", "127.0.0.1:0"), w.server(2, 0, "192.168.1.10:9092", "8.8.8.8:0")
	ask := func() {
		for _, key := range []probe.PairKey{c, s, outside} {
			w.request(key, "kafka", "Fetch orders", "ok", 1)
		}
	}
	ask()
	w.pass(holdBack)
	ask()
	for _, key := range []probe.PairKey{c, s, outside} {
		w.next.Lags = append(w.next.Lags, probe.Lag{Pair: key, Topic: "orders", Records: 30}, probe.Lag{Pair: key, Topic: "parcels", Records: 1}, probe.Lag{Pair: key, Topic: "orders", Records: 10})
	}
	w.poll()
	w.read().want(t, "vetch_kafka", `
		vetch_kafka_consumer_lag{client="8.8.8.8", client_kind="External", topic="orders"} 40
		vetch_kafka_consumer_lag{client="8.8.8.8", client_kind="External", topic="parcels"} 1
		vetch_kafka_consumer_lag{client="app", client_kind="Process", topic="orders"} 40
		vetch_kafka_consumer_lag{client="app", client_kind="Process", topic="parcels"} 1`)
	w.poll()
	w.read().want(t, "vetch_kafka", "")
	for i := range maxLags + 500 {
		w.next.Lags = append(w.next.Lags, probe.Lag{Pair: c, Topic: fmt.Sprint("topic", i), Records: 2})
	}
	w.poll()
	r := w.read()
	if own, all := r.sum("vetch_kafka_consumer_lag"), r.sum("vetch_kafka_consumer_lag", `topic="~other"`); own != 2*(maxLags+500) || all != 1000 {
		t.Errorf("lag %v in all, %v under ~other", own, all)
	}
	if got := r.sum("vetch_digest_dropped_total", `reason="topics"`); got != 500 {
		t.Errorf("%v dropped", got)
	}
}
