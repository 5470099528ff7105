package binary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/servicemap"
)

// The tokens of a central server: one to write with, one for everything.
const writeToken, allToken = "write-0123456789abcdef", "all-0123456789abcdef"

// central is a "vetch server" with TLS. It keeps its address and data over a restart.
type central struct {
	*run
	listen, dataDir, dir string
	certificates         bool // clients are known by certificates, else by tokens
	http                 *http.Client
}

func startCentral(t *testing.T, certificates bool) *central {
	t.Helper()
	port, err := freePort()
	require.NoError(t, err)
	c := &central{listen: fmt.Sprintf("127.0.0.1:%d", port), dataDir: t.TempDir(), dir: t.TempDir(), certificates: certificates}
	authority(t, c.dir)
	config := fmt.Sprintf("tls_server_config:\n  cert_file: %s\n  key_file: %s\n", c.file("server.pem"), c.file("server.key"))
	if certificates {
		config += fmt.Sprintf("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: %s\n", c.file("ca.pem"))
	}
	c.write(t, "web.yml", config)
	c.write(t, "tokens", "write "+writeToken+" # agents\nall "+allToken+"\n")
	c.write(t, "token", writeToken+"\n")
	pool := x509.NewCertPool()
	text, err := os.ReadFile(c.file("ca.pem"))
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(text))
	own, err := tls.LoadX509KeyPair(c.file("client.pem"), c.file("client.key"))
	require.NoError(t, err)
	c.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}}}
	c.start(t)
	return c
}

func (c *central) file(name string) string { return filepath.Join(c.dir, name) }

func (c *central) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(c.file(name), []byte(text), 0o600))
}

// start starts it, or starts it again.
func (c *central) start(t *testing.T) {
	t.Helper()
	c.run = &run{vetch: &vetch{url: "https://" + c.listen, log: &lockedBuffer{}}, ended: make(chan error, 1)}
	args := []string{"server", "--listen", c.listen, "--data-dir", c.dataDir, "--metrics-interval", "1s", "--web-config-file", c.file("web.yml")}
	if !c.certificates {
		args = append(args, "--web-token-file", c.file("tokens"))
	}
	c.cmd = exec.Command(built.vetch, args...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	require.NoError(t, c.cmd.Start())
	r := c.run
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() }) //nolint:errcheck // it may be gone
	require.NoError(t, poll(t.Context(), func() error {
		_, err := c.ask("/-/ready", "")
		return err
	}), "vetch server says:\n%s", c.log)
}

// environment is what an agent must be given to send there.
func (c *central) environment() []string {
	env := []string{"VETCH_SERVER=https://" + c.listen, "VETCH_SHIP_CA_FILE=" + c.file("ca.pem")}
	if c.certificates {
		return append(env, "VETCH_SHIP_CERT_FILE="+c.file("client.pem"), "VETCH_SHIP_KEY_FILE="+c.file("client.key"))
	}
	return append(env, "VETCH_SHIP_TOKEN_FILE="+c.file("token"))
}

// ask returns the answer to a GET, or what is wrong with it.
func (c *central) ask(path, token string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", path, response.Status, text)
	}
	return text, err
}

var errNothing = errors.New("the query has no result")

// value is that of a query with one result.
func (c *central) value(expr string) (float64, error) {
	text, err := c.ask("/api/v1/query?query="+url.QueryEscape(expr), allToken)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) == 0 {
		return 0, errNothing
	}
	if len(answer.Data.Result) > 1 {
		return 0, fmt.Errorf("%s has %d results", expr, len(answer.Data.Result))
	}
	return strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
}

// wait waits until the query has the value.
func (c *central) wait(t *testing.T, expr string, want float64) {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error {
		got, err := c.value(expr)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %v, not %v", expr, got, want)
		}
		return err
	}), "vetch server says:\n%s", c.log)
}

// callees are the servers of a client on the map of the last minutes.
func (c *central) callees(t *testing.T, client string) (servers []string) {
	t.Helper()
	text, err := c.ask("/api/map?start=-5m", allToken)
	require.NoError(t, err)
	var m servicemap.Map
	require.NoError(t, json.Unmarshal(text, &m))
	for _, e := range m.Edges {
		if e.Client == client {
			servers = append(servers, e.Server)
		}
	}
	return servers
}

// authority writes certificates for a server on loopback and a client, and that of who signed them: ca, server and client, .pem and .key.
func authority(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	store := func(name, kind string, der []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	signed, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	store("ca.pem", "CERTIFICATE", signed)
	for i, name := range []string{"server", "client"} {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		signed, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: name}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, ca, own.Public(), key)
		require.NoError(t, err)
		store(name+".pem", "CERTIFICATE", signed)
		der, err := x509.MarshalECPrivateKey(own)
		require.NoError(t, err)
		store(name+".key", "EC PRIVATE KEY", der)
	}
}
