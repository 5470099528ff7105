package protocol

import (
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// dnsAsk is a query for a name, as glibc sends it.
func dnsAsk(id uint16, name string, kind dnsmessage.Type) []byte {
	return dnsBuild(dnsmessage.Header{ID: id, RecursionDesired: true}, name, kind, nil)
}

// dnsSay is a response to dnsAsk.
func dnsSay(id uint16, name string, kind dnsmessage.Type, code dnsmessage.RCode, answers func(*dnsmessage.Builder)) []byte {
	return dnsBuild(dnsmessage.Header{ID: id, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: code}, name, kind, answers)
}

func dnsBuild(h dnsmessage.Header, name string, kind dnsmessage.Type, answers func(*dnsmessage.Builder)) []byte {
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(b.StartQuestions())
	must(b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}))
	if answers != nil {
		must(b.StartAnswers())
		answers(&b)
	}
	out, err := b.Finish()
	must(err)
	return out
}

// framed puts the length before messages.
func framed(messages ...[]byte) string {
	var out []byte
	for _, m := range messages {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
	}
	return string(out)
}

func answerHeader(name string, ttl uint32) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}
}

func TestDNSOperations(t *testing.T) {
	for name, want := range map[string]string{
		"":                                "A .",
		"example.com":                     "A example.com",
		"com":                             "A com",
		"web01":                           "A web01",
		"www.example.com":                 "A www.example.com",
		"k8s.io":                          "A k8s.io",
		"office365.com":                   "A office365.com",
		"s3.us-east-1.amazonaws.com":      "A s3.us-east-1.amazonaws.com",
		"_ldap._tcp.dc._msdcs.corp.lan":   "A _ldap._tcp.dc._msdcs.corp.lan",
		"redis.default.svc.cluster.local": "A redis.default.svc.cluster.local",
		"web-5d8f7c9b6-x2x4z.default.svc.cluster.local":    "A *.default.svc.cluster.local",
		"1.2.0.192.zen.spamhaus.org":                       "A *.zen.spamhaus.org",
		"ip-10-20-30-40.ec2.internal":                      "A *.ec2.internal",
		"ec2-3-4-5-6.compute-1.amazonaws.com":              "A *.compute-1.amazonaws.com",
		"3b241101-e2bb-4255-8caf-4136c566a962.example.com": "A *.example.com",
		"deadbeef01.cafe.example.com":                      "A *.cafe.example.com",
		"pass word.example.com":                            "A *.example.com",
		"x\x00\xff.example.com":                            "A *.example.com",
		strings.Repeat("a", 40) + ".example.com":           "A *.example.com",
		strings.Repeat("abcd.", 30) + "example.com":        "A example.com",
		strings.Repeat("abcd.", 30) + strings.Repeat("verylongdomain", 4) + strings.Repeat("a", 60) + ".com": "A ~other",
		"b\xc3\xbccher.de":         "A *",
		"1.2.0.192.in-addr.arpa":   "A in-addr.arpa",
		"8.b.d.0.1.0.0.2.ip6.arpa": "A ip6.arpa",
		"notin-addr.arpa":          "A notin-addr.arpa",
	} {
		got := dnsQuestion{name, dnsmessage.TypeA}.operation()
		assert.Equal(t, want, got, "%q", name)
		assert.LessOrEqual(t, len(got), MaxOperation)
	}
	assert.Equal(t, "~other example.com", dnsQuestion{"example.com", 4711}.operation())
	assert.Equal(t, "HTTPS example.com", dnsQuestion{"example.com", 65}.operation())
}

func TestReadDNS(t *testing.T) {
	say := dnsSay(7, "WWW.Example.COM.", dnsmessage.TypeA, 0, func(b *dnsmessage.Builder) {
		require.NoError(t, b.CNAMEResource(answerHeader("www.example.com.", 300), dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("CDN.example.net.")}))
		require.NoError(t, b.AResource(answerHeader("evil.example.org.", 60), dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}))
		require.NoError(t, b.TXTResource(answerHeader("cdn.example.net.", 60), dnsmessage.TXTResource{TXT: []string{"secret"}}))
		require.NoError(t, b.AResource(answerHeader("cdn.example.net.", 60), dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}))
		require.NoError(t, b.AResource(answerHeader("cdn.example.net.", 30), dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}}))
	})
	m, ok := readDNS(say)
	require.True(t, ok)
	require.Equal(t, dnsMessage{
		id: 7, response: true, desired: true, asks: true, question: dnsQuestion{"www.example.com", dnsmessage.TypeA},
		answer: &Answer{"www.example.com", []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, 30 * time.Second},
	}, m)
	question := 12 + len("\x03www\x07example\x03com\x00") + 4
	for n := range say { // what is there of the answers is read, but not without a question
		m, ok := readDNS(say[:n])
		require.Equal(t, n >= question, ok, "%d bytes", n)
		if ok && m.answer != nil {
			require.Equal(t, "192.0.2.1", m.answer.Addrs[0].String())
		}
	}
	many := dnsSay(7, "many.example.com.", dnsmessage.TypeAAAA, 0, func(b *dnsmessage.Builder) {
		for i := range 200 {
			require.NoError(t, b.AAAAResource(answerHeader("many.example.com.", 60), dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 15: byte(i)}}))
		}
	})
	m, ok = readDNS(many)
	require.True(t, ok)
	require.Len(t, m.answer.Addrs, maxAnswers)
	for name, b := range map[string][]byte{
		"nothing": nil, "no question": append([]byte{0, 1, 1, 0}, make([]byte, 8)...), "update": {0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1},
		"two questions":          {0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1},
		"multicast":              {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 1},
		"name that ends nowhere": {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1},
	} {
		_, ok := readDNS(b)
		require.False(t, ok, name)
	}
	m, ok = readDNS([]byte{0, 9, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0})
	require.True(t, ok, "a refusal without question")
	code, failed := m.status()
	require.Equal(t, "format_error", code)
	require.True(t, failed)
}

func TestDNSExchanges(t *testing.T) {
	ask := func(id uint16) []byte { return dnsAsk(id, "www.example.com.", dnsmessage.TypeA) }
	say := func(id uint16, code dnsmessage.RCode) []byte {
		return dnsSay(id, "www.example.com.", dnsmessage.TypeA, code, nil)
	}
	txt := dnsSay(3, "text.example.com.", dnsmessage.TypeTXT, 0, func(b *dnsmessage.Builder) {
		require.NoError(t, b.TXTResource(answerHeader("text.example.com.", 60), dnsmessage.TXTResource{TXT: []string{"hunter2"}}))
	})
	transfer := dnsAsk(1, "example.com.", dnsmessage.TypeAXFR)
	part := dnsSay(1, "example.com.", dnsmessage.TypeAXFR, 0, func(b *dnsmessage.Builder) {
		for range 400 {
			require.NoError(t, b.TXTResource(answerHeader("example.com.", 60), dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 100)}}))
		}
	})
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"one", []string{framed(ask(1)), framed(say(1, 0))}, []string{"A www.example.com: ok"}},
		{"not there", []string{framed(ask(1)), framed(say(1, 3))}, []string{"A www.example.com: nxdomain"}},
		{"failures", []string{framed(ask(1), ask(2), ask(3)), framed(say(1, 2), say(2, 5), say(3, 15))}, []string{"A www.example.com: servfail!", "A www.example.com: refused!", "A www.example.com: ~other!"}},
		{"out of order", []string{framed(ask(1), dnsAsk(3, "text.example.com.", dnsmessage.TypeTXT)), framed(txt, say(1, 0))}, []string{"TXT text.example.com: ok", "A www.example.com: ok"}},
		{"no answer", []string{framed(ask(1), ask(2)), framed(say(2, 0))}, []string{"A www.example.com: ok", "A www.example.com: !cut"}},
		{"asked again", []string{framed(ask(1), ask(1)), framed(say(1, 0))}, []string{"A www.example.com: timeout!", "A www.example.com: ok"}},
		{"answer to nothing", []string{framed(ask(1)), framed(say(9, 0), say(1, 0))}, []string{"A www.example.com: ok"}},
		{"refused without question", []string{framed(ask(5)), framed([]byte{0, 5, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0})}, []string{"A www.example.com: format_error!"}},
		{"zone transfer", []string{framed(transfer), framed(part, part, part), framed(ask(2)), framed(say(2, 0))}, []string{"AXFR example.com: ok", "A www.example.com: ok"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1 << 20, 1, 2, 7, 100} {
				f := talkThrough(t, DNS(), talkPieces(turns(tc.texts...), n))
				require.Empty(t, f.errors)
				require.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestDNSGoesOnAfterNonsense(t *testing.T) {
	good := framed(dnsAsk(1, "www.example.com.", dnsmessage.TypeA))
	for _, bad := range []string{"\x00\x0c" + strings.Repeat("\xff", 12), "\x00\x00", "\x00\x0bhello world", good[:20] + strings.Repeat("\xff", len(good)-20)} {
		f := talkThrough(t, DNS(), turns(bad+good, framed(dnsSay(1, "www.example.com.", dnsmessage.TypeA, 0, nil))))
		require.NotEmpty(t, f.errors)
		require.Equal(t, []string{"A www.example.com: ok"}, f.outcomes())
	}
}

func TestDetectDNS(t *testing.T) {
	ask := framed(dnsAsk(0x4745, "www.example.com.", dnsmessage.TypeA))
	say := framed(dnsSay(1, "www.example.com.", dnsmessage.TypeA, 3, nil))
	for n := range len(ask) + 1 {
		want := Maybe
		if n == len(ask) {
			want = Yes
		}
		require.Equal(t, want, detectDNS(FromClient, []byte(ask[:n])), "%d bytes", n)
	}
	require.Equal(t, Yes, detectDNS(FromServer, []byte(say)))
	require.Equal(t, No, detectDNS(FromClient, []byte(say)))
	require.Equal(t, No, detectDNS(FromServer, []byte(ask)))
	require.Equal(t, No, detectDNS(FromClient, []byte(ask[:14]+"\x03w w"+ask[18:])))
	for _, text := range []string{"GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "*1\r\n$4\r\nPING\r\n", "AMQP\x00\x00\x09\x01", "INFO {}", strings.Repeat("\x00", 64),
		"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x29\x00\x03\x00\x00user\x00test\x00database\x00postgres\x00\x00"} {
		require.Equal(t, No, detectDNS(FromClient, []byte(text)), "%q", text)
		require.NotEqual(t, Yes, detectDNS(FromServer, []byte(text)), "%q", text)
	}
}

// TestDNSOverTCP has dig ask an unbound.
func TestDNSOverTCP(t *testing.T) {
	const marker = "zqsecretzq"
	port, dir := loopbackPort(t), t.TempDir()
	config := filepath.Join(dir, "unbound.conf")
	require.NoError(t, os.WriteFile(config, []byte("server:\n interface: 127.0.0.1@"+port+"\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \""+dir+"\"\n pidfile: \""+dir+"/pid\"\n use-syslog: no\n"+
		" logfile: \""+dir+"/log\"\n local-zone: \".\" static\n local-data: \"www.example.com. 60 IN A 192.0.2.10\"\n local-data: 'text.example.com. 60 IN TXT \""+marker+"\"'\nremote-control:\n control-enable: no\n"), 0o644))
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	startProgram(t, "127.0.0.1:"+port, "unbound", "-d", "-c", config)
	proxy := startTalkProxy(t, "127.0.0.1:"+port, DNS())
	questions := filepath.Join(dir, "questions")
	const n = 30
	require.NoError(t, os.WriteFile(questions, []byte(strings.Repeat("www.example.com A\nwww.example.com AAAA\nno.example.com A\ntext.example.com TXT\n", n)), 0o644))
	for _, keep := range []string{"+keepopen", "+nokeepopen"} {
		out, err := exec.Command("dig", "-p", proxy.port(), "@127.0.0.1", "-f", questions, "+tcp", keep).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	exchanges := proxy.finish()
	require.Equal(t, map[string]int{"A www.example.com: ok": 2 * n, "AAAA www.example.com: ok": 2 * n, "A no.example.com: nxdomain": 2 * n, "TXT text.example.com: ok": 2 * n}, countOutcomes(exchanges))
	for _, e := range exchanges {
		if e.Operation == "A www.example.com" {
			require.Equal(t, &Answer{"www.example.com", []netip.Addr{netip.MustParseAddr("192.0.2.10")}, time.Minute}, e.Answer)
		}
		require.NotContains(t, e.Operation, marker)
	}
}

func TestDNSSteady(t *testing.T) { requireSteady(t, DNS(), "zqsecretzq") }

func FuzzDNS(f *testing.F) { fuzzConn(f, DNS()) }

// FuzzReadDNS holds what readDNS promises of any bytes.
func FuzzReadDNS(f *testing.F) {
	f.Add(dnsAsk(1, "www.example.com.", dnsmessage.TypeA))
	f.Add(dnsSay(1, "www.example.com.", dnsmessage.TypeA, 0, func(b *dnsmessage.Builder) {
		_ = b.CNAMEResource(answerHeader("www.example.com.", 300), dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("cdn.example.net.")})
		_ = b.AResource(answerHeader("cdn.example.net.", 60), dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}})
	}))
	f.Add([]byte{0, 9, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := readDNS(b)
		if !ok {
			return
		}
		operation := m.question.operation()
		if len(operation) > MaxOperation || strings.Trim(operation[strings.IndexByte(operation, ' ')+1:], "abcdefghijklmnopqrstuvwxyz0123456789-_.*~") != "" {
			t.Errorf("operation %q", operation)
		}
		if m.answer != nil && (len(m.answer.Addrs) == 0 || len(m.answer.Addrs) > maxAnswers || m.answer.Name != m.question.name || m.answer.TTL < 0) {
			t.Errorf("answer %+v", m.answer)
		}
		if status, _ := m.status(); status == "" {
			t.Error("no status")
		}
	})
}
