package binary

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certificate is one that nobody trusts.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// accept serves connections one by one until the test ends.
func accept(t testing.TB, serve func(net.Conn)) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	return listener
}

// requireHandshakes waits for the TLS connections of an edge by version and name, and that the edge has one protocol.
func requireHandshakes(t *testing.T, match labels, protocol string, want map[string]float64) {
	t.Helper()
	for _, v := range built.watchers {
		err := poll(t.Context(), func() error {
			s := v.mustRead(t)
			if got := s.by("vetch_edge_tls_connections_total", match, "version", "sni"); !maps.Equal(got, want) {
				return fmt.Errorf("TLS connections: %v, want %v", got, want)
			}
			if got := s.by("vetch_edge_connections_total", match, "protocol"); len(got) != 1 || protocol != "" && got[protocol] == 0 {
				return fmt.Errorf("protocols %v, want %s", got, protocol)
			}
			return v.ready()
		})
		require.NoError(t, err, "%s hook", v.hook)
	}
}

// TestTLSHandshakes has connections of TLS whose content nobody recognises: they are counted by what their hellos say.
func TestTLSHandshakes(t *testing.T) {
	server := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}}
	strict := server.Clone()
	strict.MinVersion = tls.VersionTLS13
	listener := accept(t, func(conn net.Conn) {
		secure := tls.Server(conn, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "strict.example" {
				return strict, nil
			}
			return server, nil
		}})
		io.Copy(secure, secure)
	})
	want := map[string]float64{}
	for _, row := range []struct {
		count     int
		name, key string
		client    *tls.Config
	}{
		{50, "new.example", "1.3 new.example", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}},
		{30, "old.example", "1.2 old.example", &tls.Config{MaxVersion: tls.VersionTLS12}},
		{20, "", "1.3 ", &tls.Config{}},
		{10, "strict.example", "none strict.example", &tls.Config{MaxVersion: tls.VersionTLS12}},
	} {
		for range row.count {
			conn, err := net.Dial("tcp", listener.Addr().String())
			require.NoError(t, err)
			row.client.ServerName, row.client.InsecureSkipVerify = row.name, true
			secure := tls.Client(conn, row.client)
			if err := secure.Handshake(); row.name != "strict.example" {
				require.NoError(t, err)
				_, err = secure.Write([]byte("\xff\xfe " + secret))
				require.NoError(t, err)
				_, err = io.ReadFull(secure, make([]byte, 3+len(secret)))
				require.NoError(t, err)
			}
			conn.Close()
		}
		want[row.key] = float64(row.count)
	}
	requireHandshakes(t, labels{"server": self(t), "port": strconv.Itoa(portOf(t, listener.Addr().String()))}, "tls", want)
}

// TestTLSWithinMail has a server of mail that goes on in TLS when asked (RFC 3207), and one that is not asked.
func TestTLSWithinMail(t *testing.T) {
	settings := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	listener := accept(t, func(conn net.Conn) {
		lines := bufio.NewScanner(conn)
		fmt.Fprintf(conn, "220 mail.example ESMTP\r\n")
		for lines.Scan() {
			switch lines.Text() {
			case "STARTTLS":
				fmt.Fprintf(conn, "220 go ahead\r\n")
				io.Copy(io.Discard, tls.Server(conn, settings))
				return
			case "QUIT":
				return
			default:
				fmt.Fprintf(conn, "250-mail.example\r\n250 STARTTLS\r\n")
			}
		}
	})
	for i := range 40 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		lines := bufio.NewScanner(conn)
		say := func(text string, answers int) {
			if text != "" {
				fmt.Fprintf(conn, "%s\r\n", text)
			}
			for range answers {
				require.True(t, lines.Scan())
			}
		}
		say("", 1)
		say("EHLO client.example", 2)
		if i < 30 {
			say("STARTTLS", 1)
			require.NoError(t, tls.Client(conn, &tls.Config{ServerName: "mail.example", InsecureSkipVerify: true}).Handshake())
		} else {
			say("QUIT", 0)
		}
		conn.Close()
	}
	requireHandshakes(t, labels{"server": self(t), "port": strconv.Itoa(portOf(t, listener.Addr().String()))}, "", map[string]float64{"1.3 mail.example": 30})
}

// TestTLSOfCurl has a server and a client that read the heads of records by themselves (OpenSSL), whose requests may be seen too: the edge
// has one protocol.
func TestTLSOfCurl(t *testing.T) {
	dir := t.TempDir()
	openssl, err := exec.LookPath("openssl")
	require.NoError(t, err)
	ran(t, exec.Command(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=web.example", "-keyout", dir+"/key", "-out", dir+"/cert"))
	s, path := installed(t, openssl)
	require.NoError(t, os.WriteFile(s.dir+"/file", []byte("content"), 0o644))
	serve(t, s.dir, exec.Command(path, "s_server", "-accept", s.address, "-cert", dir+"/cert", "-key", dir+"/key", "-WWW", "-quiet"))
	s.await(t)
	const n = 20
	for range n {
		ran(t, exec.Command("curl", "-skf", "--http1.1", "--resolve", "web.example:"+s.port()+":"+s.host(), "https://web.example:"+s.port()+"/file"))
	}
	requireHandshakes(t, labels{"server": s.workload, "port": s.port()}, "", map[string]float64{"1.3 web.example": n})
}
