package protocol

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// flights are what both sides of a TLS connection sent, up to the end of the handshake.
type flights struct{ client, server []byte }

// tap keeps what is written.
type tap struct {
	net.Conn
	sent *bytes.Buffer
}

func (t tap) Write(b []byte) (int, error) {
	t.sent.Write(b)
	return t.Conn.Write(b)
}

func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// shakeHands lets Go's client and server meet.
func shakeHands(t testing.TB, client, server *tls.Config) flights {
	t.Helper()
	var f [2]bytes.Buffer
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := listener.Accept()
	require.NoError(t, err)
	client.InsecureSkipVerify = true
	server.Certificates = []tls.Certificate{testCertificate(t)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn := tls.Server(tap{far, &f[1]}, server)
		_ = conn.Handshake()
		_, _ = io.Copy(io.Discard, conn)
		far.Close()
	}()
	conn := tls.Client(tap{near, &f[0]}, client)
	_ = conn.Handshake() // some are to fail
	_, _ = conn.Write([]byte("inside"))
	near.Close()
	<-done
	return flights{f[0].Bytes(), f[1].Bytes()}
}

// echConfig is a list of one ECHConfig (draft-ietf-tls-esni-18, section 4) for a public name.
func echConfig(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	contents := []byte{7, 0, 0x20, 0, 32}
	contents = append(contents, key.PublicKey().Bytes()...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 32, byte(len(public)))
	contents = append(append(contents, public...), 0, 0)
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(contents)))
	config = append(config, contents...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}

func TestHandshakes(t *testing.T) {
	suites := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	for _, tc := range []struct {
		name           string
		client, server *tls.Config
		want           Handshake
	}{
		{"1.3", &tls.Config{ServerName: "Shop.Example.org"}, &tls.Config{}, Handshake{Version: "1.3", SNI: "shop.example.org", Cipher: "TLS_AES_128_GCM_SHA256"}},
		{
			"1.2", &tls.Config{ServerName: "b.example.org", NextProtos: []string{"h2", "http/1.1", "made up"}, MaxVersion: tls.VersionTLS12, CipherSuites: suites}, &tls.Config{NextProtos: []string{"h2"}},
			Handshake{Version: "1.2", SNI: "b.example.org", ALPN: "h2,http/1.1,~other", Cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
		},
		{"no name", &tls.Config{ServerName: "127.0.0.1"}, &tls.Config{}, Handshake{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256"}},
		{
			"another hello asked for", &tls.Config{ServerName: "a.b", CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP521}}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}},
			Handshake{Version: "1.3", SNI: "a.b", Cipher: "TLS_AES_128_GCM_SHA256"},
		},
		{"refused", &tls.Config{ServerName: "old.example.org", MaxVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS13}, Handshake{Version: "none", SNI: "old.example.org"}},
		{"encrypted hello", &tls.Config{ServerName: "secret.example.org", EncryptedClientHelloConfigList: echConfig(t, "public.example.org")}, &tls.Config{}, Handshake{Version: "1.3", SNI: "public.example.org", Cipher: "TLS_AES_128_GCM_SHA256"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := shakeHands(t, tc.client, tc.server)
			for _, cut := range []int{1, 5, 6, 100, len(f.client)} { // records of the client in pieces of this size
				client := resplit(f.client, cut)
				var h helloReader
				require.False(t, h.read(client, nil))
				require.True(t, h.read(client, f.server))
				got, ok := h.end()
				require.True(t, ok)
				require.Equal(t, tc.want, got, "records of %d bytes", cut)
			}
			for n := range f.client { // it never says anything else
				var h helloReader
				h.read(f.client[:n], nil)
				got, ok := h.end()
				if ok && got.SNI != "" {
					require.Equal(t, tc.want.SNI, got.SNI)
				}
			}
		})
	}
}

// resplit puts the first message of the handshake into records of n bytes.
func resplit(b []byte, n int) []byte {
	body, _, ok := helloBody(b, tlsClientHello)
	if !ok {
		return b
	}
	message := append([]byte{tlsClientHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	var out []byte
	for len(message) > 0 {
		part := message[:min(n, len(message))]
		out = append(append(out, tlsHandshake, 3, 1, byte(len(part)>>8), byte(len(part))), part...)
		message = message[len(part):]
	}
	return out
}

// TestGrease: reserved values (RFC 8701) at every place where a browser puts them.
func TestGrease(t *testing.T) {
	name := "grease.example.org"
	extensions := []byte{0x0a, 0x0a, 0, 0}
	extensions = append(extensions, 0, tlsALPN, 0, 10, 0, 8, 2, 0x1a, 0x1a, 2, 'h', '2', 1, 'x')
	extensions = append(extensions, 0, tlsServerName, 0, byte(len(name)+5), 0, byte(len(name)+3), 0, 0, byte(len(name)))
	extensions = append(append(extensions, name...), 0xfa, 0xfa, 0, 1, 0)
	body := append(append([]byte{3, 3}, make([]byte, 32)...), 0, 0, 4, 0x3a, 0x3a, 0x13, 0x01, 1, 0, byte(len(extensions)>>8), byte(len(extensions)))
	body = append(body, extensions...)
	sni, alpn, ok := clientHello(body)
	require.True(t, ok)
	require.Equal(t, name, sni)
	require.Equal(t, "~other,h2,~other", alpn)
}

func TestServerNames(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"WWW.Example.org.":         "www.example.org",
		"127.0.0.1":                "127.0.0.1",
		"::1":                      "::1",
		"_srv._tcp.example":        "_srv._tcp.example",
		"xn--bcher-kva.example":    "xn--bcher-kva.example",
		"a..b":                     "~other",
		".a":                       "~other",
		"a b":                      "~other",
		"a\"b":                     "~other",
		"bücher.example":           "~other",
		strings.Repeat("a.", 126):  strings.Repeat("a.", 125) + "a",
		strings.Repeat("ab.", 100): "~other",
	} {
		require.Equal(t, want, hostLabel(in), in)
	}
}

// teller tells a Hellos of one connection.
type teller struct {
	hellos *Hellos
	id     StreamID
	pair   uint64
	old    bool
	seq    [2]uint32
}

func newTeller() *teller { return &teller{hellos: NewHellos(), id: StreamID{1, 1}, pair: 7} }

func (w *teller) say(d Direction, b []byte) (Handshake, bool) {
	h, ok := w.hellos.Take(&Piece{Stream: w.id, Pair: w.pair, Seq: w.seq[d], Direction: d, Adopted: w.old, Data: b})
	w.seq[d] += uint32(len(b))
	return h, ok
}

func (w *teller) close() { w.hellos.Take(&Piece{Stream: w.id, Pair: w.pair, Closed: true}) }

func (w *teller) counted(now int64) map[Handshake]uint64 {
	out := map[Handshake]uint64{}
	w.hellos.Drain(now, func(h HandshakeTally) { out[h.Handshake] += h.Count })
	return out
}

// TestHellos: a connection counts once, however its bytes are cut.
func TestHellos(t *testing.T) {
	f := shakeHands(t, &tls.Config{ServerName: "example.org"}, &tls.Config{})
	want := Handshake{Version: "1.3", SNI: "example.org", Cipher: "TLS_AES_128_GCM_SHA256"}
	for _, n := range []int{1, 5, 64, 4096} {
		w := newTeller()
		told := 0
		for d, said := range [][]byte{f.client, f.server} {
			for b := said[:min(len(said), maxHelloBytes)]; len(b) > 0; b = b[min(n, len(b)):] {
				if got, ok := w.say(Direction(d), b[:min(n, len(b))]); ok {
					require.Equal(t, want, got)
					told++
				}
			}
		}
		w.close()
		require.Equal(t, 1, told)
		require.Equal(t, map[Handshake]uint64{want: 1}, w.counted(0), "in pieces of %d", n)
		require.Empty(t, w.hellos.waiting)
	}
}

// TestHellosCutShort: what is known counts when the connection ends, bytes are missing, or nothing more comes. An older connection only says
// that it is TLS.
func TestHellosCutShort(t *testing.T) {
	f := shakeHands(t, &tls.Config{ServerName: "example.org"}, &tls.Config{})
	want := map[Handshake]uint64{{Version: "none", SNI: "example.org"}: 1}

	closed := newTeller()
	closed.say(FromClient, f.client)
	require.Empty(t, closed.counted(0))
	closed.close()
	require.Equal(t, want, closed.counted(0))

	hole := newTeller()
	hole.say(FromClient, f.client)
	hole.say(FromServer, f.server[:20])
	hole.seq[FromServer] += 100
	hole.say(FromServer, f.server[120:200])
	require.Equal(t, want, hole.counted(0))

	silent := newTeller()
	silent.say(FromClient, f.client)
	require.Equal(t, want, silent.counted(int64(helloOverdue)+1))

	old := newTeller()
	old.old = true
	old.say(FromServer, []byte{0x17, 3, 3, 0, 30, 1, 2, 3})
	old.say(FromClient, []byte{0x17, 3, 3, 0, 30, 1, 2, 3})
	require.Equal(t, map[Handshake]uint64{{}: 0}, old.counted(0))

	nobody := newTeller()
	nobody.pair = 0
	nobody.say(FromClient, f.client)
	nobody.close()
	require.Empty(t, nobody.counted(0))
	require.EqualValues(t, 1, nobody.hellos.Stats.Held.Load())
}

// TestHellosAreBounded: handshakes that nobody answers.
func TestHellosAreBounded(t *testing.T) {
	w := newTeller()
	for i := range 2 * maxHellos {
		w.id, w.seq = StreamID{uint64(i), 1}, [2]uint32{}
		for range 5 {
			w.say(FromClient, make([]byte, 1500))
		}
	}
	require.Len(t, w.hellos.waiting, maxHellos)
	require.NotZero(t, w.hellos.Stats.Refused.Load())
	for _, h := range w.hellos.waiting {
		require.LessOrEqual(t, len(h.said[FromClient]), maxHelloBytes)
	}
	for i := range 5 * maxFinished {
		w.hellos.finished.add(StreamID{uint64(i), 2})
	}
	require.LessOrEqual(t, len(w.hellos.finished.young)+len(w.hellos.finished.old), 2*maxFinished)
}

// TestUnknownTakesNoRoom: connections that nobody knows take no room among those that are followed, and are remembered.
func TestUnknownTakesNoRoom(t *testing.T) {
	s := NewStreams(Table())
	for i := range 2 * maxStreams {
		id := StreamID{uint64(i), 1}
		require.Equal(t, Ignore, s.Take(&Piece{Stream: id, Pair: 7, Data: []byte("\xff\xfe\xfd no protocol")}))
		require.Equal(t, Ignore, s.Take(&Piece{Stream: id, Pair: 7, Data: []byte("*1\r\n$4\r\nPING\r\n")}), "it is remembered")
	}
	require.Zero(t, s.Stats.Streams.Load())
	require.Zero(t, s.Stats.Refused.Load())
	require.Zero(t, s.Stats.Bytes.Load())
}

// TestGreetings: a server of mail is followed for a few calls, for it may change to TLS.
func TestGreetings(t *testing.T) {
	s := NewStreams(Table())
	id, seq := StreamID{1, 1}, [2]uint32{}
	say := func(d Direction, text string) Decision {
		got := s.Take(&Piece{Stream: id, Pair: 7, Seq: seq[d], Direction: d, Data: []byte(text)})
		seq[d] += uint32(len(text))
		return got
	}
	require.Equal(t, Keep, say(FromServer, "220 mail ESMTP\r\n"))
	for range detectCalls - 1 {
		require.Equal(t, Keep, say(FromClient, "NOOP\r\n"))
	}
	require.Equal(t, Ignore, say(FromClient, "NOOP\r\n"))
	require.Zero(t, s.Stats.Streams.Load())
}

func FuzzTLSHello(f *testing.F) {
	real := shakeHands(f, &tls.Config{ServerName: "example.org", NextProtos: []string{"h2"}}, &tls.Config{NextProtos: []string{"h2"}})
	f.Add(real.client, real.server[:min(len(real.server), 2000)], uint16(10))
	f.Add(resplit(real.client, 7), real.server[:100], uint16(0))
	f.Fuzz(func(t *testing.T, client, server []byte, cut uint16) {
		var h helloReader
		at := int(cut) % (len(client) + 1)
		if !h.read(client[:at], nil) {
			h.read(client, server)
		}
		got, _ := h.end()
		if got.SNI != handshakeUnknown && hostLabel(got.SNI) != got.SNI || len(got.SNI) > maxServerName || len(got.ALPN) > 100 || len(got.Cipher) > 60 {
			t.Fatalf("label %+v", got)
		}
		w := newTeller()
		w.say(FromClient, client[:at])
		w.say(FromServer, server)
		w.say(FromClient, client[at:])
		w.close()
		if len(w.hellos.waiting) != 0 {
			t.Fatal("it is not done")
		}
	})
}
