package binary

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

// mySays is a packet of MySQL that begins a command.
func mySays(command byte, content string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(1+len(content)))) + string([]byte{command}) + content
}

func myAsks(text string) string { return mySays(3, text) }

// myRuns executes a prepared statement with one string.
func myRuns(id uint32, value string) string {
	return mySays(23, string(binary.LittleEndian.AppendUint32(nil, id))+"\x00\x01\x00\x00\x00\x00\x01\xfe\x00"+string([]byte{byte(len(value))})+value)
}

// readMySQL reads one answer of a server that ends columns by EOF packets, as it does for a client that does not ask for less; at most one result has columns.
func readMySQL(r *bufio.Reader) (unasked bool, err error) {
	for ends := 0; ; {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false, err
		}
		body := make([]byte, binary.LittleEndian.Uint32(append(head[:3:3], 0)))
		if _, err := io.ReadFull(r, body); err != nil {
			return false, err
		}
		switch {
		case body[0] == 0xff, head[3] == 1 && len(body) > 9 && body[0] > ' ': // an error, or the text of COM_STATISTICS
			return false, nil
		case body[0] == 0xfe && len(body) == 5: // of the columns, then of the rows
			if ends++; ends == 2 && body[3]&8 == 0 || head[3] == 1 {
				return false, nil
			}
		case body[0] == 0 && (head[3] == 1 || ends == 2) && body[3]&8 == 0:
			return false, nil
		}
	}
}

// mysqlMixed are commands whose answers are the same each time.
var mysqlMixed = []mixSaid{
	{myAsks("SELECT count(*) FROM mixed WHERE name <> '" + secret + "' AND id < 5"), []string{"SELECT mixed ok"}, 0},
	{myAsks("\x00\x01SELECT name FROM `shop` . mixed"), []string{"SELECT mixed 1064"}, 0}, // attributes that the client has not announced
	{myAsks("/* " + secret + " */ select repeat('x', 500), seq FROM seq_1_to_20"), []string{"SELECT seq_1_to_20 ok"}, 0},
	{myAsks("UPDATE mixed SET name = \"" + secret + "\" WHERE id = 3"), []string{"UPDATE mixed ok"}, 0},
	{myAsks("SELECT (SELECT id FROM mixed)"), []string{"SELECT mixed 1242"}, 0},
	{myAsks("SELECT * FROM missing"), []string{"SELECT missing 1146"}, 0},
	{myAsks(secret), []string{"OTHER 1064"}, 0},
	{myAsks("BEGIN; COMMIT"), []string{"BEGIN 1064"}, 0},
	{myRuns(1, secret), []string{"UPDATE mixed ok"}, 0},
	{myRuns(2, secret), []string{"SELECT mixed ok"}, 0},
	{mySays(14, ""), []string{"COM_PING ok"}, 0},
	{mySays(2, "shop"), []string{"COM_INIT_DB ok"}, 0},
	{mySays(2, secret), []string{"COM_INIT_DB 1049"}, 0},
	{mySays(24, "\x01\x00\x00\x00\x00\x00"+secret) + mySays(26, "\x01\x00\x00\x00"), []string{"COM_STMT_SEND_LONG_DATA none", "COM_STMT_RESET ok"}, 1},
	{mySays(25, "\xff\xff\x00\x00"), []string{"COM_STMT_CLOSE none"}, 1},
}

// mysqlOdd are what the kernel leaves to user space.
var mysqlOdd = []mixSaid{
	{myAsks("SELECT 'it\\'s " + secret + "' FROM mixed"), []string{"SELECT ok"}, 0},
	{mySays(9, ""), []string{"COM_STATISTICS ok"}, 0},
	{myRuns(9999, secret), []string{"EXECUTE 1243"}, 0},
	{myAsks("# " + secret + "\nSELECT id FROM mixed"), []string{"SELECT mixed ok"}, 0},
}

// mysqlLoggedIn is a connection that is ready for commands, and has prepared two.
func mysqlLoggedIn(ctx context.Context, s service) (net.Conn, error) {
	var raw net.Conn
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = "test", secret, "tcp", s.address, "shop"
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		raw = conn
		return conn, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, text := range []string{"UPDATE mixed SET name = ? WHERE id = 4", "SELECT id, name FROM mixed WHERE name <> ?"} {
		if _, err := conn.Prepare(text); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// TestMySQLHandover mixes what the kernel matches with texts and commands that it does not read, and statements that nobody has prepared.
func TestMySQLHandover(t *testing.T) {
	s := mariaService(t).await(t)
	readyMaria(t, s)
	db, err := sql.Open("mysql", "test:"+secret+"@tcp("+s.address+")/shop")
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE mixed AS SELECT seq AS id, repeat('a', 100) AS name FROM seq_1_to_10")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	var talks []mixTalk
	for i := range uint64(4) {
		talks = append(talks, func(enough *atomic.Bool) (map[string]int, error) {
			conn, err := mysqlLoggedIn(t.Context(), s)
			if err != nil {
				return nil, err
			}
			m := mixOn(t, conn, readMySQL)
			m.whole = true
			m.said["PREPARE UPDATE mixed ok"]++
			m.said["PREPARE SELECT mixed ok"]++
			if i == 0 {
				m.said["CREATE TABLE mixed ok"]++
			}
			return m.said, m.talk(i, enough, mysqlMixed, 1, func(rng *rand.Rand, round int, last bool) (mixSaid, bool) {
				large := myAsks("INSERT INTO missing VALUES ('" + strings.Repeat(fmt.Sprint(secret, " "), 300) + "')")
				if round%400 == 5 {
					return mixSaid{large, []string{"INSERT missing 1146"}, 0}, true
				}
				return mysqlOdd[rng.IntN(len(mysqlOdd))], last || round%200 == 30
			})
		})
	}
	testHandover(t, s, "mysql", talks)
}
