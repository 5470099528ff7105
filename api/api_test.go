package api

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
)

// What runs already was started by libraries as they were loaded; one more by the store of events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/metrics.summariesSwapCron"))
}

// serve runs a server until the test ends and gives its address.
func serve(t *testing.T, o Options) (base string, s *Server) {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})
	return "http://" + s.Addr().String(), s
}

func fetch(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, http.DefaultClient, http.MethodGet, url, "", header...)
}

func do(t *testing.T, c *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(text)
}

func TestRoutes(t *testing.T) {
	reg := prometheus.NewRegistry()
	ready := errors.New("reading the log")
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text, " ", r.URL.Path) })
	}
	base, _ := serve(t, Options{
		Registerer: reg, Gatherer: reg, Write: answer("write"), Logs: answer("logs"), Map: answer("map"), Web: answer("page"),
		Ready: func() error { return ready }, Status: func() any { return map[string]int{"series": 3} },
	})
	tests := []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/-/healthy", 200, "vetch is healthy"},
		{"GET", "/-/ready", 503, "vetch is not ready: reading the log"},
		{"GET", "/metrics", 200, "vetch_http_requests_total"},
		{"POST", "/api/v1/write", 200, "write /api/v1/write"},
		{"POST", "/v1/logs", 200, "logs /v1/logs"},
		{"GET", "/api/v1/write", 404, `"errorType":"not_found"`},
		{"GET", "/api/v1/query", 404, "this process stores no metrics"},
		{"GET", "/api/map", 200, "map /api/map"},
		{"GET", "/api/map/stream", 200, "map /api/map/stream"},
		{"GET", "/api/workload?id=x", 200, "map /api/workload"},
		{"POST", "/api/map", 404, `"error":"no such endpoint: POST /api/map"`},
		{"GET", "/api/status", 200, `{"series":3}`},
		{"GET", "/api/nonsense", 404, `"status":"error"`},
		{"GET", "/", 200, "page /"},
		{"GET", "/map", 200, "page /map"},
		{"GET", "/assets/app.js", 200, "page /assets/app.js"},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			resp, text := do(t, http.DefaultClient, tt.method, base+tt.path, "")
			require.Equal(t, tt.status, resp.StatusCode)
			require.Contains(t, text, tt.says)
			require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'self'")
			if strings.HasPrefix(tt.path, "/api/") && tt.status == 404 {
				require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
				require.True(t, json.Valid([]byte(text)))
			}
		})
	}
	ready = nil
	resp, _ := fetch(t, base+"/-/ready")
	require.Equal(t, 200, resp.StatusCode)
	_, text := fetch(t, base+"/metrics")
	require.Contains(t, text, `vetch_http_requests_total{code="404",method="GET",route="/api/other"} 1`)
	require.Contains(t, text, `vetch_http_requests_total{code="200",method="GET",route="/"} 3`)
	require.Contains(t, text, `vetch_http_request_duration_seconds_count{route="/"} 3`)
	require.NotContains(t, text, `vetch_http_request_duration_seconds_count{route="/api/map/stream"}`)
}

func TestAgentHasNoPage(t *testing.T) {
	base, _ := serve(t, Options{})
	resp, text := fetch(t, base+"/")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "/metrics")
	resp, _ = fetch(t, base+"/map")
	require.Equal(t, 404, resp.StatusCode)
}

func TestPackedAnswers(t *testing.T) {
	long := strings.Repeat("vetch ", 10_000)
	base, _ := serve(t, Options{Web: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, long) })})
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, text := do(t, c, "GET", base+"/", "", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	require.Less(t, len(text), 1000)
	r, err := gzip.NewReader(strings.NewReader(text))
	require.NoError(t, err)
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, long, string(plain))
	resp, text = do(t, c, "GET", base+"/", "")
	require.Empty(t, resp.Header.Get("Content-Encoding"))
	require.Equal(t, long, text)
}

func TestPanicsAreCounted(t *testing.T) {
	base, s := serve(t, Options{
		Status: func() any { panic("secret detail") },
		Web: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half an ")
			_ = http.NewResponseController(w).Flush()
			panic("answer")
		}),
	})
	resp, text := fetch(t, base+"/api/status")
	require.Equal(t, 500, resp.StatusCode)
	require.Contains(t, text, `"errorType":"internal"`)
	require.NotContains(t, text, "secret detail", "what went wrong is for the log")
	resp, err := http.Get(base + "/")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the client sees that it was cut")
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 2.0, testutil.ToFloat64(s.metrics.panics))
	resp, _ = fetch(t, base+"/-/healthy")
	require.Equal(t, 200, resp.StatusCode)
}

func TestOtherSitesCannotWrite(t *testing.T) {
	base, _ := serve(t, Options{Write: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })})
	resp, _ := do(t, http.DefaultClient, "POST", base+"/api/v1/write", "x", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, 403, resp.StatusCode)
	resp, _ = do(t, http.DefaultClient, "POST", base+"/api/v1/write", "x", "Origin", "http://evil.example")
	require.Equal(t, 403, resp.StatusCode)
	resp, _ = do(t, http.DefaultClient, "POST", base+"/api/v1/write", "x")
	require.Equal(t, 204, resp.StatusCode, "a program is no browser")
}

func TestStreamEndsWithTheServer(t *testing.T) {
	s, err := New(Options{Listen: "127.0.0.1:0", Map: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "event: map\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		<-r.Context().Done()
	})})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	resp, err := http.Get("http://" + s.Addr().String() + streamPath)
	require.NoError(t, err)
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "event: map\n", line, "it came at once, unpacked")
	cancel()
	require.NoError(t, <-done, "an open stream does not hold up the end")
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}

func TestRequestsThatDoNotEndAreCut(t *testing.T) {
	begun := make(chan struct{})
	s, err := New(Options{Listen: "127.0.0.1:0", Web: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	asked := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr().String())
		if err == nil {
			err = resp.Body.Close()
		}
		asked <- err
	}()
	<-begun
	cancel()
	require.NoError(t, <-done, "it waits no longer than it may")
	<-asked
	http.DefaultClient.CloseIdleConnections()
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = New(Options{Listen: l.Addr().String()})
	require.ErrorIs(t, err, ErrAddressInUse)
	require.ErrorContains(t, err, l.Addr().String())
	_, err = New(Options{Listen: "127.0.0.1:no"})
	require.ErrorContains(t, err, "listen on 127.0.0.1:no")
	s, err := New(Options{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// webConfig writes a certificate and a web configuration with the parts that are asked for.
func webConfig(t *testing.T, withTLS, withUsers bool) (file string, roots *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	text := ""
	if withTLS {
		text += "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
	}
	if withUsers {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		require.NoError(t, err)
		text += "basic_auth_users:\n  ann: " + string(hash) + "\n"
	}
	file = filepath.Join(dir, "web.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return file, roots
}

func TestOpenAddressesNeedProtection(t *testing.T) {
	both, _ := webConfig(t, true, true)
	onlyTLS, _ := webConfig(t, true, false)
	onlyUsers, _ := webConfig(t, false, true)
	tests := map[string]struct {
		options Options
		says    string // empty: allowed
	}{
		"loopback":            {Options{Listen: "127.0.0.1:0"}, ""},
		"loopback 6":          {Options{Listen: "[::1]:0"}, ""},
		"localhost":           {Options{Listen: "localhost:0"}, ""},
		"all":                 {Options{Listen: "0.0.0.0:0"}, "needs TLS and users"},
		"all by no name":      {Options{Listen: ":0"}, "or --insecure"},
		"all, insecure":       {Options{Listen: ":0", Insecure: true}, ""},
		"all, TLS and users":  {Options{Listen: ":0", WebConfigFile: both}, ""},
		"all, only TLS":       {Options{Listen: ":0", WebConfigFile: onlyTLS}, "needs users"},
		"all, only users":     {Options{Listen: ":0", WebConfigFile: onlyUsers}, "needs TLS"},
		"loopback, only TLS":  {Options{Listen: "127.0.0.1:0", WebConfigFile: onlyTLS}, ""},
		"configuration lost":  {Options{Listen: "127.0.0.1:0", WebConfigFile: "/nonexistent.yml"}, "no such file"},
		"configuration wrong": {Options{Listen: "127.0.0.1:0", WebConfigFile: "api.go"}, "api.go"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(tt.options)
			if err == nil {
				require.NoError(t, s.Close())
			}
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestTLSAndUsers(t *testing.T) {
	file, roots := webConfig(t, true, true)
	base, s := serve(t, Options{WebConfigFile: file})
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	url := "https://" + s.Addr().String() + "/-/healthy"
	resp, _ := do(t, c, "GET", url, "")
	require.Equal(t, 401, resp.StatusCode)
	req, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	req.SetBasicAuth("ann", "secret")
	resp, err = c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	resp, _ = fetch(t, base)
	require.Equal(t, 400, resp.StatusCode, "plain HTTP to a TLS port")
}

func TestSlowAndLargeRequests(t *testing.T) {
	_, s := serve(t, Options{})
	t.Run("header of 1 MiB", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		go fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("a", 1<<20))
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "431")
	})
	t.Run("noise", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("\x16\x03\x01\x00\xff\x00\r\n\r\n"))
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "400")
	})
}
