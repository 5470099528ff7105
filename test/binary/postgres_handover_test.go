package binary

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// pgSays is a message of PostgreSQL: its type and its content.
func pgSays(kind, content string) string {
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(len(content)+4))) + content
}

func pgAsks(text string) string { return pgSays("Q", text+"\x00") }

// pgRuns prepares a statement without a name, if a text is given, else takes a prepared one, and executes it with one value.
func pgRuns(name, text, value string) string {
	out := ""
	if text != "" {
		out = pgSays("P", name+"\x00"+text+"\x00\x00\x00")
	}
	bound := "\x00" + name + "\x00\x00\x00\x00\x01" + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value + "\x00\x00"
	return out + pgSays("B", bound) + pgSays("D", "P\x00") + pgSays("E", "\x00\x00\x00\x00\x00")
}

const pgSyncs = "S\x00\x00\x00\x04"

// readPostgres reads to the server's readiness for the next request.
func readPostgres(r *bufio.Reader) (unasked bool, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false, err
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return false, err
		}
		if head[0] == 'Z' {
			return false, nil
		}
	}
}

// postgresMixed are requests whose answers are the same each time.
var postgresMixed = []mixSaid{
	{pgAsks("SELECT count(*) FROM mixed WHERE name <> '" + secret + "' AND id < 5"), []string{"SELECT mixed ok"}, 0},
	{pgAsks("SELECT name FROM public.mixed"), []string{"SELECT mixed ok"}, 0},
	{pgAsks("/* " + secret + " */ select repeat('x', 500), generate_series(1, 20)"), []string{"SELECT ok"}, 0},
	{pgAsks("UPDATE mixed SET name = '" + secret + "' WHERE id = 3"), []string{"UPDATE mixed ok"}, 0},
	{pgAsks("SELECT 1/0 FROM mixed"), []string{"SELECT mixed 22012"}, 0},
	{pgAsks("SELECT * FROM missing"), []string{"SELECT missing 42P01"}, 0},
	{pgAsks(secret), []string{"OTHER 42601"}, 0},
	{pgAsks("BEGIN; SELECT 1; COMMIT"), []string{"BEGIN ok"}, 0},
	{pgAsks(""), []string{"EMPTY ok"}, 0},
	{pgRuns("", "SELECT $1::text FROM mixed", secret) + pgSyncs, []string{"SELECT mixed ok"}, 0},
	{pgRuns("", "SELECT $1::int FROM mixed", secret) + pgSyncs, []string{"SELECT mixed 22P02"}, 0},
	{pgRuns("", "SELEKT $1", secret) + pgSyncs, []string{"OTHER 42601"}, 0},
	{pgRuns("kept", "", secret) + pgSyncs, []string{"UPDATE mixed ok"}, 0},
	{pgSays("P", "\x00SELECT 1 FROM missing\x00\x00\x00") + pgSyncs, []string{"SELECT missing 42P01"}, 0},
	{pgSays("P", "\x00SELECT $1::text, 7 FROM mixed\x00\x00\x00") + pgSays("D", "S\x00") + pgSyncs + pgRuns("", "", secret) + pgSyncs, []string{"SELECT mixed ok"}, -1},
	{pgSyncs, nil, -1},
}

// postgresOdd are what the kernel leaves to user space.
var postgresOdd = []mixSaid{
	{pgAsks("DO $$ BEGIN RAISE NOTICE '" + secret + "'; END $$"), []string{"DO ok"}, 0},
	{pgAsks("COPY mixed TO STDOUT"), []string{"COPY mixed ok"}, 0},
	{pgRuns("kept", "", "1") + pgRuns("", "SELECT $1::text FROM mixed", secret) + pgSyncs, []string{"UPDATE mixed ok", "SELECT mixed ok"}, 1},
	{pgSays("C", "Skept\x00") + pgSays("P", "kept\x00UPDATE mixed SET name = $1 WHERE id = 4\x00\x00\x00") + pgSyncs, nil, -1},
	{pgAsks(`SELECT E'it\'s ` + secret + `' FROM mixed`), []string{"SELECT mixed ok"}, 0},
	{pgAsks("SELECT $tag$" + secret + "$tag$ FROM mixed"), []string{"SELECT mixed ok"}, 0},
}

// pgStarts logs in as the role trusted, who needs no password.
func pgStarts() string {
	start := "\x00\x03\x00\x00user\x00trusted\x00database\x00postgres\x00\x00"
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(start)+4))) + start
}

// TestPostgresHandover mixes what the kernel matches with COPY, batches of several statements, statements that are prepared, and texts that it does not read.
func TestPostgresHandover(t *testing.T) {
	s := postgresService(t).await(t)
	readyPostgres(t, s)
	conn, err := pgx.Connect(t.Context(), postgresURL(s))
	require.NoError(t, err)
	for _, statement := range []string{
		"CREATE TABLE mixed AS SELECT id, repeat('a', 100) AS name FROM generate_series(1, 10) AS id", "CREATE ROLE trusted LOGIN", "GRANT ALL ON mixed TO trusted",
	} {
		_, err = conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close(t.Context()))
	var talks []mixTalk
	for i := range uint64(4) {
		talks = append(talks, func(enough *atomic.Bool) (map[string]int, error) {
			m, err := openMix(t, s, readPostgres)
			if err != nil {
				return nil, err
			}
			m.whole = true
			if i == 0 {
				m.said["CREATE TABLE mixed ok"], m.said["CREATE ROLE ok"], m.said["GRANT ok"] = 1, 1, 1
			}
			if err := m.ask(rand.New(rand.NewPCG(0, 0)), 1000, mixSaid{pgStarts(), nil, -1}); err != nil {
				return nil, err
			}
			kept := mixSaid{pgSays("P", "kept\x00UPDATE mixed SET name = $1 WHERE id = 4\x00\x00\x00") + pgSyncs, nil, -1}
			if err := m.ask(rand.New(rand.NewPCG(0, 0)), 1000, kept); err != nil {
				return nil, err
			}
			return m.said, m.talk(i, enough, postgresMixed, 6, func(rng *rand.Rand, round int, last bool) (mixSaid, bool) {
				large := pgAsks("INSERT INTO missing VALUES ('" + strings.Repeat(fmt.Sprint(secret, " "), 300) + "')")
				if round%400 == 5 {
					return mixSaid{large, []string{"INSERT missing 42P01"}, 0}, true
				}
				return postgresOdd[rng.IntN(len(postgresOdd))], last || round%200 == 30
			})
		})
	}
	testHandover(t, s, "postgres", talks)
}
