package protocol

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// startFerretDB builds and runs a server.
func startFerretDB(t testing.TB) string {
	program, dir, address := filepath.Join(t.TempDir(), "ferretdb"), t.TempDir(), "127.0.0.1:"+loopbackPort(t)
	build := exec.Command("go", "build", "-C", "../../test/ferretdb", "-o", program, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(program, "-listen", address, "-dir", dir)
	cmd.Dir = dir
	startCommand(t, address, cmd)
	return address
}

// mongoClient connects without following the topology, so that only one connection speaks beside those of the monitor.
func mongoClient(t testing.TB, address string, compressors ...string) *mongo.Client {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + address + "/?directConnection=true").SetMaxPoolSize(1).SetRetryReads(false).
		SetRetryWrites(false).SetCompressors(compressors).SetAppName("mark").SetServerMonitoringMode("poll").SetHeartbeatInterval(time.Minute))
	require.NoError(t, err)
	return client
}

// playMongoDB does each kind of operation n times.
func playMongoDB(t testing.TB, client *mongo.Client, n int) {
	ctx := context.Background()
	users := client.Database("shop").Collection("users")
	for i := range n {
		_, err := users.InsertOne(ctx, bson.D{{Key: "_id", Value: i}, {Key: "mark", Value: "mark"}})
		require.NoError(t, err)
		_, err = users.InsertOne(ctx, bson.D{{Key: "_id", Value: i}, {Key: "mark", Value: "mark"}})
		require.True(t, mongo.IsDuplicateKeyError(err), "%v", err)
		_, err = users.UpdateOne(ctx, bson.D{{Key: "_id", Value: i}}, bson.D{{Key: "$set", Value: bson.D{{Key: "text", Value: bytes.Repeat([]byte("mark"), 100)}}}})
		require.NoError(t, err)
		require.NoError(t, users.FindOne(ctx, bson.D{{Key: "_id", Value: i}}).Err())
		require.Error(t, client.Database("shop").RunCommand(ctx, bson.D{{Key: "markmark", Value: "mark"}}).Err())
	}
	cursor, err := users.Find(ctx, bson.D{}, options.Find().SetBatchSize(int32(n/5)))
	require.NoError(t, err)
	for cursor.Next(ctx) {
	}
	require.NoError(t, cursor.Err())
	many := make([]any, 200)
	for i := range many {
		many[i] = bson.D{{Key: "mark", Value: bytes.Repeat([]byte{byte(i), 'm', 'a', 'r', 'k'}, 300)}}
	}
	_, err = client.Database("shop").Collection("pictures").InsertMany(ctx, many)
	require.NoError(t, err)
	cursor, err = client.Database("shop").Collection("pictures").Find(ctx, bson.D{}, options.Find().SetBatchSize(1000))
	require.NoError(t, err)
	require.NoError(t, cursor.All(ctx, &[]bson.D{}))
	require.NoError(t, client.Disconnect(ctx))
}

// insertUnacknowledged inserts n times. FerretDB answers all the same, which the client does not expect, so it is done on a connection of its own,
// which is not closed before all was seen: answers that were not read reset it.
func insertUnacknowledged(t testing.TB, x *talkProxy, n int) {
	client := mongoClient(t, x.addr())
	events := client.Database("shop").Collection("events", options.Collection().SetWriteConcern(writeconcern.Unacknowledged()))
	for range n {
		_, err := events.InsertOne(context.Background(), bson.D{{Key: "mark", Value: "mark"}})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		seen := 0
		for _, f := range x.feeders {
			seen += countOutcomes(f.exchanges)["insert events: ok~"]
		}
		return seen == n
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, client.Disconnect(context.Background()))
}

func checkMongoDB(t *testing.T, got map[string]int, n int) {
	for operation, want := range map[string]int{"insert users: ok": n, "insert users: 11000!": n, "update users: ok": n, "find users: ok": n + 1, "getMore users: ok": 5,
		"~other: 59!": n, "insert pictures: ok": 1, "find pictures: ok": 1} {
		assert.Equal(t, want, got[operation], operation)
	}
	assert.GreaterOrEqual(t, got["hello: ok"]+got["isMaster: ok"], 2)
	if t.Failed() {
		t.Log(got)
	}
}

func TestMongoDBServer(t *testing.T) {
	x := startTalkProxy(t, startFerretDB(t), MongoDB())
	playMongoDB(t, mongoClient(t, x.addr()), 20)
	insertUnacknowledged(t, x, 20)
	got := countOutcomes(x.finish())
	checkMongoDB(t, got, 20)
	assert.Equal(t, 20, got["insert events: ok~"])
}

// TestMongoDBServerCompressed has the driver compress. FerretDB cannot, so something between them does it for the server.
func TestMongoDBServerCompressed(t *testing.T) {
	ferret := startFerretDB(t)
	for _, compressor := range []string{"snappy", "zlib", "zstd"} {
		t.Run(compressor, func(t *testing.T) {
			x := startTalkProxy(t, startMongoCompressor(t, ferret, compressor), MongoDB())
			client := mongoClient(t, x.addr(), compressor)
			require.NoError(t, client.Database("shop").Drop(context.Background()))
			playMongoDB(t, client, 20)
			checkMongoDB(t, countOutcomes(x.finish()), 20)
		})
	}
}

// startMongoCompressor stands in front of a server that does not compress, and speaks OP_COMPRESSED for it.
func startMongoCompressor(t *testing.T, target, name string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	id := map[string]byte{"snappy": mongoSnappy, "zlib": mongoZlib, "zstd": mongoZstd}[name]
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			packing := make(chan bool, 1000) // whether the client compressed, for each message that has an answer
			go func() {
				defer server.Close()
				for {
					message, err := readMongoMessage(client)
					if err != nil {
						return
					}
					packed := mongoInt(message, 12) == mongoCompressed
					if packed {
						message = unpackMongo(t, message)
					}
					if mongoInt(message, 12) != mongoMsg || mongoInt(message, 16)&mongoMoreToCome == 0 {
						packing <- packed
					}
					server.Write(message)
				}
			}()
			go func() {
				defer client.Close()
				for {
					message, err := readMongoMessage(server)
					if err != nil {
						return
					}
					if message = offerMongoCompressor(message, name); <-packing {
						message = []byte(mongoPack(t, id, string(message)))
					}
					client.Write(message)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func readMongoMessage(r io.Reader) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(r, size); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(size))
	copy(b, size)
	_, err := io.ReadFull(r, b[4:])
	return b, err
}

// unpackMongo decompresses a whole message, by the libraries alone.
func unpackMongo(t testing.TB, message []byte) []byte {
	var body []byte
	var err error
	switch message[24] {
	case mongoSnappy:
		body, err = snappy.Decode(nil, message[25:])
	case mongoZlib:
		var r io.Reader
		if r, err = zlib.NewReader(bytes.NewReader(message[25:])); err == nil {
			body, err = io.ReadAll(r)
		}
	case mongoZstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(nil); err == nil {
			body, err = d.DecodeAll(message[25:], nil)
			d.Close()
		}
	}
	assert.NoError(t, err)
	return []byte(mongoMessageOf(mongoInt(message, 4), mongoInt(message, 8), mongoInt(message, 16), string(body)))
}

// offerMongoCompressor adds the name of a compressor to an answer to hello.
func offerMongoCompressor(message []byte, name string) []byte {
	at := map[int32]int{mongoMsg: 16 + 5, mongoReply: 16 + 20}[mongoInt(message, 12)]
	var d bson.D
	if bson.Unmarshal(message[at:], &d) != nil {
		return message
	}
	for _, e := range d {
		if e.Key == "ismaster" || e.Key == "isWritablePrimary" {
			changed, err := bson.Marshal(append(d, bson.E{Key: "compression", Value: bson.A{name}}))
			if err != nil {
				return message
			}
			return []byte(mongoMessageOf(mongoInt(message, 4), mongoInt(message, 8), mongoInt(message, 12), string(message[16:at])+string(changed)))
		}
	}
	return message
}

func TestMongoDBRecordings(t *testing.T) { requireSteady(t, MongoDB(), "mark") }
