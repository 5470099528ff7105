package protocol

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaReads asks for partitions 0, 1, ... of a topic from offsets; one below zero is not asked for, or forgotten within a session.
func kafkaReads(id int32, version int16, session, epoch, replica int32, topic string, offsets ...int64) string {
	r := kmsg.NewPtrFetchRequest()
	r.SessionID, r.SessionEpoch, r.ReplicaID, r.ReplicaState.ID = session, epoch, replica, replica
	asked, forgotten := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestForgottenTopic()
	asked.Topic, forgotten.Topic, asked.TopicID, forgotten.TopicID = topic, topic, kafkaTestID, kafkaTestID
	for i, offset := range offsets {
		if offset < 0 {
			forgotten.Partitions = append(forgotten.Partitions, int32(i))
			continue
		}
		partition := kmsg.NewFetchRequestTopicPartition()
		partition.Partition, partition.FetchOffset = int32(i), offset
		asked.Partitions = append(asked.Partitions, partition)
	}
	r.Topics = append(r.Topics, asked)
	if epoch > 0 && len(forgotten.Partitions) > 0 {
		r.ForgottenTopics = append(r.ForgottenTopics, forgotten)
	}
	return kafkaAsk(r, version, id)
}

// kafkaEnds answers with where partitions end; one below zero has an error, or nothing is said of it.
func kafkaEnds(id int32, version int16, session int32, topic string, ends ...int64) string {
	r := kmsg.NewPtrFetchResponse()
	r.SessionID = session
	told := kmsg.NewFetchResponseTopic()
	told.Topic, told.TopicID = topic, kafkaTestID
	for i, end := range ends {
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.Partition, partition.HighWatermark = int32(i), end
		if end < 0 {
			partition.ErrorCode, partition.HighWatermark = 6, 999
		}
		told.Partitions = append(told.Partitions, partition)
	}
	r.Topics = append(r.Topics, told)
	return kafkaTell(r, version, id)
}

func TestKafkaLag(t *testing.T) {
	const none = -1
	for _, version := range []int16{4, 11, 12, 14, 15, 18} {
		c := Kafka().New().(*kafkaConn)
		c.names.put(kafkaTestID, "orders")
		at := int64(0)
		say := func(d Direction, text string) {
			at++
			for rest := []byte(text); len(rest) > 0; {
				n, skip, err := c.Feed(d, rest, at, func(Exchange) {})
				require.NoError(t, err)
				require.Zero(t, skip)
				rest = rest[n:]
			}
		}
		lag := func() map[string]int64 {
			got := map[string]int64{}
			require.Zero(t, c.Lags(at, func(topic string, records int64) { got[topic] += records }))
			return got
		}
		say(FromClient, kafkaReads(1, version, 0, 0, -1, "orders", 10, 20, 5))
		assert.Empty(t, lag(), "no end is known")
		say(FromServer, kafkaEnds(1, version, 7, "orders", 15, 20, none))
		assert.Equal(t, map[string]int64{"orders": 5}, lag(), "version %d", version)
		if version >= 7 { // within a session only what has changed is said
			say(FromClient, kafkaReads(2, version, 7, 1, -1, "orders", 15))
			assert.Equal(t, map[string]int64{"orders": 0}, lag())
			say(FromServer, kafkaEnds(2, version, 7, "orders", 18, 100))
			assert.Equal(t, map[string]int64{"orders": 83}, lag())
			say(FromClient, kafkaReads(3, version, 7, 2, -1, "orders", none, none))
			assert.Equal(t, map[string]int64{"orders": 83}, lag(), "forgotten, but not for long")
		} else {
			say(FromClient, kafkaReads(2, version, 0, 0, -1, "parcels", 1))
			assert.Equal(t, map[string]int64{"orders": 5}, lag(), "no longer read, but not for long")
		}
		at += 2 * int64(time.Minute)
		assert.Empty(t, lag(), "version %d", version)
		if version >= 7 {
			require.Len(t, c.places.parts, 1, "the partition with the error is still read")
		}
		c.Close(at, func(Exchange) {})
		require.Zero(t, c.places.room.Load())

		say(FromClient, kafkaReads(9, version, 0, 0, 3, "orders", 10)) // a broker that follows another
		say(FromServer, kafkaEnds(9, version, 0, "orders", 15))
		require.Empty(t, c.places.parts, "version %d", version)
	}
}

func TestKafkaPlacesAreBounded(t *testing.T) {
	p := Kafka()
	lost := uint64(0)
	for range 12 { // connections
		c := p.New().(*kafkaConn)
		offsets := make([]int64, kafkaMaxSpots)
		for i := range 5 {
			c.Feed(FromClient, []byte(kafkaReads(int32(i), 11, 5, 1, -1, "orders"+decimal(i), offsets...)), 1, func(Exchange) {})
		}
		require.LessOrEqual(t, len(c.places.parts), kafkaMaxPlaces)
		require.LessOrEqual(t, c.places.room.Load(), int64(kafkaAllPlaces))
		lost += c.Lags(1, func(string, int64) {})
	}
	require.EqualValues(t, 12*5*kafkaMaxSpots-kafkaAllPlaces, lost)
}
