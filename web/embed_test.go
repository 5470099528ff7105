package web

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, h http.Handler, method, target string, header map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

var script = strings.Repeat("console.log('vetch');\n", 200)

func testFiles() fs.FS {
	return fstest.MapFS{
		"index.html":         {Data: []byte("<!doctype html><title>vetch</title>")},
		"assets/index-ab.js": {Data: []byte(script)},
		"assets/icon-cd.svg": {Data: []byte("<svg/>")},
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		method, target, wantType, wantCache string
		want                                int
	}{
		{"GET", "/", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/index.html", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/map?node=a", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/some/deep/page", "text/html; charset=utf-8", "no-cache", 200},
		{"HEAD", "/map", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/assets/index-ab.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", 200},
		{"GET", "/assets/icon-cd.svg", "image/svg+xml", "public, max-age=31536000, immutable", 200},
		{"GET", "/assets/index-gone.js", "", "", 404},
		{"GET", "/assets", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/favicon.ico", "", "", 404},
		{"GET", "/../../etc/passwd.txt", "", "", 404},
		{"POST", "/", "", "", 405},
	}
	h := newHandler(testFiles())
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			res := get(t, h, tt.method, tt.target, nil)
			require.Equal(t, tt.want, res.StatusCode)
			if tt.want != 200 {
				return
			}
			require.Equal(t, tt.wantType, res.Header.Get("Content-Type"))
			require.Equal(t, tt.wantCache, res.Header.Get("Cache-Control"))
			require.NotEmpty(t, res.Header.Get("ETag"))
			if tt.method == "HEAD" {
				require.Empty(t, body(t, res.Body))
			}
		})
	}
}

func TestGzip(t *testing.T) {
	h := newHandler(testFiles())
	for header, want := range map[string]bool{
		"gzip, deflate, br": true, "br;q=1.0, gzip;q=0.8": true, "*": true, "GZIP": true,
		"": false, "br": false, "gzip;q=0": false, "gzip; q=0.0": false,
	} {
		t.Run(header, func(t *testing.T) {
			res := get(t, h, "GET", "/assets/index-ab.js", map[string]string{"Accept-Encoding": header})
			require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"))
			if !want {
				require.Empty(t, res.Header.Get("Content-Encoding"))
				require.Equal(t, script, body(t, res.Body))
				return
			}
			require.Equal(t, "gzip", res.Header.Get("Content-Encoding"))
			z, err := gzip.NewReader(res.Body)
			require.NoError(t, err)
			require.Equal(t, script, body(t, z))
		})
	}
	small := get(t, h, "GET", "/assets/icon-cd.svg", map[string]string{"Accept-Encoding": "gzip"})
	require.Empty(t, small.Header.Get("Content-Encoding"))
}

func TestNotModified(t *testing.T) {
	h := newHandler(testFiles())
	plain := get(t, h, "GET", "/assets/index-ab.js", nil).Header.Get("ETag")
	zipped := get(t, h, "GET", "/assets/index-ab.js", map[string]string{"Accept-Encoding": "gzip"}).Header.Get("ETag")
	require.NotEqual(t, plain, zipped, "two encodings are two representations")
	for _, header := range []string{plain, "W/" + plain, `"other", ` + plain, "*"} {
		res := get(t, h, "GET", "/assets/index-ab.js", map[string]string{"If-None-Match": header})
		require.Equal(t, http.StatusNotModified, res.StatusCode, header)
		require.Empty(t, body(t, res.Body))
	}
	res := get(t, h, "GET", "/assets/index-ab.js", map[string]string{"If-None-Match": `"other"`})
	require.Equal(t, 200, res.StatusCode)
}

func TestNotBuilt(t *testing.T) {
	res := get(t, newHandler(fstest.MapFS{}), "GET", "/", nil)
	require.Equal(t, 404, res.StatusCode)
	require.Contains(t, body(t, res.Body), "make generate")
}

// TestEmbedded reads the committed build: all that index.html names is there, comes from this server, and all of it stays small.
func TestEmbedded(t *testing.T) {
	h := Handler()
	res := get(t, h, "GET", "/", nil)
	require.Equal(t, 200, res.StatusCode)
	require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'self'")
	html := body(t, res.Body)
	names := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(html, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.True(t, strings.HasPrefix(name[1], "/assets/"), name[1])
		require.Equal(t, 200, get(t, h, "GET", name[1], nil).StatusCode, name[1])
	}
	require.NotContains(t, html, "<style")
	require.NotRegexp(t, `<script[^>]*>[^<]`, html, "the policy forbids scripts in the document")

	var total int64
	require.NoError(t, fs.WalkDir(dist, ".", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		total += info.Size()
		return err
	}))
	require.Less(t, total, int64(2<<20))
}
