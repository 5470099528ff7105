package protocol

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func kafkaProduce(id int32, version, acks int16, topics ...string) string {
	r := kmsg.NewPtrProduceRequest()
	r.Acks = acks
	for _, name := range topics {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.TopicID = name, kafkaTestID
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = []byte(strings.Repeat("mark", 5000))
		topic.Partitions = append(topic.Partitions, partition)
		r.Topics = append(r.Topics, topic)
	}
	return kafkaAsk(r, version, id)
}

func kafkaProduced(id int32, version int16, codes ...int16) string {
	r := kmsg.NewPtrProduceResponse()
	topic := kmsg.NewProduceResponseTopic()
	for _, code := range codes {
		partition := kmsg.NewProduceResponseTopicPartition()
		partition.ErrorCode = code
		topic.Partitions = append(topic.Partitions, partition)
	}
	r.Topics = append(r.Topics, topic)
	return kafkaTell(r, version, id)
}

// kafkaFetch asks in a session for topics, which may be none.
func kafkaFetch(id int32, version int16, session int32, topics ...string) string {
	r := kmsg.NewPtrFetchRequest()
	r.SessionID = session
	for _, name := range topics {
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID = name, kafkaTestID
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
		r.Topics = append(r.Topics, topic)
	}
	return kafkaAsk(r, version, id)
}

func kafkaFetched(id int32, version int16, session int32, code int16) string {
	r := kmsg.NewPtrFetchResponse()
	r.SessionID = session
	topic := kmsg.NewFetchResponseTopic()
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = []byte(strings.Repeat("mark", 5000))
	topic.Partitions = append(topic.Partitions, partition, partition)
	topic.Partitions[1].ErrorCode = code
	r.Topics = append(r.Topics, topic, topic)
	return kafkaTell(r, version, id)
}

func kafkaMetadata(id int32, version int16) string {
	return kafkaAsk(kmsg.NewPtrMetadataRequest(), version, id)
}

// kafkaDescribed answers with a topic that has an error in front of one that has none.
func kafkaDescribed(id int32, version int16, name string) string {
	r := kmsg.NewPtrMetadataResponse()
	broken, topic, missing := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopic(), "missing"
	broken.Topic, broken.ErrorCode = &missing, 5
	topic.Topic, topic.TopicID = &name, kafkaTestID
	topic.Partitions = append(topic.Partitions, kmsg.NewMetadataResponseTopicPartition())
	r.Brokers = append(r.Brokers, kmsg.NewMetadataResponseBroker())
	r.Topics = append(r.Topics, broken, topic)
	return kafkaTell(r, version, id)
}

func TestKafkaExchanges(t *testing.T) {
	versions := func(id int32, version int16) string { return kafkaAsk(kmsg.NewPtrApiVersionsRequest(), version, id) }
	refused := &kmsg.ApiVersionsResponse{ErrorCode: 35}
	newer := []byte(kafkaProduce(1, 9, 1, "orders"))
	binary.BigEndian.PutUint16(newer[6:], 15)
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"produce", []string{kafkaProduce(1, 3, 1, "orders", "parcels") + kafkaProduce(2, 9, -1, "parcels.1042"), kafkaProduced(2, 9, 0, 7) + kafkaProduced(1, 3, 0, 0)}, []string{"Produce parcels.*: REQUEST_TIMED_OUT!", "Produce orders: ok"}},
		{"no acknowledgement", []string{kafkaProduce(1, 3, 0, "orders") + kafkaProduce(2, 9, 0, "orders") + kafkaProduce(3, 7, 1, "orders"), kafkaProduced(3, 7, 0)}, []string{"Produce orders: ok~", "Produce orders: ok~", "Produce orders: ok"}},
		{"no topic", []string{kafkaProduce(1, 3, 1), kafkaProduced(1, 3)}, []string{"Produce: ok"}},
		{"topics by number", []string{kafkaProduce(1, 13, 1, "x"), kafkaProduced(1, 13, 0), kafkaMetadata(2, 12), kafkaDescribed(2, 12, "orders"), kafkaProduce(3, 13, 1, "x") + kafkaFetch(4, 13, 0, "x"), kafkaProduced(3, 13, 0) + kafkaFetched(4, 13, 0, 1)},
			[]string{"Produce ~unknown: ok", "Metadata: LEADER_NOT_AVAILABLE!", "Produce orders: ok", "Fetch orders: OFFSET_OUT_OF_RANGE!"}},
		{"topics by number that have none", []string{kafkaMetadata(1, 4), kafkaDescribed(1, 4, "orders"), kafkaFetch(2, 13, 0, "x"), kafkaFetched(2, 13, 0, 0)}, []string{"Metadata: LEADER_NOT_AVAILABLE!", "Fetch ~unknown: ok"}},
		{"fetch session", []string{kafkaFetch(1, 11, 0, "orders", "parcels"), kafkaFetched(1, 11, 55, 0), kafkaFetch(2, 11, 55), kafkaFetched(2, 11, 55, 0), kafkaFetch(3, 11, 55, "parcels"), kafkaFetched(3, 11, 55, 0), kafkaFetch(4, 11, 55), kafkaFetched(4, 11, 55, 70)},
			[]string{"Fetch orders: ok", "Fetch orders: ok", "Fetch parcels: ok", "Fetch orders: FETCH_SESSION_ID_NOT_FOUND!"}},
		{"a session that is older", []string{kafkaFetch(1, 12, 55), kafkaFetched(1, 12, 55, 0), kafkaFetch(2, 12, 55, "parcels"), kafkaFetched(2, 12, 55, 0), kafkaFetch(3, 12, 55), kafkaFetched(3, 12, 55, 0)},
			[]string{"Fetch ~unknown: ok", "Fetch parcels: ok", "Fetch parcels: ok"}},
		{"fetch without a topic", []string{kafkaFetch(1, 4, 0), kafkaFetched(1, 4, 0, 0)}, []string{"Fetch: ok"}},
		{"versions", []string{versions(1, 4), kafkaTell(refused, 0, 1), versions(2, 0), kafkaTell(kmsg.NewPtrApiVersionsResponse(), 0, 2)}, []string{"ApiVersions: UNSUPPORTED_VERSION!", "ApiVersions: ok"}},
		{"a version that is not known", []string{string(newer), kafkaProduced(1, 9, 3)}, []string{"Produce ~unknown: unread"}},
		{"an answer to nothing", []string{"", kafkaProduced(9, 3, 1), versions(1, 3), kafkaProduced(9, 3, 1)}, []string{"ApiVersions: !cut"}},
		{"a body that does not fit", []string{"\x00\x00\x00\x10\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\x00\x00\x00" + versions(2, 0), "\x00\x00\x00\x08\x00\x00\x00\x01\x7f\xff\xff\xff" + kafkaTell(kmsg.NewPtrApiVersionsResponse(), 0, 2)}, []string{"Metadata: unread", "ApiVersions: ok"}},
		{"one member more", []string{kafkaAsk(kmsg.NewPtrJoinGroupRequest(), 4, 1), kafkaTell(&kmsg.JoinGroupResponse{ErrorCode: 79}, 4, 1)}, []string{"JoinGroup: MEMBER_ID_REQUIRED"}},
		{"cut", []string{kafkaFetch(1, 4, 0, "orders"), ""}, []string{"Fetch orders: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, Kafka(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				again := talkThrough(t, Kafka(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

// The names of topics are learnt on one connection and used on all.
func TestKafkaNamesAreShared(t *testing.T) {
	p := Kafka()
	talkThrough(t, p, turns(kafkaMetadata(1, 12), kafkaDescribed(1, 12, "orders")))
	f := talkThrough(t, p, turns(kafkaProduce(1, 13, 1, "x"), kafkaProduced(1, 13, 0)))
	require.Equal(t, []string{"Produce orders: ok"}, f.outcomes())
	names := &kafkaNames{}
	for i := range uint64(5 * kafkaMaxNames) {
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], i+1)
		names.put(id, "orders")
		require.Equal(t, "orders", names.of(kafkaTopicRef{id: id}))
	}
	require.LessOrEqual(t, len(names.now)+len(names.old), 2*kafkaMaxNames)
}

func TestKafkaHostile(t *testing.T) {
	for name, text := range map[string]string{
		"too short":           "\x00\x00\x00\x04\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff",
		"negative":            "\xff\xff\xff\x10\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff",
		"too long":            "\x7f\xff\xff\x10\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff",
		"no API":              "\x00\x00\x00\x10\x03\x03\x00\x00\x00\x00\x00\x01\xff\xff",
		"no version":          "\x00\x00\x00\x10\x00\x03\x00\x99\x00\x00\x00\x01\xff\xff",
		"name longer than it": "\x00\x00\x00\x10\x00\x03\x00\x00\x00\x00\x00\x01\x00\x99",
		"name too long":       "\x00\x00\xff\x10\x00\x03\x00\x00\x00\x00\x00\x01\x7f\x00",
		"name of no length":   "\x00\x00\xff\x10\x00\x03\x00\x00\x00\x00\x00\x01\xff\x00",
	} {
		require.NotEmpty(t, talkThrough(t, Kafka(), turns(text+strings.Repeat("x", 16))).errors, name)
	}
	require.NotEmpty(t, talkThrough(t, Kafka(), turns("", "\x00\x00\x00\x01\x00\x03\x00\x00")).errors)
	f := newTalk(t, Kafka())
	for i := range int32(3 * MaxWaiting) { // nothing is ever answered, and there is always another session
		f.feed(FromClient, []byte(kafkaFetch(2*i, 7, i+1, "orders")), int64(i))
		f.feed(FromServer, []byte(kafkaFetched(2*i, 7, i+1, 0)), int64(i))
		f.feed(FromClient, []byte(kafkaFetch(2*i+1, 7, i+1)), int64(i))
	}
	c := f.conn.(*kafkaConn)
	require.LessOrEqual(t, len(c.waiting.values), MaxWaiting)
	require.LessOrEqual(t, len(c.sessions), kafkaMaxSessions)
	require.Empty(t, f.errors)
}

func TestKafkaDetect(t *testing.T) {
	nameless := func(r kmsg.Request, version int16) string {
		r.SetVersion(version)
		return string(kmsg.NewRequestFormatter().AppendRequest(nil, r, 7))
	}
	versions := nameless(kmsg.NewPtrApiVersionsRequest(), 0)
	zookeeper := "\x00\x00\x00\x2c" + strings.Repeat("\x00", 14) + "\x75\x30" + strings.Repeat("\x00", 8) + "\x00\x00\x00\x10" + strings.Repeat("\x00", 16)
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, "", Maybe}, {FromClient, versions, Yes}, {FromClient, versions[:13], Maybe}, {FromClient, versions + versions, Yes}, {FromClient, versions[:11] + "\x07\x00\x00", Yes}, {FromClient, versions[:11] + "\x07\x00\x01", No},
		{FromClient, kafkaProduce(1, 3, 1, "orders")[:30], Yes}, {FromClient, kafkaProduce(1, 3, 1, "orders")[:16], Maybe}, {FromClient, kafkaProduce(1, 3, 9, "orders")[:60], No}, {FromClient, kafkaProduce(-1, 3, 1, "orders"), No},
		{FromServer, kafkaProduced(1, 3, 0), Maybe}, {FromServer, kafkaProduced(-7, 3, 0), No}, {FromServer, "HTTP/1.1 200 OK\r\n", No},
		{FromClient, nameless(kmsg.NewPtrMetadataRequest(), 1), Yes}, {FromClient, nameless(kmsg.NewPtrListGroupsRequest(), 0), Maybe},
		{FromClient, zookeeper, No}, {FromClient, zookeeper + "\x00", No}, // connects: protocol 0, last seen 0, timeout 30000, session 0, password
		{FromClient, "\x00\x00\x00\x0d\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01/", No}, {FromClient, "\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b", No}, // and asks, and pings
		{FromClient, "\x00\x00\x00\x12\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x05/node\x00", No},
		{FromClient, "\x00\x00\x00\x54\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00client_encoding\x00UTF8\x00application_name\x00psql\x00\x00", No}, {FromClient, "\x00\x00\x00\x08\x04\xd2\x16\x2f", No},
		{FromClient, "\x04\x00\x00\x00\x05\x00\x00\x00\x00\x04\x00\x00\x01\x05\x00\x00\x00\x00", No}, {FromClient, "\x03\x00\x00\x00\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0", No}, // Cassandra
		{FromServer, "\x4a\x00\x00\x00\x0a8.0.36\x00", No}, {FromClient, "\x05\x00\x00\x00\x03SHOW", No}, {FromClient, "\x01\x00\x00\x00\x0e\x01\x00\x00\x00\x0e\x01\x00\x00\x00\x0e", No}, // MySQL
		{FromClient, "\x00\x1d\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01", No}, {FromClient, "\x00\x1d\xab\xcd\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01", No}, // DNS
		{FromClient, "GET / HTTP/1.1\r\n\r\n", No}, {FromClient, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", No}, {FromClient, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", No}, {FromClient, "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", Maybe},
		{FromClient, mongoAsk(1, "find", "users"), No}, {FromClient, strings.Repeat("\x00", 40), No}, {FromClient, strings.Repeat("\x01", 40), No},
	} {
		assert.Equal(t, tc.want, Kafka().Detect(tc.d, []byte(tc.text)), "%.60q", tc.text)
	}
}

// BenchmarkKafkaProduce is a request with a batch of 1 KiB and its answer, BenchmarkKafkaFetch one with 20 partitions of 1 KiB in its answer.
func BenchmarkKafkaProduce(b *testing.B) {
	r := kmsg.NewPtrProduceRequest()
	r.Acks = -1
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	topic.Topic, partition.Records = "orders", make([]byte, 1024)
	topic.Partitions = append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	benchmarkKafka(b, kafkaAsk(r, 9, 1), kafkaProduced(1, 9, 0))
}

func BenchmarkKafkaFetch(b *testing.B) {
	r := kmsg.NewPtrFetchResponse()
	topic, partition := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = make([]byte, 1024)
	for range 20 {
		topic.Partitions = append(topic.Partitions, partition)
	}
	topic.Topic = "orders"
	r.Topics = append(r.Topics, topic)
	benchmarkKafka(b, kafkaFetch(1, 12, 0, "orders"), kafkaTell(r, 12, 1))
}

func benchmarkKafka(b *testing.B, ask, tell string) {
	c, asked, told := Kafka().New(), []byte(ask), []byte(tell)
	b.ReportAllocs()
	for b.Loop() {
		c.Feed(FromClient, asked, 1, func(Exchange) {})
		c.Feed(FromServer, told, 2, func(Exchange) {})
	}
}
