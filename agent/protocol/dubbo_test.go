package protocol

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	dubboTwoWayCall = dubboRequest | dubboTwoWay | dubboHessian2
	dubboOneWayCall = dubboRequest | dubboHessian2
	dubboBeat       = dubboRequest | dubboTwoWay | dubboEvent | dubboHessian2
)

// dubboText makes a message.
func dubboText(flags, status byte, id uint64, body string) string {
	b := append([]byte{0xda, 0xbb, flags, status}, binary.BigEndian.AppendUint64(nil, id)...)
	return string(binary.BigEndian.AppendUint32(b, uint32(len(body)))) + body
}

// hessian writes strings.
func hessian(texts ...string) string {
	var out strings.Builder
	for _, s := range texts {
		n := len([]rune(s))
		switch {
		case n < 0x20:
			out.WriteByte(byte(n))
		case n < 0x400:
			out.Write([]byte{0x30 + byte(n>>8), byte(n)})
		default:
			out.Write([]byte{'S', byte(n >> 8), byte(n)})
		}
		out.WriteString(s)
	}
	return out.String()
}

// jsonb writes strings as Dubbo's Fastjson 2 output does.
func jsonb(texts ...string) string {
	var out strings.Builder
	for _, s := range texts {
		item := string([]byte{0x49 + byte(len(s))}) + s
		if len(s) > 47 {
			item = string([]byte{0x79, 0x38 + byte(len(s)>>8), byte(len(s))}) + s
		}
		out.WriteString(jsonbRaw(item))
	}
	return out.String()
}

func jsonbRaw(item string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(item)))) + item
}

func dubboCall(id uint64, method string) string {
	return dubboText(dubboTwoWayCall, 0, id, hessian("2.0.2", "org.shop.Orders", "0.0.0", method, "Ljava/lang/String;", "mark")+"H\x04path\x04markZ")
}

func TestDubboExchanges(t *testing.T) {
	answer := func(id uint64, body string) string { return dubboText(dubboHessian2, 20, id, body) }
	fast := byte(dubboRequest | dubboTwoWay | dubboFastjson2)
	long := "com.example." + strings.Repeat("department.", 10) + "Orders"
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"value, null, with attachments", []string{dubboCall(1, "place") + dubboCall(2, "place") + dubboCall(3, "place"), answer(2, "\x92") + answer(1, "\x91\x04mark") + answer(3, "\x94\x04markHZ")},
			[]string{"org.shop.Orders.place: ok", "org.shop.Orders.place: ok", "org.shop.Orders.place: ok"}},
		{"exceptions", []string{dubboCall(1, "place") + dubboCall(2, "place"), answer(1, "\x90C\x04mark") + answer(2, "\x93C\x04mark")}, []string{"org.shop.Orders.place: exception!", "org.shop.Orders.place: exception!"}},
		{"status", []string{dubboCall(1, "a") + dubboCall(2, "b") + dubboCall(3, "c"), dubboText(2, 60, 1, hessian("mark")) + dubboText(2, 31, 2, hessian("mark")) + dubboText(2, 77, 3, hessian("mark"))},
			[]string{"org.shop.Orders.a: service_not_found!", "org.shop.Orders.b: server_timeout!", "org.shop.Orders.c: 77!"}},
		{"one way", []string{dubboText(dubboOneWayCall, 0, 1, hessian("2.0.2", "a.B", "", "c", "")), ""}, []string{"a.B.c: ok~"}},
		{"heartbeats of both", []string{dubboText(dubboBeat, 0, 1, "N"), dubboText(dubboEvent|dubboHessian2, 20, 1, "N") + dubboText(dubboBeat, 0, 1, "N"), dubboText(dubboEvent|dubboHessian2, 20, 1, "N")},
			[]string{"heartbeat: ok", "callback heartbeat: ok"}},
		{"read-only event", []string{"", dubboText(dubboRequest|dubboEvent|dubboHessian2, 0, 1, "\x01R")}, []string{"callback event: ok~"}},
		{"version is null", []string{dubboText(dubboTwoWayCall, 0, 1, hessian("2.0.2", "a.B")+"N"+hessian("c")), answer(1, "\x91")}, []string{"a.B.c: ok"}},
		{"Fastjson 2", []string{dubboText(fast, 0, 1, jsonb("2.0.2", "org.shop.Orders", "")+jsonb("place", "mark")), dubboText(dubboFastjson2, 20, 1, jsonbRaw("\xbd\x04")+jsonb("mark"))},
			[]string{"org.shop.Orders.place: ok"}},
		{"Fastjson 2 exception, null, long", []string{dubboText(fast, 0, 1, jsonb("2.0.2", strings.Repeat("a", 60))+jsonbRaw("\xaf")+jsonb("place")), dubboText(dubboFastjson2, 20, 1, jsonbRaw("\x00")+jsonb("mark"))},
			[]string{strings.Repeat("a", 60) + ".place: exception!"}},
		{"Fastjson 2 heartbeat", []string{dubboText(dubboBeat&^dubboSerial|dubboFastjson2, 0, 1, jsonbRaw("\xaf")), dubboText(dubboEvent|dubboFastjson2, 20, 1, jsonbRaw("\xaf"))}, []string{"heartbeat: ok"}},
		{"other serialization", []string{dubboText(dubboRequest|dubboTwoWay|8, 0, 1, "mark mark"), dubboText(8, 20, 1, "mark")}, []string{"~other: ok"}},
		{"no names", []string{dubboText(dubboTwoWayCall, 0, 1, hessian("2.0.2", "a b", "", "c")) + dubboText(dubboTwoWayCall, 0, 2, hessian("2.0.2", "a", "", "ma\u00e9rk")) + dubboText(dubboTwoWayCall, 0, 3, "\x052.0.2Q"), ""},
			[]string{"~other: !cut", "~other: !cut", "~other: !cut"}},
		{"long service", []string{dubboText(dubboTwoWayCall, 0, 1, hessian("2.0.2", long, "", "c")), answer(1, "\x91")}, []string{strings.Repeat("department.", (MaxOperation-len("callback Orders.c"))/len("department.")) + "Orders.c: ok"}},
		{"large", []string{dubboText(dubboTwoWayCall, 0, 1, hessian("2.0.2", "a.B", "", "c", "")+strings.Repeat("x", 300_000)) + dubboCall(2, "d"), answer(1, "\x91"+strings.Repeat("y", 300_000)) + answer(2, "\x91")},
			[]string{"a.B.c: ok", "org.shop.Orders.d: ok"}},
		{"identifier used again", []string{dubboCall(1, "a") + dubboCall(1, "b"), answer(1, "\x91") + answer(1, "\x91")}, []string{"org.shop.Orders.a: ~", "org.shop.Orders.b: ok"}},
		{"cut", []string{dubboCall(1, "a"), ""}, []string{"org.shop.Orders.a: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			for _, n := range []int{1 << 20, 1, 5, 50} {
				f := talkThrough(t, Dubbo(), talkPieces(chunks, n))
				require.Empty(t, f.errors)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
				assert.NotContains(t, fmt.Sprint(f.outcomes()), "mark")
			}
		})
	}
}

func TestDubboHostile(t *testing.T) {
	for _, text := range []string{"\xda\xbc", "GET / HTTP/1.1\r\n", "\xda\xbb\xc2\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"} {
		require.NotEmpty(t, talkThrough(t, Dubbo(), turns(text)).errors, "%q", text)
	}
	f := newTalk(t, Dubbo())
	for i := range uint64(3 * MaxWaiting) {
		f.feed(FromClient, []byte(dubboCall(i, "a")), int64(i))
	}
	require.Len(t, f.conn.(*dubboConn).waiting.values, MaxWaiting)
	f.close(1e9)
	require.Equal(t, map[string]int{"org.shop.Orders.a: ~": 2 * MaxWaiting, "org.shop.Orders.a: !cut": MaxWaiting}, countOutcomes(f.exchanges))
}

func TestDubboDetect(t *testing.T) {
	call := dubboCall(1, "a")
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, call, Yes}, {FromClient, call[:1], Maybe}, {FromClient, call[:15], Maybe}, {FromClient, call[:17], Maybe}, {FromClient, "\xda\xbc", No},
		{FromServer, dubboText(2, 20, 1, "\x91"), Yes}, {FromServer, dubboText(2, 21, 1, "\x91"), No}, {FromServer, dubboText(0x42, 20, 1, "\x91"), No},
		{FromClient, dubboText(dubboBeat, 0, 1, "N"), Yes}, {FromServer, dubboText(dubboBeat, 0, 1, "N"), Yes}, {FromClient, dubboText(dubboTwoWayCall, 0, 1, "\xff\xff"), No},
		{FromClient, dubboText(dubboRequest|dubboTwoWay, 0, 1, "x"), No}, {FromClient, dubboText(dubboTwoWayCall, 9, 1, hessian("2.0.2")), No},
	} {
		assert.Equal(t, tc.want, Dubbo().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

// dubbo-go asks dubbo-go.
func TestDubboServer(t *testing.T) {
	program := buildModule(t, "dubbo")
	address := "127.0.0.1:" + loopbackPort(t)
	startProgram(t, address, program, "serve", address)
	x := startTalkProxy(t, address, Dubbo())
	a := startAsker(t, exec.Command(program, "ask", x.addr(), "plain", "mark-value"))
	a.ask("40")
	a.end()
	exchanges := x.finish()
	got := countOutcomes(exchanges)
	for outcome := range got {
		if strings.Contains(outcome, "heartbeat") {
			delete(got, outcome)
		}
	}
	require.Equal(t, map[string]int{"org.vetch.shop.Orders.Place: ok": 40, "org.vetch.shop.Orders.Refuse: exception!": 40, "org.vetch.shop.Orders.Missing: exception!": 40}, got)
	for _, e := range exchanges {
		assert.NotContains(t, e.Operation+e.Status, "mark")
		assert.Greater(t, e.End, e.Begin)
	}
}

func TestDubboRecordings(t *testing.T) { requireSteady(t, Dubbo(), "mark") }

func FuzzDubbo(f *testing.F) { fuzzConn(f, Dubbo()) }

// BenchmarkDubbo is one call and its answer.
func BenchmarkDubbo(b *testing.B) {
	request, answer := []byte(dubboCall(1, "place")), []byte(dubboText(2, 20, 1, "\x91\x04mark"))
	c := Dubbo().New()
	b.ReportAllocs()
	for b.Loop() {
		c.Feed(FromClient, request, 1, func(Exchange) {})
		c.Feed(FromServer, answer, 2, func(Exchange) {})
	}
}
