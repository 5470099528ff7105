// Package web serves the page that is built from src/ into dist/ and embedded here, so that the program needs no files beside it.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// policy is the page's Content-Security-Policy: everything from the server itself. Styles may stand in the document, for the
// component library and the editor write theirs there.
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"

// Handler serves the page at any path: the built files by their names, and index.html for every other path, for the page reads
// paths such as /map itself. Files under assets/ have a hash in their name and are cached for ever; all else is asked for again and
// answered with 304 where it is the same. Text is sent gzipped to who accepts it. Mount it behind the API's own routes.
func Handler() http.Handler {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant and valid
	}
	return newHandler(built)
}

type handler struct {
	assets map[string]*asset
}

// newHandler knows all files from the start; it reads and compresses each when it is first asked for.
func newHandler(files fs.FS) *handler {
	h := &handler{assets: map[string]*asset{}}
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			h.assets[name] = newAsset(files, name)
		}
		return nil // a directory that cannot be read holds nothing to serve
	})
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	found, ok := h.assets[name]
	if !ok {
		// A file that is asked for by name and is not there is an error; only a page's address falls back to the page.
		if strings.HasPrefix(name, "assets/") || path.Ext(name) != "" {
			http.NotFound(w, r)
			return
		}
		if found, ok = h.assets["index.html"]; !ok {
			http.Error(w, "the page is not built into this program; run make generate and build again", http.StatusNotFound)
			return
		}
	}
	found.serve(w, r)
}
