package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

const (
	blockRows = 1000
	stateType = "AggregateFunction(uniq, String)"
	stateSize = 250
)

// columns are what a table has: types that are laid out in all the ways that there are.
func columns(value string) []proto.InputColumn {
	id, name := &proto.ColUInt64{}, &proto.ColStr{}
	tags, kind := new(proto.ColStr).Array(), new(proto.ColStr).LowCardinality()
	age, times := new(proto.ColUInt8).Nullable(), proto.NewMap[string, uint64](new(proto.ColStr), new(proto.ColUInt64))
	kinds := proto.NewArray(new(proto.ColStr).LowCardinality())
	if value != "" {
		for i := range blockRows {
			id.Append(uint64(i))
			name.Append(strings.Repeat(value, i%20))
			tags.Append([]string{value, "", value}[:i%4])
			kind.Append([]string{value, "a", "b"}[i%3])
			age.Append(proto.NewNullable(uint8(i)))
			times.Append(map[string]uint64{value: 1, "b": 2})
			kinds.Append([]string{value, "a", "b"}[:i%4])
		}
	}
	return []proto.InputColumn{{Name: "id", Data: id}, {Name: "name", Data: name}, {Name: "tags", Data: tags}, {Name: "kind", Data: kind}, {Name: "age", Data: age}, {Name: "times", Data: times}, {Name: "kinds", Data: kinds}}
}

// serve answers until it cannot listen any more; with a configuration, in TLS.
func serve(address string, encrypting *tls.Config) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if encrypting != nil {
		listener = tls.NewListener(listener, encrypting)
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			s := session{conn: conn, r: proto.NewReader(conn), zip: compress.NewWriter(compress.LevelZero, compress.LZ4)}
			if err := s.talk(); err != nil && !errors.Is(err, io.EOF) {
				fmt.Println("error:", err)
			}
		}()
	}
}

// session is one connection.
type session struct {
	conn     net.Conn
	r        *proto.Reader
	out      proto.Buffer
	revision int
	value    string // the password, which rows are made of
	zip      *compress.Writer
	zipped   bool
}

func (s *session) flush() error {
	_, err := s.conn.Write(s.out.Buf)
	s.out.Reset()
	return err
}

func (s *session) talk() error {
	var hello proto.ClientHello
	if code, err := s.r.UVarInt(); err != nil || proto.ClientCode(code) != proto.ClientCodeHello {
		return fmt.Errorf("no Hello: %w", err)
	}
	if err := hello.Decode(s.r); err != nil {
		return err
	}
	s.revision, s.value = min(hello.ProtocolVersion, proto.Version), hello.Password
	welcome := proto.ServerHello{Name: "ClickHouse", Major: 23, Minor: 2, Revision: proto.Version, Timezone: "UTC", DisplayName: s.value}
	welcome.EncodeAware(&s.out, s.revision)
	if err := s.flush(); err != nil {
		return err
	}
	if proto.FeatureAddendum.In(s.revision) {
		if _, err := s.r.Str(); err != nil {
			return err
		}
	}
	for {
		code, err := s.r.UVarInt()
		if err != nil {
			return err
		}
		switch proto.ClientCode(code) {
		case proto.ClientCodePing:
			proto.ServerCodePong.Encode(&s.out)
		case proto.ClientCodeQuery:
			var q proto.Query
			if err := q.DecodeAware(s.r, s.revision); err != nil {
				return err
			}
			s.zipped = q.Compression == proto.CompressionEnabled
			if err := s.answer(q.Body); err != nil {
				return err
			}
		default:
			return fmt.Errorf("packet %d", code)
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

func (s *session) answer(query string) error {
	if _, err := s.data(false); err != nil { // the block that ends the tables that come with a query
		return err
	}
	switch {
	case strings.HasPrefix(query, "INSERT"):
		return s.insert()
	case strings.Contains(query, "states"):
		return s.refuse()
	}
	for _, rows := range []string{"", s.value, s.value} { // the first block only tells the columns
		if err := s.send(proto.ServerCodeData, s.zipped, columns(rows)); err != nil {
			return err
		}
		proto.ServerCodeProgress.Encode(&s.out)
		proto.Progress{Rows: 5, Bytes: 5, TotalRows: 5, ElapsedNs: 5}.EncodeAware(&s.out, s.revision)
		if err := s.flush(); err != nil {
			return err
		}
	}
	if err := s.events(); err != nil {
		return err
	}
	proto.Profile{Rows: 5, Blocks: 5, Bytes: 5}.EncodeAware(&s.out, s.revision)
	proto.ServerCodeEndOfStream.Encode(&s.out)
	return nil
}

// insert says what the columns are and takes blocks until an empty one.
func (s *session) insert() error {
	proto.TableColumns{First: "visits", Second: "columns format version: 1\n1 columns:\n`id` UInt64\n"}.EncodeAware(&s.out, s.revision)
	if err := s.send(proto.ServerCodeData, s.zipped, []proto.InputColumn{{Name: "id", Data: &proto.ColUInt64{}}}); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	for {
		rows, err := s.data(true)
		if err != nil {
			return err
		}
		if rows == 0 {
			proto.ServerCodeEndOfStream.Encode(&s.out)
			return nil
		}
	}
}

// refuse sends a block with the state of an aggregation, which only ClickHouse itself can read, and then an exception.
func (s *session) refuse() error {
	var block proto.Buffer
	proto.BlockInfo{BucketNum: -1}.Encode(&block)
	for _, n := range []int{1, 2} {
		block.PutInt(n)
	}
	block.PutString("state")
	block.PutString(stateType)
	if proto.FeatureCustomSerialization.In(s.revision) {
		block.PutBool(false)
	}
	block.PutRaw(bytes.Repeat([]byte{5}, 2*stateSize))
	proto.ServerCodeData.Encode(&s.out)
	s.out.PutString("")
	if err := s.put(block.Buf, s.zipped); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	proto.ServerCodeException.Encode(&s.out)
	e := proto.Exception{Code: 241, Name: "DB::Exception", Message: "DB::Exception: memory limit exceeded for " + s.value, Stack: strings.Repeat("0. "+s.value+"\n", 50)}
	e.EncodeAware(&s.out, s.revision)
	return nil
}

// events sends what the server counted.
func (s *session) events() error {
	host, now, thread := &proto.ColStr{}, &proto.ColDateTime{}, &proto.ColUInt64{}
	kind, name, count := &proto.ColEnum8{}, &proto.ColStr{}, &proto.ColInt64{}
	for i := range 20 {
		host.Append("host")
		now.AppendRaw(proto.DateTime(i))
		thread.Append(1)
		kind.Append(1)
		name.Append("event")
		count.Append(5)
	}
	return s.send(proto.ServerProfileEvents, false, []proto.InputColumn{{Name: "host_name", Data: host}, {Name: "current_time", Data: now}, {Name: "thread_id", Data: thread},
		{Name: "type", Data: kind}, {Name: "name", Data: name}, {Name: "value", Data: count}})
}

// send sends a block.
func (s *session) send(code proto.ServerCode, zipped bool, input []proto.InputColumn) error {
	var block proto.Buffer
	b := proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: len(input), Rows: input[0].Data.Rows()}
	if err := b.EncodeBlock(&block, s.revision, input); err != nil {
		return err
	}
	code.Encode(&s.out)
	s.out.PutString("")
	return s.put(block.Buf, zipped)
}

func (s *session) put(block []byte, zipped bool) error {
	if !zipped {
		s.out.PutRaw(block)
		return nil
	}
	if err := s.zip.Compress(block); err != nil {
		return err
	}
	s.out.PutRaw(s.zip.Data)
	return nil
}

// data reads a packet of data and says how many rows it had.
func (s *session) data(full bool) (int, error) {
	if code, err := s.r.UVarInt(); err != nil || proto.ClientCode(code) != proto.ClientCodeData {
		return 0, fmt.Errorf("packet %d, %w", code, err)
	}
	if _, err := s.r.Str(); err != nil {
		return 0, err
	}
	if s.zipped {
		s.r.EnableCompression()
		defer s.r.DisableCompression()
	}
	var target proto.Result
	if full {
		target = proto.Results{{Name: "id", Data: &proto.ColUInt64{}}}
	}
	var b proto.Block
	err := b.DecodeBlock(s.r, s.revision, target)
	return b.Rows, err
}
