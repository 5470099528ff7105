package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/vetch-dev/vetch/agent/protocol"
	"github.com/vetch-dev/vetch/bpf"
)

// said is what one end of a conversation says before the other does.
type said struct {
	from protocol.Direction
	data string
}

// framedTalk is a conversation of large messages.
type framedTalk struct {
	name    string
	framing uint32
	told    bool // the kernel does not find out by itself
	talk    []said
	want    map[string]uint64
	most    float64 // part of the bytes that is shipped when calls are large
}

func resp(words ...string) string {
	out := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		out += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return out
}

func redisTalk() framedTalk {
	value := strings.Repeat("*3\r\n$3\r\nSET\r\n", 400) // what looks like more of them is none
	t := framedTalk{name: "redis", framing: 1, most: 0.1, want: map[string]uint64{"SET ok": 320, "GET ok": 160, "MGET ok": 20, "INCR WRONGTYPE": 20}}
	for range 20 {
		ask, tell := "", ""
		for i := range 16 {
			ask += resp("SET", fmt.Sprintf("key:%d", i), value)
			tell += "+OK\r\n"
		}
		t.talk = append(t.talk, said{protocol.FromClient, ask}, said{protocol.FromServer, tell})
		ask, tell = "", ""
		for i := range 8 {
			ask += resp("GET", "key")
			if i == 3 {
				tell += "$-1\r\n"
			} else {
				tell += fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
			}
		}
		ask += resp("MGET", "a", "b", "c") + resp("INCR", "key")
		tell += fmt.Sprintf("*3\r\n$3\r\nabc\r\n$%d\r\n%s\r\n$-1\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", len(value), value)
		t.talk = append(t.talk, said{protocol.FromClient, ask}, said{protocol.FromServer, tell})
	}
	return t
}

func pgMessage(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

func postgresTalk() framedTalk {
	t := framedTalk{name: "postgres", framing: 2, most: 0.15, want: map[string]uint64{"SELECT things ok": 6, "COPY things ok": 12, "INSERT things 23505": 6}}
	ready := pgMessage('Z', "I")
	startup := "\x00\x03\x00\x00user\x00test\x00\x00"
	t.talk = append(t.talk,
		said{protocol.FromClient, string(binary.BigEndian.AppendUint32(nil, uint32(len(startup)+4))) + startup},
		said{protocol.FromServer, pgMessage('R', "\x00\x00\x00\x00") + pgMessage('S', "a\x00b\x00") + ready})
	row := func(kind byte, n int) string {
		return pgMessage(kind, "\x00\x01\x00\x00\x00\x05"+strings.Repeat("D\x00\x00\x00\x05", n))
	}
	columns := pgMessage('T', "\x00\x01name\x00"+strings.Repeat("\x00", 18))
	for range 6 {
		t.talk = append(t.talk, said{protocol.FromClient, pgMessage('Q', "SELECT name FROM things\x00")},
			said{protocol.FromServer, columns + strings.Repeat(row('D', 3), 1000) + row('D', 5000) + row('D', 1) + pgMessage('C', "SELECT 1002\x00") + ready})
		t.talk = append(t.talk, said{protocol.FromClient, pgMessage('Q', "COPY things TO STDOUT\x00")},
			said{protocol.FromServer, pgMessage('H', "\x00\x00\x01\x00\x00") + strings.Repeat(row('d', 20), 500) + pgMessage('c', "") + pgMessage('C', "COPY 500\x00") + ready})
		t.talk = append(t.talk, said{protocol.FromClient, pgMessage('Q', "COPY things FROM STDIN\x00")}, said{protocol.FromServer, pgMessage('G', "\x00\x00\x01\x00\x00")},
			said{protocol.FromClient, strings.Repeat(row('d', 1600), 20) + pgMessage('c', "")}, said{protocol.FromServer, pgMessage('C', "COPY 20\x00") + ready})
		t.talk = append(t.talk, said{protocol.FromClient, pgMessage('Q', "INSERT INTO things VALUES ('"+strings.Repeat("D\x01\x02\x03", 10000)+"')\x00")},
			said{protocol.FromServer, pgMessage('E', "SERROR\x00C23505\x00Mduplicate\x00D"+strings.Repeat("x", 10000)+"\x00\x00") + ready})
	}
	return t
}

func mysqlTalk() framedTalk {
	t := framedTalk{name: "mysql", framing: 3, most: 0.15, want: map[string]uint64{"SELECT things ok": 6, "INSERT things ok": 6, "SELECT other 1146": 6}}
	seq := byte(0)
	packet := func(body string) string {
		n := len(body)
		seq++
		return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq - 1}) + body
	}
	greeting := packet("\x0a8.0.30\x00\x01\x00\x00\x0012345678\x00\xff\xf7\x21\x02\x00\xff\x81\x15" + strings.Repeat("\x00", 10) + "123456789012\x00mysql_native_password\x00")
	login := packet("\x85\xa2\x3a\x00\x00\x00\x00\x40\x21" + strings.Repeat("\x00", 23) + "test\x00\x00mysql_native_password\x00")
	t.talk = append(t.talk, said{protocol.FromServer, greeting}, said{protocol.FromClient, login}, said{protocol.FromServer, packet("\x00\x00\x00\x02\x00\x00\x00")})
	column := "\x03def\x04shop\x06things\x06things\x04name\x04name\x0c\x21\x00\x00\x01\x00\x00\xfd\x00\x00\x00\x00\x00"
	for range 6 {
		seq = 0
		ask := packet("\x03SELECT name FROM things")
		tell := packet("\x01") + packet(column) + packet("\xfe\x00\x00\x02\x00")
		for i := range 2000 {
			n := []int{4, 60, 240, 3}[i%4]
			tell += packet(string(byte(n)) + strings.Repeat("\xfe", n))
		}
		tell += packet("\xfe\x00\x00\x02\x00")
		t.talk = append(t.talk, said{protocol.FromClient, ask}, said{protocol.FromServer, tell})
		seq = 0
		t.talk = append(t.talk, said{protocol.FromClient, packet("\x03INSERT INTO things VALUES ('" + strings.Repeat("\xfe\x00\x00", 20000) + "')")},
			said{protocol.FromServer, packet("\x00\x01\x00\x02\x00\x00\x00")})
		seq = 0
		t.talk = append(t.talk, said{protocol.FromClient, packet("\x03SELECT * FROM other")}, said{protocol.FromServer, packet("\xff\x7a\x04#42S02no such table")})
	}
	return t
}

func kafkaTalk() framedTalk {
	t := framedTalk{name: "kafka", framing: 4, told: true, most: 1, want: map[string]uint64{"Produce orders ok": 20}}
	for i := range 20 {
		records := strings.Repeat("\x00\x00\x00\x0a", 20000)
		body := "\x00\x00\x00\x03" + string(binary.BigEndian.AppendUint32(nil, uint32(i))) + "\x00\x01c\xff\xff\x00\x01\x00\x00\x03\xe8\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x01\x00\x00\x00\x00" +
			string(binary.BigEndian.AppendUint32(nil, uint32(len(records)))) + records
		answer := string(binary.BigEndian.AppendUint32(nil, uint32(i))) + "\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 16) + "\x00\x00\x00\x00"
		t.talk = append(t.talk, said{protocol.FromClient, string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body},
			said{protocol.FromServer, string(binary.BigEndian.AppendUint32(nil, uint32(len(answer)))) + answer})
	}
	return t
}

func mongoTalk() framedTalk {
	t := framedTalk{name: "mongodb", framing: 5, told: true, most: 1, want: map[string]uint64{"insert things ok": 20}}
	message := func(id, to int, body string) string {
		head := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
		for _, v := range []int{id, to, 2013} {
			head = binary.LittleEndian.AppendUint32(head, uint32(v))
		}
		return string(head) + body
	}
	document := func(body string) string {
		return string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)+5))) + body + "\x00"
	}
	for i := range 20 {
		sequence := "documents\x00" + strings.Repeat(document("\x10a\x00\x01\x00\x00\x00"), 5000)
		section := "\x01" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(sequence)+4))) + sequence
		t.talk = append(t.talk, said{protocol.FromClient, message(i+1, 0, "\x00\x00\x00\x00\x00"+document("\x02insert\x00\x07\x00\x00\x00things\x00\x02$db\x00\x05\x00\x00\x00shop\x00")+section)},
			said{protocol.FromServer, message(i+1000, i+1, "\x00\x00\x00\x00\x00"+document("\x10n\x00\x88\x13\x00\x00\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f"))})
	}
	return t
}

// takeShipped empties the ring into streams and says how many bytes were in it.
func takeShipped(t *testing.T, ring *ringbuf.Reader, role Role, streams *protocol.Streams) (n int) {
	t.Helper()
	ring.SetDeadline(time.Now())
	for {
		raw, err := ring.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		r, ok := decodeRecord(raw.RawSample)
		if err != nil || !ok {
			t.Fatal(err, ok)
		}
		n += len(r.Data)
		d := protocol.FromServer
		if r.Sent == (role == RoleClient) {
			d = protocol.FromClient
		}
		streams.Take(&protocol.Piece{Stream: protocol.StreamID{Socket: r.Socket, Opened: r.Opened}, Pair: r.Pair, At: r.At, Seq: r.Seq, Direction: d, Data: r.Data, Passed: r.Passed})
	}
}

// What the kernel leaves out changes nothing of what is counted, however the bytes are split into calls.
func TestFraming(t *testing.T) {
	testFraming(t, 4<<20, redisTalk(), postgresTalk(), mysqlTalk(), kafkaTalk(), mongoTalk())
}

// Nor does what it leaves out while the ring is short of room.
func TestFramingWithoutRoom(t *testing.T) {
	kafka, mongo := kafkaTalk(), mongoTalk()
	kafka.most, mongo.most = 0.15, 0.15
	testFraming(t, 4, kafka, mongo)
}

func testFraming(t *testing.T, room uint32, talks ...framedTalk) {
	k := loadPartsWith(t, func(spec *ebpf.CollectionSpec) {
		spec.Maps["records"].MaxEntries = 4 << 20
		for name, value := range map[string]any{"ship_streams": uint8(1), "ring_bytes": room} {
			if err := spec.Variables[name].Set(value); err != nil {
				t.Fatal(err)
			}
		}
	})
	ring, err := ringbuf.NewReader(k.coll.Maps["records"])
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	sk := uint64(1 << 22)
	random := rand.New(rand.NewPCG(1, 2))
	for _, talk := range talks {
		for _, role := range []Role{RoleClient, RoleServer} {
			for _, size := range []int{60_000, 16384, 5000, 1400, 600, 100, 0} { // 0: any
				name := fmt.Sprintf("%s, role %d, calls of %d", talk.name, role, size)
				sk++
				c := k.converse(t, sk, role)
				if talk.told {
					if err := k.coll.Maps["verdicts"].Put(sk, &bpf.VetchVerdictT{Protocol: protocolStream, Framing: talk.framing}); err != nil {
						t.Fatal(err)
					}
				}
				streams := protocol.NewStreams(protocol.Table())
				total, shipped := 0, 0
				for _, s := range talk.talk {
					direction := uint32(received)
					if (s.from == protocol.FromClient) == (role == RoleClient) {
						direction = sent
					}
					for data := s.data; len(data) > 0; {
						n := size
						if n == 0 {
							n = 1 + random.IntN(1<<(4+random.IntN(13)))
						}
						n = min(n, len(data))
						if total < 16 {
							n = min(len(data), 128) // what is said first comes in one
						}
						c.say(direction, data[:n])
						data = data[n:]
						total += n
						shipped += takeShipped(t, ring, role, streams)
					}
				}
				got := map[string]uint64{}
				streams.Drain(int64(c.now), func(x *protocol.Tally) { got[x.Operation+" "+x.Status] += x.Count })
				if !maps.Equal(got, talk.want) {
					t.Errorf("%s: counted %v, want %v", name, got, talk.want)
				}
				if missed, desynced := streams.Stats.Missed.Load(), streams.Stats.Desynced.Load(); missed > 0 || desynced > 0 || streams.Stats.Unrecognised.Load() > 0 {
					t.Errorf("%s: missed %d, desynced %d, unrecognised %d", name, missed, desynced, streams.Stats.Unrecognised.Load())
				}
				if part := float64(shipped) / float64(total); size >= 5000 && part > talk.most {
					t.Errorf("%s: %.0f %% shipped, want at most %.0f %%", name, 100*part, 100*talk.most)
				}
				t.Logf("%s: %d of %d bytes shipped", name, shipped, total)
				if conn := c.conn(); conn.Framing != uint8(talk.framing) {
					t.Errorf("%s: framing %d, want %d", name, conn.Framing, talk.framing)
				}
			}
		}
	}
}
