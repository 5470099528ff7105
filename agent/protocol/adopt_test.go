package protocol

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Programs that read the head of a message by itself, as brokers of Kafka and servers of MongoDB do, are followed on connections that
// are older than the agent, and after a loss.
func TestHeadsAreReadAlone(t *testing.T) {
	for _, tc := range []struct {
		protocol  Protocol
		head      int
		ask, tell func(i int32) string
		want      string
	}{
		{Kafka(), 4, func(i int32) string { return kafkaProduce(i, 7, 1, "orders") }, func(i int32) string { return kafkaProduced(i, 7, 0) }, "7 kafka Produce orders ok false"},
		{Kafka(), 4, func(i int32) string { return kafkaAsk(kmsg.NewPtrApiVersionsRequest(), 0, i) }, func(i int32) string { return kafkaTell(kmsg.NewPtrApiVersionsResponse(), 0, i) }, "7 kafka ApiVersions ok false"},
		{MongoDB(), 16, func(i int32) string { return mongoAsk(i, "find", "users") }, func(i int32) string { return mongoAnswer(i, "ok", 1) }, "7 mongodb find users ok false"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			w := newWire(t)
			w.s, w.old = NewStreams(append([]Protocol{line()}, Table()...)), true
			say := func(d Direction, text string) {
				w.say(d, text[:tc.head])
				for piece := range slices.Chunk([]byte(text[tc.head:]), 4096) {
					w.say(d, string(piece))
				}
			}
			say(FromClient, tc.ask(1)[9:]) // met in the middle
			say(FromServer, tc.tell(1)[3:])
			for i := range int32(10) {
				say(FromClient, tc.ask(i+2))
				say(FromServer, tc.tell(i+2))
			}
			wantTallies(t, w.tallies(), map[string]uint64{tc.want: 10})
			w.hide(FromClient, 50)
			say(FromClient, tc.ask(20)[9:])
			w.hide(FromServer, 50)
			for i := range int32(10) {
				say(FromClient, tc.ask(i+30))
				say(FromServer, tc.tell(i+30))
			}
			wantTallies(t, w.tallies(), map[string]uint64{tc.want: 10})
			require.EqualValues(t, 0, w.s.Stats.Desynced.Load())
		})
	}
}
