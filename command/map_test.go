package command

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/servicemap"
)

func f(v float64) *float64 { return &v }

func sampleMap() *servicemap.Map {
	signals := servicemap.Signals{Rate: f(1234.5), ErrorShare: f(0.0421), P50: f(0.0009), P95: f(0.0123), P99: f(1.5)}
	return &servicemap.Map{
		Start: time.Unix(0, 0), End: time.Unix(60, 0),
		Edges: []servicemap.Edge{
			{Client: "/Process/curl", Server: "/Process/nginx", Port: 80, Protocol: "http", Health: servicemap.OK,
				Signals: servicemap.Signals{Rate: f(2), ErrorShare: f(0), P50: f(0.001), P95: f(0.002), P99: f(0.002)}, FailedConnectRate: f(0)},
			{Client: "shop/Deployment/web", Server: "shop/Deployment/cart", Port: 8080, Protocol: "http", Health: servicemap.Warning, Signals: signals},
			{Client: "shop/Deployment/cart", Server: "/External/db.example", Port: 5432, Protocol: "tcp", Health: servicemap.Critical, FailedConnectRate: f(0.5)},
			{Client: "shop/Deployment/cart", Server: "shop/Deployment/web", Port: 80, Protocol: "tcp", Health: servicemap.Idle},
			{Client: "/Process/cron", Server: "shop/Deployment/web", Port: 80, Protocol: "tcp", Health: servicemap.OK},
		},
	}
}

func TestEdgeTable(t *testing.T) {
	require.Equal(t, strings.TrimLeft(`
CLIENT                SERVER                PORT  PROTOCOL     RATE  ERRORS    P50     P95   P99  FAILED  HEALTH
shop/Deployment/cart  External/db.example   5432  tcp             -       -      -       -     -   0.5/s  critical
shop/Deployment/web   shop/Deployment/cart  8080  http      1.23k/s   4.21%  900µs  12.3ms  1.5s       -  warning
Process/curl          Process/nginx           80  http          2/s      0%    1ms     2ms   2ms       -  ok
Process/cron          shop/Deployment/web     80  tcp             -       -      -       -     -       -  ok
shop/Deployment/cart  shop/Deployment/web     80  tcp             -       -      -       -     -       -  idle
`, "\n"), edgeTable(sampleMap(), false))
	require.Contains(t, edgeTable(sampleMap(), true), escRed+"shop/Deployment/cart")
	require.Equal(t, noEdges, edgeTable(&servicemap.Map{}, true))
}

func TestTree(t *testing.T) {
	require.Equal(t, strings.TrimLeft(`
Process/cron
└─ shop/Deployment/web :80 tcp
   └─ shop/Deployment/cart :8080 http  1.23k/s  errors 4.21%  p50 900µs  p95 12.3ms  p99 1.5s
      ├─ External/db.example :5432 tcp  failed connects 0.5/s
      └─ shop/Deployment/web :80 tcp  (its calls are shown elsewhere)
Process/curl
└─ Process/nginx :80 http  2/s  errors 0%  p50 1ms  p95 2ms  p99 2ms
`, "\n"), treeText(sampleMap(), false))
}

func TestTreeOfCirclesAndLongChains(t *testing.T) {
	circle := &servicemap.Map{Edges: []servicemap.Edge{{Client: "/P/a", Server: "/P/b"}, {Client: "/P/b", Server: "/P/a"}, {Client: "/P/c", Server: "/P/c"}}}
	text := treeText(circle, false)
	require.Equal(t, "P/c\n└─ P/c :0 \nP/a\n└─ P/b :0 \n   └─ P/a :0   (its calls are shown elsewhere)\n", text)

	chain := &servicemap.Map{}
	for i := range 1000 {
		chain.Edges = append(chain.Edges, servicemap.Edge{Client: fmt.Sprintf("/P/%04d", i), Server: fmt.Sprintf("/P/%04d", i+1)})
	}
	text = treeText(chain, false)
	for _, e := range chain.Edges {
		require.Contains(t, text, "P/"+strings.TrimPrefix(e.Server, "/P/")+" :", "every edge is drawn")
	}
	require.Less(t, len(text), 1000*(maxTreeDepth+5)*10)
}

func TestFigures(t *testing.T) {
	require.Equal(t, "-", rateText(nil))
	for v, want := range map[float64]string{0: "0/s", 0.0421: "0.042/s", 4.213: "4.21/s", 99.95: "100/s", 421.6: "422/s", 4213: "4.21k/s", 2.5e6: "2.5M/s"} {
		require.Equal(t, want, rateText(&v))
	}
	for v, want := range map[float64]string{0.0000004: "0.4µs", 0.0000421: "42.1µs", 0.0421: "42.1ms", 4.2: "4.2s", 64: "64s"} {
		require.Equal(t, want, secondsText(&v))
	}
	for v, want := range map[float64]string{0: "0%", 0.0001: "<0.1%", 0.05: "5%", 1: "100%"} {
		require.Equal(t, want, shareText(&v))
	}
}

func TestNamesCannotCommandTheTerminal(t *testing.T) {
	m := &servicemap.Map{Edges: []servicemap.Edge{{Client: "/Process/a\x1b[2Jb", Server: "/Process/x\ny", Protocol: "t\x07cp", Health: servicemap.OK}}}
	for _, text := range []string{edgeTable(m, false), treeText(m, false)} {
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, text, "\x07")
		require.NotContains(t, text, "x\ny")
	}
}

const mapJSON = `{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:01:00Z","nodes":[],"edges":[
{"id":"e","client":"/Process/curl","server":"/Process/nginx","port":80,"protocol":"http","health":"ok","signals":{"rate":2,"errorShare":null,"p50":null,"p95":null,"p99":null}}]}`

func TestMapAsksTheServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if user != "u" || pass != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("start") != "-5m" || r.URL.Query().Get("namespace") != "shop" || r.URL.Path != "/below/api/map" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":"unexpected %s"}`, r.URL)
			return
		}
		fmt.Fprint(w, mapJSON)
	}))
	defer srv.Close()
	server := strings.Replace(srv.URL, "http://", "http://u:secret@", 1) + "/below"

	got := vetch(t, nil, "map", "--server", server, "--range", "5m", "-n", "shop")
	require.Equal(t, 0, got.code, got.stderr)
	require.Contains(t, got.stdout, "Process/curl")
	got = vetch(t, nil, "map", "--server", server, "--range", "5m", "-n", "shop", "-o", "json")
	require.JSONEq(t, mapJSON, got.stdout)
	got = vetch(t, nil, "map", "--server", server)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "400 Bad Request: unexpected /below/api/map")
	require.Contains(t, vetch(t, nil, "map", "--server", srv.URL).stderr, "401 Unauthorized")
	srv.Close()
	require.NotContains(t, vetch(t, nil, "map", "--server", server).stderr, "secret")
}

func TestMapOverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, mapJSON) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // one client is meant to refuse the certificate
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	require.Equal(t, 1, vetch(t, nil, "map", "--server", srv.URL).code)
	got := vetch(t, nil, "map", "--server", srv.URL, "--ca-file", ca)
	require.Equal(t, 0, got.code, got.stderr)
}

func TestMapFindsTheConfiguredServer(t *testing.T) {
	for env, want := range map[string]string{
		"A=":                     "http://127.0.0.1:4780",
		"VETCH_LISTEN=[::1]:1":   "http://[::1]:1",
		"VETCH_LISTEN=0.0.0.0:2": "http://127.0.0.1:2",
		"VETCH_LISTEN=:3":        "http://127.0.0.1:3",
	} {
		u, err := serverURL("", []string{env, "VETCH_INSECURE=true"})
		require.NoError(t, err)
		require.Equal(t, want, u.String())
	}
}

func TestWrongAnswers(t *testing.T) {
	for name, body := range map[string]string{"not JSON": "<html>", "cut": mapJSON[:100], "other JSON": `[1]`, "empty": ""} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		got := vetch(t, nil, "map", "--server", srv.URL)
		require.Equal(t, 1, got.code, name)
		require.Contains(t, got.stderr, "read the map", name)
		srv.Close()
	}
}

// TestWatchSurvivesARestart streams a map, drops the connection, streams another, and then the reader ends.
func TestWatchSurvivesARestart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers++
		fmt.Fprintf(w, ": hello\n\nevent: map\ndata: %s\n\n", strings.ReplaceAll(strings.ReplaceAll(mapJSON, "\n", "\ndata: "), "curl", fmt.Sprintf("curl%d", answers)))
		if answers == 2 {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	out := &until{text: "curl2", done: cancel}
	var stderr bytes.Buffer
	code := execute(ctx, program{nil, out, &stderr}, []string{"map", "--watch", "--server", srv.URL})
	require.Equal(t, 0, code, stderr.String())
	require.Contains(t, out.String(), "curl1")
	require.NotContains(t, out.String(), "\x1b", "a pipe gets no escapes")
}

// until calls done once text was written.
type until struct {
	bytes.Buffer
	text string
	done func()
}

func (u *until) Write(b []byte) (int, error) {
	n, err := u.Buffer.Write(b)
	if strings.Contains(u.String(), u.text) {
		u.done()
	}
	return n, err
}

func TestReadEvents(t *testing.T) {
	for name, tc := range map[string]struct{ stream, want string }{
		"one":             {"event: map\ndata: a\n\n", "a|"},
		"several lines":   {"event: map\ndata: a\ndata: b\n\n", "a\nb|"},
		"no space":        {"event:map\ndata:a\n\n", "a|"},
		"crlf":            {"event: map\r\ndata: a\r\n\r\n", "a|"},
		"comment":         {": x\n\nevent: map\n: y\ndata: a\n\n: z\n", "a|"},
		"other event":     {"event: ping\ndata: a\n\nevent: map\ndata: b\n\n", "b|"},
		"no event name":   {"data: a\n\n", ""},
		"cut in the data": {"event: map\ndata: a\n\nevent: map\ndata: b\n", "a|"},
		"noise":           {"\x00\xff\n:::\nretry: 5\nid\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			require.NoError(t, readEvents(strings.NewReader(tc.stream), "map", func(b []byte) error { got += string(b) + "|"; return nil }))
			require.Equal(t, tc.want, got)
		})
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("event: map\ndata: {}\n\n"))
	f.Add([]byte("data\n:\n\n\r\nevent:map\r\ndata: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		_ = readEvents(bytes.NewReader(stream), "map", func(data []byte) error {
			if m, err := decodeMap(data); err == nil {
				edgeTable(m, true)
				treeText(m, true)
			}
			return nil
		})
	})
}
