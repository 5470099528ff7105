package api

import (
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// Page serves a built single-page application: its files as they are, and index.html for every other path, which the page
// itself understands. What is under assets/ has a hash in its name and may be kept for ever; all else is asked for again each time.
func Page(files fs.FS) http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		info, err := fs.Stat(files, name)
		switch {
		case err == nil && !info.IsDir() && name != "index.html": // the file server would send index.html to "/"
			if strings.HasPrefix(name, "assets/") {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			} else {
				w.Header().Set("Cache-Control", "no-cache")
			}
			server.ServeHTTP(w, r)
		case strings.HasPrefix(name, "assets/"):
			http.NotFound(w, r)
		default:
			w.Header().Set("Cache-Control", "no-cache")
			index, err := fs.ReadFile(files, "index.html")
			if err != nil {
				http.Error(w, "the page is not built into this program", http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(index) // a browser that is gone cannot be told
		}
	})
}
