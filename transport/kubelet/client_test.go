package kubelet

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files of testdata are answers of the kubelet of Kubernetes 1.36 on a node of test/cluster, whose cgroups are of version 1; of its metrics those
// that are read, and one more.

const postgres = "/vetch-test-a7eccae2/node1/kubepods/besteffort/pod1f5b2ce6-af71-49c0-a538-aec0a43615a1/4d3a5896746c3db343542021a804eec49d32c94cc58ca83c5c17ce448653ecf7"

// serve is a kubelet that gives the files of testdata to who has the token.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, known := map[string]string{"/stats/summary": "summary.json", "/metrics/cadvisor": "cadvisor.txt"}[r.URL.Path]
		switch {
		case r.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusUnauthorized)
		case !known:
			http.NotFound(w, r)
		default:
			http.ServeFile(w, r, filepath.Join("testdata", file))
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestKubelet(t *testing.T) {
	server := serve(t)
	address := strings.TrimPrefix(server.URL, "https://")
	ca := write(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	token := write(t, "token", []byte("secret\n"))
	for name, o := range map[string]Options{
		"its certificate is known":      {Address: address, CAFile: ca, TokenFile: token},
		"it has one that nobody signed": {Address: address, Unverified: true, TokenFile: token},
	} {
		c, err := NewClient(o)
		require.NoError(t, err, name)
		groups, err := c.Cadvisor(context.Background())
		require.NoError(t, err, name)
		require.InDelta(t, 2.681476239, groups[postgres].Values["container_cpu_usage_seconds_total"], 1e-9)
		s, err := c.Summary(context.Background())
		require.NoError(t, err, name)
		require.Equal(t, "node1", s.Node.Name)
		require.InDelta(t, 40464384, *Sum(s.Pods[0].Ephemeral), 0)
	}
	for want, o := range map[string]Options{
		"certificate": {Address: address, TokenFile: token},
		"401":         {Address: address, Unverified: true},
	} {
		c, err := NewClient(o)
		require.NoError(t, err)
		_, err = c.Summary(context.Background())
		require.ErrorContains(t, err, want)
	}
	_, err := NewClient(Options{Address: address, CAFile: "/does/not/exist"})
	require.Error(t, err)
	for address, want := range map[string]string{"10.0.0.5": "10.0.0.5:10250", "fd00::5": "[fd00::5]:10250", "[fd00::5]": "[fd00::5]:10250", "node1:1": "node1:1", "[fd00::5]:2": "[fd00::5]:2"} {
		c, err := NewClient(Options{Address: address})
		require.NoError(t, err)
		require.Equal(t, want, c.base.Host)
	}
}

func TestCadvisor(t *testing.T) {
	text, err := os.ReadFile("testdata/cadvisor.txt")
	require.NoError(t, err)
	groups, err := ReadCadvisor(bytes.NewReader(text))
	require.NoError(t, err)
	g := groups[postgres]
	require.Equal(t, []string{"shop", "postgres-0", "postgres", "localhost/shop-postgres:1"}, []string{g.Namespace, g.Pod, g.Container, g.Image})
	require.InDelta(t, 36577280, g.Values["container_memory_working_set_bytes"], 0)
	require.NotContains(t, g.Values, "container_ulimits_soft")
	require.InDelta(t, 3086345+9507486, groups["/"].Values["container_network_receive_bytes_total"], 0, "of all interfaces")

	_, err = ReadCadvisor(strings.NewReader("container_memory_rss{id=\"/a"))
	require.Error(t, err)
	var many strings.Builder
	for i := range maxGroups + 1 {
		many.WriteString(`container_memory_rss{id="/` + strconv.Itoa(i) + `"} 1` + "\n")
	}
	_, err = ReadCadvisor(strings.NewReader(many.String()))
	require.ErrorContains(t, err, "more than 20000 cgroups")
	_, err = ReadCadvisor(repeat('#'))
	require.ErrorContains(t, err, "more than 64 MiB")
}

func FuzzCadvisor(f *testing.F) {
	text, err := os.ReadFile("testdata/cadvisor.txt")
	require.NoError(f, err)
	f.Add(text[:2000])
	f.Add([]byte("container_memory_rss{id=\"/a\",id=\"/b\"} NaN 5\n# EOF\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		groups, err := ReadCadvisor(bytes.NewReader(b))
		require.True(t, err == nil || groups == nil)
		for path, g := range groups {
			require.Equal(t, path, g.Path)
		}
	})
}
