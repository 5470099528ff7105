package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a file of tokens.
const (
	maxTokenFile  = 1 << 20
	minToken      = 16 // bytes; shorter ones can be guessed
	tokenInterval = time.Second
)

// scope is what a token is for.
type scope uint8

const (
	scopeNone  scope = iota
	scopeWrite       // POST /api/v1/write and /v1/logs, for agents
	scopeAll
)

// tokens are those of a file, one a line: "write TOKEN" or "all TOKEN". What follows a # in front of a word means nothing. The file is read
// again when it has changed.
type tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	known   map[[sha256.Size]byte]scope // by hash, so that the time a look-up takes tells nothing of the token
	file    os.FileInfo
	checked time.Time
}

func openTokens(path string, log *slog.Logger) (*tokens, error) {
	t := &tokens{path: path, log: log}
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

// read replaces what is known by what the file says.
func (t *tokens) read() error {
	f, err := os.Open(t.path)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	if len(text) > maxTokenFile {
		return fmt.Errorf("read tokens: %s is larger than %d bytes", t.path, maxTokenFile)
	}
	known, err := parseTokens(string(text))
	if err != nil {
		return fmt.Errorf("read tokens: %s: %w", t.path, err)
	}
	t.known, t.file = known, info
	return nil
}

// parseTokens reads the lines of a file. Its error never holds a token.
func parseTokens(text string) (map[[sha256.Size]byte]scope, error) {
	known := make(map[[sha256.Size]byte]scope)
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if i := slices.IndexFunc(fields, func(f string) bool { return f[0] == '#' }); i >= 0 {
			fields = fields[:i]
		}
		if len(fields) == 0 {
			continue
		}
		scopes := map[string]scope{"write": scopeWrite, "all": scopeAll}
		if len(fields) != 2 || scopes[fields[0]] == scopeNone {
			return nil, fmt.Errorf(`line %d must be "write TOKEN" or "all TOKEN"`, n)
		}
		if len(fields[1]) < minToken {
			return nil, fmt.Errorf("line %d: a token must have at least %d characters", n, minToken)
		}
		known[sha256.Sum256([]byte(fields[1]))] = scopes[fields[0]]
	}
	if len(known) == 0 {
		return nil, errors.New("there is no token in it")
	}
	return known, nil
}

// scope is what a token is for. A file that cannot be read any more leaves things as they were.
func (t *tokens) scope(token string) scope {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.checked) >= tokenInterval {
		t.checked = now
		info, err := os.Stat(t.path)
		if err == nil && (!os.SameFile(info, t.file) || info.ModTime() != t.file.ModTime() || info.Size() != t.file.Size()) {
			err = t.read()
			t.log.Info("tokens are read again", "file", t.path)
		}
		if err != nil {
			t.log.Error("tokens cannot be read; those from before hold", "err", err)
		}
	}
	return t.known[sha256.Sum256([]byte(token))]
}

// authorize lets in who has a token: as a bearer token, or as the password of basic auth, which browsers ask for; the user name is not looked at.
// Whether the process lives is told to everybody.
func (s *Server) authorize(next http.Handler) http.Handler {
	if s.tokens == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready" {
			next.ServeHTTP(w, r)
			return
		}
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			_, token, _ = r.BasicAuth()
		}
		switch has := s.tokens.scope(token); {
		case has == scopeAll, has == scopeWrite && (r.URL.Path == "/api/v1/write" || r.URL.Path == "/v1/logs"):
			next.ServeHTTP(w, r)
		case has == scopeWrite:
			writeError(w, http.StatusForbidden, "forbidden", "this token is only for POST /api/v1/write and /v1/logs")
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="vetch (the password is a token)", charset="UTF-8"`)
			writeError(w, http.StatusUnauthorized, "unauthorized", "a token is needed: Authorization: Bearer TOKEN, or the password of basic auth")
		}
	})
}
