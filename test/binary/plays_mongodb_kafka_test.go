package binary

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongoService runs FerretDB, which speaks MongoDB's protocol over SQLite.
func mongoService(t testing.TB) service {
	s, path := installed(t, moduleProgram(t, "ferretdb"))
	serve(t, s.dir, exec.Command(path, "-listen", s.address, "-dir", s.dir))
	return s
}

// mongoClient has one connection beside that of its monitor, which asks once a minute.
func mongoClient(t testing.TB, s service) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + s.address + "/?directConnection=true").SetMaxPoolSize(1).SetRetryReads(false).
		SetRetryWrites(false).SetAppName(secret).SetServerMonitoringMode("poll").SetHeartbeatInterval(time.Minute))
	require.NoError(t, err)
	return client
}

// mongoGreetings is what a client says before and after what it is asked to.
func mongoGreetings(want map[string]int) map[string]int {
	for _, operation := range []string{"hello ok", "isMaster ok", "endSessions ok", "endSessions 59"} {
		want[operation] = anyNumber
	}
	return want
}

func playMongoDB(t *testing.T, s service) map[string]int {
	client := mongoClient(t, s)
	ctx := context.Background()
	db := client.Database("shop")
	users, key := db.Collection("users"), func(i int) bson.D { return bson.D{{Key: "_id", Value: i}} }
	const n = 300
	for i := range n {
		document := bson.D{{Key: "_id", Value: i}, {Key: secret, Value: secret}}
		_, err := users.InsertOne(ctx, document)
		require.NoError(t, err)
		_, err = users.InsertOne(ctx, document)
		require.True(t, mongo.IsDuplicateKeyError(err), "%v", err)
		require.NoError(t, users.FindOne(ctx, key(i)).Err())
		_, err = users.UpdateOne(ctx, key(i), bson.D{{Key: "$set", Value: bson.D{{Key: "text", Value: secret}}}})
		require.NoError(t, err)
		require.Error(t, db.RunCommand(ctx, bson.D{{Key: secret, Value: secret}}).Err())
	}
	cursor, err := users.Find(ctx, bson.D{}, options.Find().SetBatchSize(n/5))
	require.NoError(t, err)
	require.NoError(t, cursor.All(ctx, &[]bson.D{}))
	require.NoError(t, client.Disconnect(ctx))
	return mongoGreetings(map[string]int{"insert users ok": n, "insert users 11000": n, "find users ok": n + 1, "update users ok": n, "~other 59": n, "getMore users ok": 5})
}

// kafkaService runs the broker of franz-go with the topics orders and parcels.
func kafkaService(t testing.TB) service {
	s, path := installed(t, moduleProgram(t, "kfake"))
	serve(t, s.dir, exec.Command(path, "-listen", s.address, "-password", secret, "-topics", "orders,parcels"))
	return s
}

func kafkaClient(t testing.TB, s service, with ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.address), kgo.ClientID(filepath.Base(s.workload)), kgo.SASL(plain.Auth{User: "user", Pass: secret}.AsMechanism()), kgo.DisableClientMetrics(),
		kgo.DisableIdempotentWrite(), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxProduceRequestsInflightPerBroker(1),
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

// topicID asks for the number of orders.
func topicID(t *testing.T, client *kgo.Client) [16]byte {
	t.Helper()
	metadata, topic, name := kmsg.NewPtrMetadataRequest(), kmsg.NewMetadataRequestTopic(), "orders"
	topic.Topic = &name
	metadata.Topics = append(metadata.Topics, topic)
	answer, err := client.Broker(0).Request(t.Context(), metadata)
	require.NoError(t, err)
	return answer.(*kmsg.MetadataResponse).Topics[0].TopicID
}

func playKafka(t *testing.T, s service) map[string]int {
	client, silent := kafkaClient(t, s, kgo.RequiredAcks(kgo.LeaderAck())), kafkaClient(t, s, kgo.RequiredAcks(kgo.NoAck()))
	id := topicID(t, client)
	const n = 300
	for i := range n {
		produce(t, client, "orders")
		produce(t, silent, "parcels")
		fetchFrom(t, client, id, int64(i))
		fetchFrom(t, client, id, 1e9)
	}
	client.Close()
	silent.Close()
	return kafkaGreetings(map[string]int{"Produce orders ok": n, "Produce parcels ok": n, "Fetch orders ok": n, "Fetch orders OFFSET_OUT_OF_RANGE": n})
}

// TestMongoDBAndKafkaOfOlderConnections starts vetch when the connections are open and in use.
func TestMongoDBAndKafkaOfOlderConnections(t *testing.T) {
	database, broker := mongoService(t).await(t), kafkaService(t).await(t)
	db := mongoClient(t, database)
	ping := func() {
		require.NoError(t, db.Database("shop").RunCommand(t.Context(), bson.D{{Key: "ping", Value: 1}}).Err())
	}
	producer := kafkaClient(t, broker, kgo.RequiredAcks(kgo.LeaderAck()))
	ping()
	produce(t, producer, "orders")
	topicID(t, producer)
	var watchers []*vetch
	for _, hook := range hooks() {
		watchers = append(watchers, watch(t, settings{hook: hook}))
	}
	for range 5 { // the first calls of such a connection are spent on finding that it is not HTTP, and how many is not the same at both ends
		ping()
		topicID(t, producer)
		produce(t, producer, "parcels")
	}
	asked := func(v *vetch, protocol string, s service) float64 {
		return v.mustRead(t).by("vetch_edge_requests_total", labels{"server": s.workload, "port": s.port(), "protocol": protocol}, "code")["ok"]
	}
	before := map[*vetch][2]float64{}
	for _, v := range watchers {
		require.NoError(t, poll(t.Context(), func() error {
			now := [2]float64{asked(v, "mongodb", database), asked(v, "kafka", broker)}
			if was := before[v]; now != was || now[0] == 0 || now[1] == 0 {
				before[v] = now
				time.Sleep(3 * pollInterval)
				return fmt.Errorf("%v, then %v", was, now)
			}
			return nil
		}), "%s hook", v.hook)
	}
	const n = 200
	for i := range n {
		_, err := db.Database("shop").Collection("users").InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}, {Key: secret, Value: secret}})
		require.NoError(t, err)
		produce(t, producer, "orders")
	}
	for _, v := range watchers {
		require.NoError(t, poll(t.Context(), func() error {
			s := v.mustRead(t)
			inserted := s.by("vetch_workload_requests_total", labels{"workload": database.workload, "protocol": "mongodb"}, "route", "code")["insert users ok"]
			produced := s.by("vetch_workload_requests_total", labels{"workload": broker.workload, "protocol": "kafka"}, "route", "code")["Produce orders ok"]
			edges := [2]float64{asked(v, "mongodb", database) - before[v][0], asked(v, "kafka", broker) - before[v][1]}
			if inserted != n || produced != n || edges != [2]float64{n, n} {
				return fmt.Errorf("inserted %v, produced %v at the serving ends, on the edges %v more; want %d", inserted, produced, edges, n)
			}
			return nil
		}), "%s hook", v.hook)
		requireNoSecret(t, v)
	}
	require.NoError(t, db.Disconnect(t.Context()))
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
