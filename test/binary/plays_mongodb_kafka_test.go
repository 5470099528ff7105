package binary

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	plainsasl "github.com/twmb/franz-go/pkg/sasl/plain"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongoService runs FerretDB, which speaks MongoDB's protocol over SQLite.
func mongoService(t testing.TB) service {
	s, path := installed(t, moduleProgram(t, "ferretdb"))
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "-listen", s.address, "-tls", s.secure.address, "-cert", s.cert(), "-key", s.key(), "-dir", s.dir))
	return s
}

// mongoClient has one connection beside that of its monitor, which asks once a minute.
func mongoClient(t testing.TB, s service) *mongo.Client {
	t.Helper()
	options := options.Client().ApplyURI("mongodb://" + s.address + "/?directConnection=true").SetMaxPoolSize(1).SetRetryReads(false).
		SetRetryWrites(false).SetAppName(secret).SetServerMonitoringMode("poll").SetHeartbeatInterval(time.Minute)
	if s.encrypted {
		options.SetTLSConfig(s.config())
	}
	client, err := mongo.Connect(options)
	require.NoError(t, err)
	t.Cleanup(func() { client.Disconnect(context.Background()) }) //nolint:errcheck // it may be done
	return client
}

// mongoGreetings is what a client says before and after what it is asked to.
func mongoGreetings(want map[string]int) map[string]int {
	for _, operation := range []string{"hello ok", "isMaster ok", "endSessions ok", "endSessions 59"} {
		want[operation] = anyNumber
	}
	return want
}

func openMongoDB(t *testing.T, s service) dialogue {
	users, id, ctx := mongoClient(t, s).Database("shop").Collection("users"), rand.N(int64(1<<60)), context.Background()
	return func(n int) map[string]int {
		for range n {
			id++
			key := bson.D{{Key: "_id", Value: id}}
			document := append(bson.D{{Key: secret, Value: secret}}, key...)
			_, err := users.InsertOne(ctx, document)
			require.NoError(t, err)
			_, err = users.InsertOne(ctx, document)
			require.True(t, mongo.IsDuplicateKeyError(err), "%v", err)
			require.NoError(t, users.FindOne(ctx, key).Err())
			_, err = users.UpdateOne(ctx, key, bson.D{{Key: "$set", Value: bson.D{{Key: "text", Value: secret}}}})
			require.NoError(t, err)
			require.Error(t, users.Database().RunCommand(ctx, bson.D{{Key: secret, Value: secret}}).Err())
		}
		return mongoGreetings(map[string]int{"insert users ok": n, "insert users 11000": n, "find users ok": n, "update users ok": n, "~other 59": n})
	}
}

// playMongoDB has a cursor too.
func playMongoDB(t *testing.T, s service) map[string]int {
	want := openMongoDB(t, s)(asked)
	pages := mongoClient(t, s).Database("books" + strings.ToLower(filepath.Base(t.Name()))).Collection("pages")
	const n = 300
	documents := make([]any, n)
	for i := range documents {
		documents[i] = bson.D{{Key: secret, Value: secret}}
	}
	_, err := pages.InsertMany(t.Context(), documents)
	require.NoError(t, err)
	cursor, err := pages.Find(t.Context(), bson.D{}, options.Find().SetBatchSize(n/5))
	require.NoError(t, err)
	require.NoError(t, cursor.All(t.Context(), &[]bson.D{}))
	maps.Copy(want, map[string]int{"insert pages ok": 1, "find pages ok": 1, "getMore pages ok": 5})
	return want
}

// kafkaService runs the broker of franz-go, twice, with the topics orders and parcels.
func kafkaService(t testing.TB) service {
	s, path := installed(t, moduleProgram(t, "kfake"))
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "-listen", s.address, "-tls", s.secure.address, "-cert", s.cert(), "-key", s.key(), "-password", secret, "-topics", "orders,parcels"))
	return s
}

func kafkaClient(t testing.TB, s service, with ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.address), kgo.ClientID(filepath.Base(s.workload)), kgo.SASL(plainsasl.Auth{User: "user", Pass: secret}.AsMechanism()), kgo.DisableClientMetrics(),
		kgo.DisableIdempotentWrite(), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.Dialer(s.dial), kgo.ConnIdleTimeout(15 * time.Minute),
	}, with...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// kafkaGreetings is what a client says beside what it is asked to.
func kafkaGreetings(want map[string]int) map[string]int {
	for _, operation := range []string{"ApiVersions ok", "SaslHandshake ok", "SaslAuthenticate ok", "Metadata ok"} {
		want[operation] = anyNumber
	}
	return want
}

func produce(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	record := &kgo.Record{Topic: topic, Key: []byte(secret), Value: []byte(secret), Headers: []kgo.RecordHeader{{Key: secret, Value: []byte(secret)}}}
	require.NoError(t, client.ProduceSync(t.Context(), record).FirstErr())
}

// fetchFrom asks for what begins at an offset of orders, without waiting for more.
func fetchFrom(t *testing.T, client *kgo.Client, id [16]byte, offset int64) {
	t.Helper()
	fetch, topic, partition := kmsg.NewPtrFetchRequest(), kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes, fetch.MaxBytes, fetch.SessionEpoch = offset, 1<<20, 1<<20, -1
	topic.Topic, topic.TopicID = "orders", id
	topic.Partitions = append(topic.Partitions, partition)
	fetch.Topics = append(fetch.Topics, topic)
	_, err := client.Broker(0).Request(t.Context(), fetch)
	require.NoError(t, err)
}

// topicID asks for the number of orders, and for that of parcels too.
func topicID(t *testing.T, client *kgo.Client) [16]byte {
	t.Helper()
	metadata := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"orders", "parcels"} {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		metadata.Topics = append(metadata.Topics, topic)
	}
	answer, err := client.Broker(0).Request(t.Context(), metadata)
	require.NoError(t, err)
	return answer.(*kmsg.MetadataResponse).Topics[0].TopicID
}

// openKafka asks for the topics each time, for what numbers they have is told on connections that are older than vetch too.
func openKafka(t *testing.T, s service) dialogue {
	client, silent, offset := kafkaClient(t, s, kgo.RequiredAcks(kgo.LeaderAck())), kafkaClient(t, s, kgo.RequiredAcks(kgo.NoAck())), int64(0)
	return func(n int) map[string]int {
		for range n {
			id := topicID(t, client)
			produce(t, client, "orders")
			produce(t, silent, "parcels")
			fetchFrom(t, client, id, offset)
			fetchFrom(t, client, id, 1e9)
			offset++
		}
		return kafkaGreetings(map[string]int{"Produce orders ok": n, "Produce parcels ok": n, "Fetch orders ok": n, "Fetch orders OFFSET_OUT_OF_RANGE": n})
	}
}

// TestKafkaConsumerLag: what consumers have not fetched yet is a gauge, which goes with them.
func TestKafkaConsumerLag(t *testing.T) {
	s := kafkaService(t).await(t)
	client := kafkaClient(t, s, kgo.RequiredAcks(kgo.LeaderAck()))
	id := topicID(t, client)
	const n = 100
	for range n {
		produce(t, client, "orders")
	}
	behind := func(want map[string]float64) {
		t.Helper()
		for _, v := range built.watchers {
			require.NoError(t, poll(t.Context(), func() error {
				got := map[string]float64{}
				for _, one := range v.mustRead(t).find("vetch_kafka_consumer_lag", labels{"client": self(t)}) {
					got[one.labels["topic"]] = one.value
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					return fmt.Errorf("%v behind, want %v", got, want)
				}
				return nil
			}), "%s hook", v.hook)
		}
	}
	fetchFrom(t, client, id, 30)
	behind(map[string]float64{"orders": 70})
	all := kafkaClient(t, s, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	for got := 0; got < n; {
		fetches := all.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		got += fetches.NumRecords()
	}
	behind(map[string]float64{"orders": 70}) // of the other, which has fetched no more
	fetchFrom(t, client, id, 90)
	behind(map[string]float64{"orders": 10})
	client.Close()
	behind(map[string]float64{"orders": 0})
	all.Close()
	behind(map[string]float64{})
}
