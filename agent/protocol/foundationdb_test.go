package protocol

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// There is no server to be had for the tests: all bytes here are made by hand, by the documents and sources that FoundationDB names.

const fdb73 = 0x0fdb00b073000000

// fdbHello is a connect packet of version 7: length, version, port, number, IPv4, flags, IPv6.
func fdbHello(version uint64) string {
	b := binary.LittleEndian.AppendUint32(nil, 40)
	b = binary.LittleEndian.AppendUint64(b, version)
	return string(append(b, make([]byte, 32)...))
}

// fdbPack puts length, checksum and token around a message.
func fdbPack(sum int, message string) string {
	token := "\xa1\xb2\xc3\xd4\xe5\xf6\x07\x18\x09\x00\x00\x00\xde\xad\xbe\xef"
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(token)+len(message)))
	return string(b) + strings.Repeat("\x5a", sum) + token + message
}

// fdbReply is an answer as the sources lay it out: root and identifier, the vtables, the table of the answer, and what it leads to.
func fdbReply(id uint32, tag byte, code uint16, tail string) string {
	b := binary.LittleEndian.AppendUint32(nil, 24)
	b = binary.LittleEndian.AppendUint32(b, fdbAnswer<<24|id)
	b = append(b, 8, 0, 9, 0, 8, 0, 4, 0)                    // at 8: 8 bytes of vtable, 9 of table; the tag at 8, the value at 4
	b = append(b, 6, 0, 6, 0, 4, 0, 0, 0)                    // at 16: 6 bytes of vtable, 6 of table; the code at 4
	b = binary.LittleEndian.AppendUint32(b, 24-8)            // at 24: the table; how far its vtable is before it
	b = binary.LittleEndian.AppendUint32(b, 8)               // at 28: the value is 8 further
	b = append(b, tag, 0, 0, 0)                              // at 32
	b = binary.LittleEndian.AppendUint32(b, 36-16)           // at 36: the value's table
	b = append(binary.LittleEndian.AppendUint16(b, code), 0) // at 40
	return string(b) + tail
}

func fdbRequest(id uint32) string {
	b := binary.LittleEndian.AppendUint32(nil, 8)
	b = binary.LittleEndian.AppendUint32(b, id)
	return string(b) + "hunter2, and whatever else"
}

func TestFoundationDBExchanges(t *testing.T) {
	hello := fdbHello(fdb73)
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"connect", []string{hello, hello}, []string{"connect: ok"}},
		{"another flag and patch", []string{fdbHello(0x1fdb00b073000001), hello}, []string{"connect: ok"}},
		{"incompatible", []string{hello, fdbHello(0x0fdb00b063010001)}, []string{"connect: incompatible!"}},
		{"nobody answers", []string{hello}, []string{"connect: !cut"}},
		{"answers", []string{hello + fdbPack(8, fdbRequest(838566)) + fdbPack(8, fdbRequest(8454530)) + fdbPack(8, fdbRequest(93948)),
			hello + fdbPack(8, fdbReply(15709388, 2, 0, "")) + fdbPack(8, fdbReply(1378929, 2, 0, "hunter2")) + fdbPack(8, fdbReply(14254927, 1, 1020, ""))},
			[]string{"connect: ok", "GetReadVersion: ok~", "GetValue: ok~", "Commit: 1020!~"}},
		{"before 7.1", []string{fdbHello(0x0fdb00b063010001), fdbHello(0x0fdb00b063010001) + fdbPack(4, fdbReply(1783066, 2, 0, "hunter2")) + fdbPack(4, fdbReply(11226513, 1, 1009, ""))},
			[]string{"connect: ok", "GetKeyValues: ok~", "GetKey: 1009!~"}},
		{"large", []string{hello, hello + fdbPack(8, fdbReply(1783066, 2, 0, strings.Repeat("hunter2", 100000))) + fdbPack(8, fdbReply(1378929, 2, 0, ""))}, []string{"connect: ok", "GetKeyValues: ok~", "GetValue: ok~"}},
		{"unknown kinds", []string{hello, hello + fdbPack(8, fdbReply(77, 2, 0, "")) + fdbPack(8, fdbReply(1378929, 9, 0, ""))}, []string{"connect: ok", "~other: ok~", "GetValue: ~other~"}},
		{"the server asks", []string{hello + fdbPack(8, fdbReply(2010442, 2, 0, "")), hello + fdbPack(8, fdbRequest(4707015))}, []string{"callback Void: ok~", "connect: ok"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			for _, n := range []int{1 << 20, 1, 2, 3, 7, 50} {
				f := talkThrough(t, FoundationDB(), talkPieces(chunks, n))
				require.Empty(t, f.errors)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestFoundationDBHostile(t *testing.T) {
	hello := fdbHello(fdb73)
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", hello + "\x00\x00\x00\x00", hello + "\xff\xff\xff\xff", hello + fdbPack(8, "\xff\xff\xff\xff\x01\x00\x00\x00"), hello + fdbPack(8, "\x08\x00\x00\x00\x00\x00\x00\x00"),
	} {
		require.NotEmpty(t, talkThrough(t, FoundationDB(), turns(text+strings.Repeat("\x00", 40))).errors, "%.60q", text)
	}
	for i := range 44 { // a vtable that leads nowhere
		reply := []byte(fdbReply(1378929, 1, 1020, ""))
		if i < 8 || i >= len(reply) {
			continue
		}
		reply[i] ^= 0xff
		f := talkThrough(t, FoundationDB(), turns(hello, hello+fdbPack(8, string(reply))))
		require.Empty(t, f.errors)
		require.Len(t, f.exchanges, 2)
	}
}

func TestFoundationDBResync(t *testing.T) {
	p := FoundationDB().New()
	require.False(t, p.Resync(FromServer, []byte(fdbPack(8, fdbReply(77, 2, 0, "")))))
	require.False(t, p.Resync(FromServer, []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")))
	reply := fdbPack(8, fdbReply(1378929, 2, 0, ""))
	require.True(t, p.Resync(FromServer, []byte(reply)))
	var got []Exchange
	n, _, err := p.Feed(FromServer, []byte(reply), 1, func(e Exchange) { got = append(got, e) })
	require.NoError(t, err)
	require.Equal(t, len(reply), n)
	require.Len(t, got, 1)
}

func TestFoundationDBDetect(t *testing.T) {
	hello := fdbHello(fdb73)
	for n := range 12 {
		require.Equal(t, Maybe, FoundationDB().Detect(FromClient, []byte(hello[:n])), "first %d bytes", n)
	}
	for text, want := range map[string]Verdict{
		hello: Yes, hello[:12]: Yes, fdbHello(0x1fdb00b070010001): Yes, fdbHello(0x0fdb00a444020001): Yes, fdbHello(0x0fda00b073000000): No,
		"\x28\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00": No, // MongoDB
		"\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x00":                 No, // ZooKeeper
		"GET / HTTP/1.1\r\n": No, "\x16\x03\x01\x02\x00\x01": No,
	} {
		assert.Equal(t, want, FoundationDB().Detect(FromClient, []byte(text)), "%q", text)
		assert.Equal(t, want, FoundationDB().Detect(FromServer, []byte(text)), "%q", text)
	}
}

// What has no recordings is not taken for another protocol either.
func TestFirstPacketsAreToldApart(t *testing.T) {
	for name, text := range map[string]string{"foundationdb": fdbHello(fdb73), "zookeeper": zooHello} {
		for _, p := range Table() {
			for n := 1; n <= len(text) && p.Name != name; n++ {
				require.NotEqual(t, Yes, p.Detect(FromClient, []byte(text[:n])), "%s taken for %s: first %d bytes", name, p.Name, n)
				require.NotEqual(t, Yes, p.Detect(FromServer, []byte(text[:n])), "%s taken for %s: first %d bytes", name, p.Name, n)
			}
		}
	}
}

func FuzzFoundationDB(f *testing.F) {
	hello := fdbHello(fdb73)
	f.Add([]byte(hello+fdbPack(8, fdbRequest(8454530))), []byte(hello+fdbPack(8, fdbReply(1378929, 1, 1020, ""))), []byte{5, 200, 17})
	f.Add([]byte(hello+fdbPack(4, fdbRequest(8454530))), []byte(hello+fdbPack(4, fdbReply(1783066, 2, 0, "x"))), []byte{255, 254, 3})
	fuzzConn(f, FoundationDB())
}
