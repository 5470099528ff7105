package protocol

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// startKafka runs a broker that speaks up to the versions of a release, with the topics orders and parcels, and stands in front of it.
func startKafka(t testing.TB, versions *kversion.Versions) *talkProxy {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "parcels"), kfake.MaxVersions(versions), kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "mark"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return startTalkProxy(t, cluster.ListenAddrs()[0], Kafka())
}

// kafkaClient connects through the proxy, whatever address the broker says it has.
func kafkaClient(t testing.TB, x *talkProxy, versions *kversion.Versions, options ...kgo.Opt) *kgo.Client {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, x.addr())
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(x.addr()), kgo.Dialer(dial), kgo.MaxVersions(versions), kgo.ClientID("mark"), kgo.SASL(plain.Auth{User: "user", Pass: "mark"}.AsMechanism()),
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.FetchMaxWait(200 * time.Millisecond),
	}, options...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func produceOne(t testing.TB, client *kgo.Client, topic string, i int) error {
	record := &kgo.Record{Topic: topic, Key: []byte("mark"), Value: []byte(fmt.Sprint("mark", i)), Headers: []kgo.RecordHeader{{Key: "mark", Value: []byte("mark")}}}
	return client.ProduceSync(t.Context(), record).FirstErr()
}

func TestKafkaServer(t *testing.T) {
	for _, release := range []struct {
		name     string
		versions *kversion.Versions
	}{{"1.0", kversion.V1_0_0()}, {"2.8", kversion.V2_8_0()}, {"4", kversion.Stable()}} {
		t.Run(release.name, func(t *testing.T) {
			x := startKafka(t, release.versions)
			const n = 20
			producer := kafkaClient(t, x, release.versions, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
			silent := kafkaClient(t, x, release.versions, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck()))
			for i := range n {
				require.NoError(t, produceOne(t, producer, "orders", i))
				require.NoError(t, produceOne(t, producer, "parcels", i))
				require.NoError(t, produceOne(t, silent, "orders", i))
			}
			missing := kmsg.NewPtrListOffsetsRequest()
			topic := kmsg.NewListOffsetsRequestTopic()
			topic.Topic = "missing"
			topic.Partitions = append(topic.Partitions, kmsg.NewListOffsetsRequestTopicPartition())
			missing.Topics = append(missing.Topics, topic)
			for range n {
				_, err := producer.Broker(0).Request(t.Context(), missing)
				require.NoError(t, err)
			}
			consumer := kafkaClient(t, x, release.versions, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("mark"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			commits := 0
			for got := 0; got < 2*n; commits++ {
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
				fetches := consumer.PollRecords(ctx, 7)
				stop()
				require.NoError(t, fetches.Err())
				got += fetches.NumRecords()
				require.NoError(t, consumer.CommitRecords(t.Context(), fetches.Records()...))
			}
			for _, client := range []*kgo.Client{producer, silent, consumer} {
				client.Close()
			}
			got := countOutcomes(x.finish())
			for operation, want := range map[string]int{"Produce orders: ok": n, "Produce parcels: ok": n, "Produce orders: ok~": n, "ListOffsets missing: UNKNOWN_TOPIC_OR_PARTITION!": n, "OffsetCommit orders: ok": commits} {
				assert.Equal(t, want, got[operation], operation)
			}
			for _, operation := range []string{"ApiVersions: ok", "Metadata: ok", "Fetch orders: ok", "JoinGroup: ok", "SaslAuthenticate: ok"} {
				assert.Positive(t, got[operation], operation)
			}
			t.Log(got)
		})
	}
}

func TestKafkaRecordings(t *testing.T) { requireSteady(t, Kafka(), "mark") }

func FuzzKafka(f *testing.F) { fuzzConn(f, Kafka()) }
