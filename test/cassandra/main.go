// Command cassandra is a server of CQL's native protocol by go-cassandra-native-protocol, which keeps nothing and answers by the statement, and a client
// by gocql. It is a module of its own because gocql needs older versions of libraries than vetch.
//
//	cassandra serve 127.0.0.1:9042 [127.0.0.1:9142 FOLDER]
//	cassandra ask 127.0.0.1:9042 plain|FOLDER VALUE VERSION COMPRESSION
//
// The second address is for TLS, in which the client trusts everybody. "ask" goes by package dialogue. COMPRESSION is none, lz4 or snappy.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"github.com/apache/cassandra-gocql-driver/v2/snappy"
	"github.com/datastax/go-cassandra-native-protocol/client"
	"github.com/datastax/go-cassandra-native-protocol/datatype"
	"github.com/datastax/go-cassandra-native-protocol/frame"
	"github.com/datastax/go-cassandra-native-protocol/message"
	"github.com/datastax/go-cassandra-native-protocol/primitive"
	"github.com/datastax/go-cassandra-native-protocol/segment"
	"github.com/rs/zerolog"

	"github.com/vetch-dev/vetch/test/dialogue"
)

func main() {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cassandra:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "serve":
		return dialogue.Serve(args[1:], serve)
	case len(args) == 6 && args[0] == "ask":
		version, err := strconv.Atoi(args[4])
		if err != nil {
			return err
		}
		return ask(args[1], args[3], version, args[5], args[2] != "plain")
	}
	return errors.New("usage: cassandra serve ADDRESS [ADDRESS FOLDER] | cassandra ask ADDRESS plain|FOLDER VALUE VERSION COMPRESSION")
}

// large is what a row of blobs holds: more than a segment of version 5, half of it not to be compressed.
var large = func() []byte {
	b := make([]byte, 150_000)
	rand.New(rand.NewSource(1)).Read(b)
	return append(b, bytes.Repeat([]byte("abc"), 50_000)...)
}()

func serve(address string, config *tls.Config) error {
	server, shop := client.NewCqlServer(address, nil), &shop{prepared: map[string]string{}}
	server.TLSConfig = config
	server.RequestHandlers = []client.RequestHandler{options, client.NewDriverConnectionInitializationHandler("vetch", "dc1", func(string) {}), shop.answer}
	server.RequestRawHandlers = []client.RawRequestHandler{shop.answerInSegments}
	if err := server.Start(context.Background()); err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := server.AcceptAny()
		if err != nil {
			if strings.Contains(err.Error(), "timed out") { // it waits for a minute
				continue
			}
			return err
		}
		go func() { // the handlers answer; what they got stands in a queue too
			for {
				if _, err := conn.Receive(); err != nil && conn.IsClosed() {
					return
				}
			}
		}()
	}
}

// shop answers statements by what they look like.
type shop struct {
	mu       sync.Mutex
	prepared map[string]string // statements by their identifiers
}

// options offers what clients may compress by: the library itself offers nothing, and clients then do without. In version 5 it compresses twice, so nothing is offered there.
func options(request *frame.Frame, _ *client.CqlServerConnection, _ client.RequestHandlerContext) *frame.Frame {
	if _, ok := request.Body.Message.(*message.Options); !ok || request.Header.Version == primitive.ProtocolVersion5 {
		return nil
	}
	return frame.NewFrame(request.Header.Version, request.Header.StreamId, &message.Supported{Options: map[string][]string{"CQL_VERSION": {"3.4.5"}, "COMPRESSION": {"LZ4", "SNAPPY"}}})
}

func (s *shop) answer(request *frame.Frame, _ *client.CqlServerConnection, _ client.RequestHandlerContext) *frame.Frame {
	version, stream := request.Header.Version, request.Header.StreamId
	switch m := request.Body.Message.(type) {
	case *message.Query:
		return frame.NewFrame(version, stream, result(m.Query))
	case *message.Prepare:
		return frame.NewFrame(version, stream, s.prepare(m.Query))
	case *message.Execute:
		s.mu.Lock()
		statement, known := s.prepared[string(m.QueryId)]
		s.mu.Unlock()
		if !known {
			return frame.NewFrame(version, stream, &message.Unprepared{ErrorMessage: "who is that?", Id: m.QueryId})
		}
		return frame.NewFrame(version, stream, result(statement))
	case *message.Batch:
		return frame.NewFrame(version, stream, &message.VoidResult{})
	}
	return nil
}

// answerInSegments answers in version 5: the library itself makes only one segment of an answer, however large, and writes its head byte by byte.
func (s *shop) answerInSegments(request *frame.Frame, conn *client.CqlServerConnection, ctx client.RequestHandlerContext) []byte {
	switch m := request.Body.Message.(type) {
	case *message.Query:
		if strings.Contains(m.Query, "system") { // it knows those tables
			return nil
		}
	}
	if request.Header.Version != primitive.ProtocolVersion5 {
		return nil
	}
	answer := s.answer(request, conn, ctx)
	if answer == nil {
		return nil
	}
	var envelope, segments bytes.Buffer
	if err := frame.NewCodec().EncodeFrame(answer, &envelope); err != nil {
		return nil
	}
	codec := segment.NewCodec()
	whole := envelope.Len() <= segment.MaxPayloadLength
	for envelope.Len() > 0 {
		part := &segment.Segment{Header: &segment.Header{IsSelfContained: whole}, Payload: &segment.Payload{UncompressedData: envelope.Next(segment.MaxPayloadLength)}}
		if err := codec.EncodeSegment(part, &segments); err != nil {
			return nil
		}
	}
	return segments.Bytes()
}

func (s *shop) prepare(statement string) message.Message {
	if strings.Contains(statement, "nothing") {
		return &message.Invalid{ErrorMessage: "unconfigured table nothing"}
	}
	id := md5.Sum([]byte(statement))
	s.mu.Lock()
	s.prepared[string(id[:])] = statement
	s.mu.Unlock()
	answer := &message.PreparedResult{PreparedQueryId: id[:], ResultMetadataId: id[:], VariablesMetadata: &message.VariablesMetadata{}, ResultMetadata: &message.RowsMetadata{}}
	for range strings.Count(statement, "?") {
		answer.VariablesMetadata.Columns = append(answer.VariablesMetadata.Columns, &message.ColumnMetadata{Keyspace: "shop", Table: "users", Name: "name", Type: datatype.Varchar})
	}
	if strings.HasPrefix(statement, "SELECT") {
		answer.ResultMetadata = rowsOf(statement).Metadata
	}
	return answer
}

func rowsOf(statement string) *message.RowsResult {
	value := []byte("a row")
	if strings.Contains(statement, "blobs") {
		value = large
	}
	return &message.RowsResult{
		Metadata: &message.RowsMetadata{ColumnCount: 1, Columns: []*message.ColumnMetadata{{Keyspace: "shop", Table: "users", Name: "name", Type: datatype.Varchar}}},
		Data:     message.RowSet{message.Row{value}},
	}
}

func result(statement string) message.Message {
	switch {
	case strings.HasPrefix(statement, "SELECT"):
		return rowsOf(statement)
	case strings.Contains(statement, "carts"):
		return &message.Unavailable{ErrorMessage: "not enough replicas", Consistency: primitive.ConsistencyLevelQuorum, Required: 2, Alive: 1}
	}
	return &message.VoidResult{}
}

func ask(address, value string, version int, compression string, encrypted bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	cluster := gocql.NewCluster(host)
	if cluster.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	cluster.ProtoVersion = version
	cluster.NumConns = 2
	cluster.DisableInitialHostLookup = true
	cluster.ReconnectInterval = 0
	cluster.Timeout, cluster.ConnectTimeout = 20*time.Second, 20*time.Second
	cluster.Metadata.CacheMode = gocql.Disabled // it would wait 10 s for servers to agree
	cluster.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: 0}
	if encrypted {
		cluster.SslOpts = &gocql.SslOptions{Config: &tls.Config{InsecureSkipVerify: true}}
	}
	switch compression {
	case "lz4":
		cluster.Compressor = loud{lz4.LZ4Compressor{}}
	case "snappy":
		cluster.Compressor = loud{snappy.SnappyCompressor{}}
	}
	session, err := cluster.CreateSession()
	if err != nil {
		return err
	}
	// The session is left open: to close it takes 10 s, and the end of the program does it too.
	return dialogue.Ask(os.Stdin, os.Stdout, func(n int) error { return rounds(session, value, n) })
}

// loud writes the name of a compression as go-cassandra-native-protocol does.
type loud struct{ gocql.Compressor }

func (l loud) Name() string { return strings.ToUpper(l.Compressor.Name()) }

// rounds makes n rounds, eight at a time, so that requests of one connection wait at once.
func rounds(session *gocql.Session, value string, n int) error {
	failed := make(chan error, n)
	limit := make(chan struct{}, 8)
	var all sync.WaitGroup
	for range n {
		limit <- struct{}{}
		all.Go(func() {
			if err := round(session, value); err != nil {
				failed <- err
			}
			<-limit
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// round asks once for everything: three rows, two statements that fail, two batches, a statement that is not prepared, and a large row.
func round(session *gocql.Session, value string) error {
	for range 3 {
		var name string
		if err := session.Query("SELECT name FROM shop.users WHERE name = ?", value).Scan(&name); err != nil || name != "a row" {
			return fmt.Errorf("SELECT: %q, %w", name, err)
		}
	}
	var refused *gocql.RequestErrUnavailable
	if err := session.Query("INSERT INTO shop.carts (name) VALUES (?)", value).Exec(); !errors.As(err, &refused) {
		return fmt.Errorf("INSERT gave %w", err)
	}
	if err := session.Query("UPDATE shop.nothing SET name = '" + value + "'").Exec(); err == nil {
		return errors.New("UPDATE was done")
	}
	batch := session.Batch(gocql.LoggedBatch)
	batch.Query("INSERT INTO shop.users (name) VALUES (?)", value)
	batch.Query("DELETE FROM shop.carts WHERE name = ?", value)
	if err := batch.Exec(); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	text := session.Batch(gocql.UnloggedBatch)
	text.Query("DELETE FROM shop.orders WHERE name = '" + value + "'")
	if err := text.Exec(); err != nil {
		return fmt.Errorf("batch of text: %w", err)
	}
	if err := session.Query("TRUNCATE shop.users").Exec(); err != nil {
		return fmt.Errorf("TRUNCATE: %w", err)
	}
	var blob string
	if err := session.Query("SELECT name FROM shop.blobs").Scan(&blob); err != nil || len(blob) != len(large) {
		return fmt.Errorf("blob of %d bytes: %w", len(blob), err)
	}
	return nil
}
