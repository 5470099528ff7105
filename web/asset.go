package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// asset is one built file with all that its answers need. load runs once, when it is first asked for.
type asset struct {
	name string
	load func() content
}

type content struct {
	plain, gzipped []byte // gzipped is nil where compression does not help
	etag           string // strong, of the plain bytes, with quotes
	err            error
}

// types of what a build writes; the machine's own table may lack them or differ.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".md":   "text/plain; charset=utf-8",
	".svg":  "image/svg+xml",
}

func newAsset(files fs.FS, name string) *asset {
	return &asset{name: name, load: sync.OnceValue(func() content { return readContent(files, name) })}
}

func readContent(files fs.FS, name string) content {
	plain, err := fs.ReadFile(files, name)
	if err != nil {
		return content{err: err}
	}
	sum := sha256.Sum256(plain)
	c := content{plain: plain, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	if _, text := types[path.Ext(name)]; text && len(plain) > 1024 {
		c.gzipped = compress(plain)
	}
	return c
}

func compress(plain []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is a constant and valid
	_, _ = z.Write(plain)                                   // a bytes.Buffer takes everything
	if z.Close() != nil || out.Len() >= len(plain) {
		return nil
	}
	return out.Bytes()
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	c := a.load()
	if c.err != nil {
		http.Error(w, "read "+a.name+" from the program: "+c.err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.contentType())
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(a.name, "assets/") {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.HasSuffix(a.name, ".html") {
		header.Set("Content-Security-Policy", policy)
		header.Set("Referrer-Policy", "same-origin")
	}
	body, etag := c.plain, c.etag
	if c.gzipped != nil {
		header.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			body, etag = c.gzipped, strings.TrimSuffix(c.etag, `"`)+`-gzip"`
		}
	}
	header.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a browser that is gone cannot be told
	}
}

func (a *asset) contentType() string {
	ext := path.Ext(a.name)
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// acceptsGzip reads an Accept-Encoding header: gzip or * is named, and not with q=0.
func acceptsGzip(header string) bool {
	for _, part := range strings.Split(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "gzip" && coding != "*" {
			continue
		}
		key, value, _ := strings.Cut(strings.ReplaceAll(params, " ", ""), "=")
		quality, err := strconv.ParseFloat(value, 64)
		return !strings.EqualFold(key, "q") || err != nil || quality > 0
	}
	return false
}

// matches reads an If-None-Match header by weak comparison, as RFC 9110 asks for.
func matches(header, etag string) bool {
	for _, part := range strings.Split(header, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}
