package protocol

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// pg makes a message of PostgreSQL.
func pg(kind string, body string) string {
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

// my makes a packet of MySQL.
func my(seq byte, body string) string {
	n := len(body)
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}) + body
}

const (
	pgIdle    = "I"
	myOK      = "\x00\x00\x00\x02\x00\x00\x00"
	myMore    = "\x00\x00\x00\x0a\x00\x00\x00"
	myEOF     = "\xfe\x00\x00\x02\x00"
	myEndOK   = "\xfe\x00\x00\x02\x00\x00\x00"
	myColumn  = "\x03def\x00\x00\x00\x01a\x00\x0c\x3f\x00\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00"
	myCursor  = "\xfe\x00\x00\x42\x00"
	myMissing = "\xff\x7a\x04#42S02Table 'MARKER' doesn't exist"
)

// script is what the two sides say: "C" or "S" before each text.
func script(lines ...string) []chunk {
	var chunks []chunk
	for i, line := range lines {
		d := FromClient
		if line[0] == 'S' {
			d = FromServer
		}
		chunks = append(chunks, chunk{d, int64(i+1) * 1e6, []byte(line[1:])})
	}
	return chunks
}

func pgStart() string {
	body := "\x00\x03\x00\x00user\x00MARKER\x00\x00"
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func TestSQLScripts(t *testing.T) {
	const sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	query := func(text string) string { return pg("Q", text+"\x00") }
	bind := pg("B", "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x06MARKER\x00\x00")
	execute := pg("E", "\x00\x00\x00\x00\x00")
	sync := pg("S", "")
	failed := pg("E", "SERROR\x00VERROR\x00C42P01\x00MMARKER\x00\x00")
	for _, tt := range []struct {
		name   string
		p      Protocol
		chunks []chunk
		want   string
	}{
		{"TLS is refused and accepted", PostgreSQL(), script("C"+sslRequest, "SN", "C"+pgStart(), "S"+pg("R", "\x00\x00\x00\x00")+pg("Z", pgIdle), "C"+query("SELECT 1"), "S"+pg("C", "SELECT 1\x00")+pg("Z", pgIdle)),
			"map[SELECT ok:1]"},
		{"after TLS nothing is read", PostgreSQL(), script("C"+sslRequest, "SS", "C\x16\x03\x01", "C"+query("SELECT 1"), "S"+pg("C", "SELECT 1\x00")+pg("Z", pgIdle)), "map[]"},
		{"plain text goes on after the change to TLS", PostgreSQL(), script("C"+sslRequest, "SS", "C"+pgStart(), "S"+pg("R", "\x00\x00\x00\x00")+pg("Z", pgIdle), "C"+query("SELECT 1"), "S"+pg("C", "SELECT 1\x00")+pg("Z", pgIdle)),
			"map[SELECT ok:1]"},
		{"after GSSAPI encryption nothing is read", PostgreSQL(), script("C\x00\x00\x00\x08\x04\xd2\x16\x30", "SG", "C"+query("SELECT 1"), "S"+pg("C", "SELECT 1\x00")+pg("Z", pgIdle)), "map[]"},
		{"cancel", PostgreSQL(), script("C\x00\x00\x00\x10\x04\xd2\x16\x2eMARKMARK"), "map[CANCEL one way:1]"},
		{"an error in Parse without Execute", PostgreSQL(), script("C"+pg("P", "s\x00SELECT a FROM t\x00\x00\x00")+pg("D", "Ss\x00")+sync, "S"+failed+pg("Z", pgIdle)), "map[SELECT t 42P01:1]"},
		{"Parse alone does not count", PostgreSQL(), script("C"+pg("P", "s\x00SELECT a FROM t\x00\x00\x00")+pg("D", "Ss\x00")+sync, "S"+pg("1", "")+pg("n", "")+pg("Z", pgIdle)), "map[]"},
		{"the rest of a batch is skipped", PostgreSQL(), script("C"+pg("P", "\x00SELECT a FROM t\x00\x00\x00")+bind+execute+bind+execute+bind+execute+sync,
			"S"+pg("1", "")+pg("2", "")+pg("C", "SELECT 1\x00"), "S"+failed+pg("Z", pgIdle)), "map[SELECT t 42P01:1 SELECT t aborted:1 SELECT t ok:1]"},
		{"an error at the commit", PostgreSQL(), script("C"+pg("P", "\x00INSERT INTO t VALUES ($1)\x00\x00\x00")+bind+execute+sync,
			"S"+pg("1", "")+pg("2", "")+pg("C", "INSERT 0 1\x00"), "S"+failed+pg("Z", pgIdle)), "map[INSERT t 42P01:1]"},
		{"a fatal error", PostgreSQL(), script("C"+query("SELECT 1"), "S"+failed), "map[SELECT 42P01:1]"},
		{"no answer", PostgreSQL(), script("C" + query("SELECT 1")), "map[SELECT cut:1]"},
		{"notifications between", PostgreSQL(), script("S"+pg("A", "\x00\x00\x00\x01MARKER\x00MARKER\x00"), "C"+query("LISTEN a"), "S"+pg("A", "\x00\x00\x00\x01MARKER\x00MARKER\x00")+pg("C", "LISTEN\x00")+pg("Z", pgIdle)), "map[LISTEN ok:1]"},
		{"COPY by the extended protocol", PostgreSQL(), script("C"+pg("P", "\x00COPY t FROM STDIN\x00\x00\x00")+bind+execute+sync, "S"+pg("1", "")+pg("2", "")+pg("G", "\x00\x00\x00"),
			"C"+pg("d", "MARKER\n")+pg("c", "")+sync, "S"+pg("C", "COPY 1\x00")+pg("Z", pgIdle), "C"+query("SELECT 1"), "S"+pg("C", "SELECT 1\x00")+pg("Z", pgIdle)), "map[COPY t ok:1 SELECT ok:1]"},
		{"COPY fails", PostgreSQL(), script("C"+query("COPY t FROM STDIN"), "S"+pg("G", "\x00\x00\x00"), "C"+pg("d", "MARKER\n")+pg("f", "MARKER\x00"), "S"+failed+pg("Z", pgIdle)), "map[COPY t 42P01:1]"},

		{"end of rows as an OK packet", MySQL(), script("C"+my(0, "\x03SELECT * FROM t"), "S"+my(1, "\x01")+my(2, myColumn)+my(3, "\x06MARKER")+my(4, myEndOK), "C"+my(0, "\x0e"), "S"+my(1, myOK)),
			"map[COM_PING ok:1 SELECT t ok:1]"},
		{"no rows, either way", MySQL(), script("C"+my(0, "\x03SELECT * FROM t"), "S"+my(1, "\x01")+my(2, myColumn)+my(3, myEndOK), "C"+my(0, "\x03SELECT * FROM t"), "S"+my(1, "\x01")+my(2, myColumn)+my(3, myEOF)+my(4, myEOF)),
			"map[SELECT t ok:2]"},
		{"columns that the client keeps", MySQL(), script("C"+my(0, "\x03SELECT * FROM t"), "S"+my(1, "\x01\x00")+my(2, "\x06MARKER")+my(3, myEndOK)), "map[SELECT t ok:1]"},
		{"a cursor", MySQL(), script("C"+my(0, "\x16SELECT * FROM t"), "S"+my(1, "\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")+my(2, myColumn)+my(3, myEOF),
			"C"+my(0, "\x17\x07\x00\x00\x00\x01\x01\x00\x00\x00"), "S"+my(1, "\x01")+my(2, myColumn)+my(3, myCursor),
			"C"+my(0, "\x1c\x07\x00\x00\x00\x01\x00\x00\x00"), "S"+my(1, "\x00\x00\x06MARKER")+my(2, myEOF)), "map[FETCH SELECT t ok:1 PREPARE SELECT t ok:1 SELECT t ok:1]"},
		{"prepared and executed at once", MySQL(), script("C"+my(0, "\x16UPDATE t SET a = ?")+my(0, "\x17\xff\xff\xff\xff\x00\x01\x00\x00\x00MARKER"),
			"S"+my(1, "\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")+my(1, myMissing)), "map[PREPARE UPDATE t ok:1 UPDATE t 1146:1]"},
		{"a statement that was prepared earlier", MySQL(), script("C"+my(0, "\x17\x09\x00\x00\x00\x00\x01\x00\x00\x00MARKER"), "S"+my(1, myOK)), "map[EXECUTE ok:1]"},
		{"query attributes", MySQL(), script("C"+my(0, "\x03\x00\x01SELECT 1 FROM t"), "S"+my(1, myMissing),
			"C"+my(0, "\x03\x01\x01\x00\x01\xfe\x00\x06MARKER\x06MARKERSELECT 1 FROM t"), "S"+my(1, myMissing)), "map[SELECT t 1146:2]"},
		{"more results", MySQL(), script("C"+my(0, "\x03UPDATE t SET a = 1; SELECT 2"), "S"+my(1, myMore)+my(2, "\x01")+my(3, myColumn)+my(4, "\x012")+my(5, myEndOK)), "map[UPDATE t ok:1]"},
		{"progress reports", MySQL(), script("C"+my(0, "\x03ALTER TABLE t ADD a int"), "S"+my(1, "\xff\xff\xff\x01\x01\x02\x00\x00\x00\x06MARKER"), "S"+my(2, myOK)), "map[ALTER TABLE t ok:1]"},
		{"unknown command", MySQL(), script("C"+my(0, "\x99MARKER"), "S"+my(1, myOK)), "map[]"},
		{"too many connections", MySQL(), script("S" + my(0, "\xff\x10\x04Too many connections")), "map[CONNECT 1040:1]"},
	} {
		for _, size := range []int{0, 1, 5} {
			got := replay(tt.p, tt.chunks, size)
			if fmt.Sprint(count(got)) != tt.want {
				t.Errorf("%s, in pieces of %d: %v, want %s", tt.name, size, count(got), tt.want)
			}
			expect(t, got, nil)
		}
	}
}

// After a gap in what the server says, the answer that begins next is the one to the last request; those before are told without a status.
func TestSQLServerGap(t *testing.T) {
	for _, tt := range []struct {
		p             Protocol
		first, second string
		half, answer  string
		want          string
	}{
		{PostgreSQL(), pg("Q", "SELECT * FROM a\x00"), pg("Q", "SELECT * FROM b\x00"), pg("T", "\x00\x00") + "D\x00\x00\x10\x00xxx", pg("C", "SELECT 1\x00") + pg("Z", pgIdle), "map[SELECT a :1 SELECT b ok:1]"},
		{MySQL(), my(0, "\x03SELECT * FROM a"), my(0, "\x03SELECT * FROM b"), my(1, "\x01") + my(2, myColumn) + "\xff\x00\x00\x03xxx", my(1, "\x01") + my(2, myColumn) + my(3, myEndOK), "map[SELECT a :1 SELECT b ok:1]"},
	} {
		var got []Exchange
		emit := func(e Exchange) { got = append(got, e) }
		c := tt.p.New()
		c.Feed(FromClient, []byte(tt.first), 1, emit)
		c.Feed(FromServer, []byte(tt.half), 2, emit)
		if c.Resync(FromServer, []byte("xxxxxxxxxxxxxxxxxxx")) {
			t.Errorf("%s begins anew at rubbish", tt.p.Name)
		}
		c.Feed(FromClient, []byte(tt.second), 3, emit)
		if !c.Resync(FromServer, []byte(tt.answer)) {
			t.Errorf("%s does not begin anew", tt.p.Name)
		}
		c.Feed(FromServer, []byte(tt.answer), 4, emit)
		c.Close(5, emit)
		if fmt.Sprint(count(got)) != tt.want {
			t.Errorf("%s: %v, want %s", tt.p.Name, count(got), tt.want)
		}
	}
}

// TLS inside MySQL is seen in the capabilities.
func TestMySQLTLS(t *testing.T) {
	f := newFeeder(MySQL())
	chunks := recorded(t, "testdata/mysql/prepared.hex")
	f.feed(FromServer, chunks[0].b, 1)
	f.feed(FromClient, []byte(my(1, "\x00\x0a\x00\x00"+strings.Repeat("\x00", 28))), 2)
	f.feed(FromClient, []byte("\x16\x03\x01\x00\x10"+my(0, "\x03SELECT 1")), 3)
	f.close(4)
	if len(f.got) != 0 || f.err == nil || !strings.Contains(f.err.Error(), "encrypted") {
		t.Errorf("%v %v", f.got, f.err)
	}
	f = newFeeder(MySQL()) // its plain text is seen
	f.feed(FromServer, chunks[0].b, 1)
	f.feed(FromClient, []byte(my(1, "\x00\x0a\x00\x00"+strings.Repeat("\x00", 28))), 2)
	f.feed(FromClient, []byte(my(2, "\x00\x0a\x00\x00"+strings.Repeat("\x00", 60))), 3)
	f.feed(FromServer, []byte(my(3, "\x00\x00\x00\x02\x00\x00\x00")), 4)
	f.feed(FromClient, []byte(my(0, "\x0e")), 5)
	f.feed(FromServer, []byte(my(1, "\x00\x00\x00\x02\x00\x00\x00")), 6)
	f.close(7)
	if got := fmt.Sprint(count(f.got)); got != "map[COM_PING ok:1]" || f.err != nil {
		t.Errorf("%s %v", got, f.err)
	}
}

// Lengths that lie and streams without an end cost no memory.
func TestSQLHostile(t *testing.T) {
	endless := func(p Protocol, d Direction, piece string, first ...string) func() {
		return func() {
			f := newFeeder(p)
			for _, s := range first {
				f.feed(FromClient, []byte(s), 1)
			}
			for i := range 20000 {
				f.feed(d, []byte(strings.ReplaceAll(piece, "####", fmt.Sprintf("%04d", i%10000))), int64(i+2))
				f.got = f.got[:0]
			}
			runtime.KeepAlive(f)
		}
	}
	for name, attack := range map[string]func(){
		"postgres: 1 GiB messages":         endless(PostgreSQL(), FromClient, "Q\x3f\xff\xff\xffSELECT"),
		"postgres: no zero byte":           endless(PostgreSQL(), FromClient, strings.Repeat("P\x3f\xff\xff\xffx", 100)),
		"postgres: queries unanswered":     endless(PostgreSQL(), FromClient, pg("Q", "SELECT 1\x00")),
		"postgres: prepared for ever":      endless(PostgreSQL(), FromClient, pg("P", strings.Repeat("####", 30)+"\x00SELECT 1\x00\x00\x00")+pg("B", "p####\x00\x00\x00\x00\x00\x00\x00\x00")),
		"postgres: answers to nothing":     endless(PostgreSQL(), FromServer, pg("C", "SELECT 1\x00")+pg("Z", pgIdle)),
		"mysql: 16 MiB packets":            endless(MySQL(), FromClient, "\xff\xff\xff\x00\x03SELECT"),
		"mysql: commands unanswered":       endless(MySQL(), FromClient, my(0, "\x03SELECT 1")),
		"mysql: prepared for ever":         endless(MySQL(), FromServer, my(1, "\x00####\x00\x00\x00\x00\x00\x00\x00"), my(0, "\x16SELECT 1")),
		"mysql: as many columns as can be": endless(MySQL(), FromServer, my(1, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"), my(0, "\x03SELECT 1")),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		attack()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if after.HeapAlloc > before.HeapAlloc+4<<20 {
			t.Errorf("%s: %d bytes more", name, after.HeapAlloc-before.HeapAlloc)
		}
	}
}

// The memory of one connection stays small however many statements it prepares.
func TestPreparedNames(t *testing.T) {
	var p preparedNames[int]
	for i := range 10 * MaxPrepared {
		p.put(i, "SELECT")
		p.put(i, "SELECT t")
		if i%3 == 0 {
			p.drop(i)
		}
	}
	if len(p.operations) != MaxPrepared-1 || len(p.order) != len(p.operations) || p.get(10*MaxPrepared-1) != "" || p.get(10*MaxPrepared-2) != "SELECT t" || p.get(1) != "" {
		t.Errorf("%d, %d remembered", len(p.operations), len(p.order))
	}
}

func TestSQLDetect(t *testing.T) {
	for _, tt := range []struct {
		p    Protocol
		d    Direction
		b    string
		want Verdict
	}{
		{PostgreSQL(), FromClient, pgStart(), Yes},
		{PostgreSQL(), FromClient, pgStart()[:3], Maybe},
		{PostgreSQL(), FromClient, "\x00\x00\x00\x08\x04\xd2\x16\x2f", Yes},
		{PostgreSQL(), FromClient, "GET / HTTP/1.1\r\n", No},
		{PostgreSQL(), FromClient, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", No},
		{PostgreSQL(), FromClient, "POST / HTTP/1.1\r\n", No},
		{PostgreSQL(), FromClient, "*1\r\n$4\r\nPING\r\n", No},
		{PostgreSQL(), FromClient, "SUB a 1\r\n", No},
		{PostgreSQL(), FromClient, "CONNECT {}\r\n", No},
		{PostgreSQL(), FromServer, "HTTP/1.1 200 OK\r\n", No},
		{PostgreSQL(), FromServer, pg("Z", pgIdle), Yes},
		{PostgreSQL(), FromServer, "+OK\r\n", No},
		{PostgreSQL(), FromClient, "\x16\x03\x01\x02\x00\x01", No},
		{MySQL(), FromClient, "GET / HTTP/1.1\r\n", No},
		{MySQL(), FromClient, "\x16\x03\x01\x02\x00\x01", No},
		{MySQL(), FromClient, my(0, "\x03SELECT * FROM t"), Yes},
		{MySQL(), FromClient, my(0, "\x03rubbish and more rubbish"), No},
		{MySQL(), FromClient, my(0, "\x0e"), Maybe},
		{MySQL(), FromServer, my(1, myMissing), Yes},
		{MySQL(), FromServer, my(1, myOK), Yes},
		{MySQL(), FromServer, "+OK\r\n", No},
		{MySQL(), FromClient, "\x00\x00\x00\x08\x04\xd2\x16\x2f", No},
	} {
		if got := tt.p.Detect(tt.d, []byte(tt.b)); got != tt.want {
			t.Errorf("%s %d %q: %d, want %d", tt.p.Name, tt.d, tt.b, got, tt.want)
		}
	}
	for _, r := range sqlRecorded {
		chunks := recorded(t, "testdata/"+r.path+".hex")
		if r.p().Detect(chunks[0].d, chunks[0].b) != Yes {
			t.Errorf("%s: first bytes not recognised", r.name)
		}
		for _, other := range []Protocol{PostgreSQL(), MySQL()} {
			for _, c := range chunks {
				if other.Name != r.p().Name && other.Detect(c.d, c.b) == Yes {
					t.Errorf("%s taken for %s: %q", r.name, other.Name, c.b[:min(40, len(c.b))])
				}
			}
		}
	}
}
