package api

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	agentToken = "agent-0123456789abcdef"
	humanToken = "human-0123456789abcdef"
)

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// basic is the header that a browser sends once its user was asked.
func basic(t *testing.T, user, password string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://x", nil)
	require.NoError(t, err)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func TestTokens(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	base, _ := serve(t, Options{Write: ok, Logs: ok, Web: ok, TokenFile: tokenFile(t, "# who may come in\n\nwrite "+agentToken+" # agents\n  all\t"+humanToken+"\n")})
	for name, tc := range map[string]struct {
		header, method, path string
		status               int
	}{
		"nobody":                     {"", "GET", "/", 401},
		"nobody writes":              {"", "POST", "/api/v1/write", 401},
		"nobody asks for life":       {"", "GET", "/-/healthy", 200},
		"nobody asks for readiness":  {"", "GET", "/-/ready", 200},
		"a path that only begins so": {"", "GET", "/-/ready/../../", 401},
		"agent writes":               {"Bearer " + agentToken, "POST", "/api/v1/write", 204},
		"agent writes by a password": {basic(t, "any", agentToken), "POST", "/api/v1/write", 204},
		"agent sends events":         {"Bearer " + agentToken, "POST", "/v1/logs", 204},
		"agent reads":                {"Bearer " + agentToken, "GET", "/", 403},
		"agent reads metrics":        {"Bearer " + agentToken, "GET", "/metrics", 403},
		"human reads":                {"Bearer " + humanToken, "GET", "/", 204},
		"human reads by a browser":   {basic(t, "ann", humanToken), "GET", "/", 204},
		"human writes":               {"Bearer " + humanToken, "POST", "/api/v1/write", 204},
		"wrong":                      {"Bearer " + humanToken + "x", "GET", "/", 401},
		"a part":                     {"Bearer " + humanToken[:20], "GET", "/", 401},
		"empty":                      {"Bearer ", "GET", "/", 401},
		"as it is":                   {humanToken, "GET", "/", 401},
		"the user is no token":       {basic(t, humanToken, ""), "GET", "/", 401},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if tc.header != "" {
				header = []string{"Authorization", tc.header}
			}
			resp, body := do(t, http.DefaultClient, tc.method, base+tc.path, "", header...)
			require.Equal(t, tc.status, resp.StatusCode, body)
			require.Equal(t, tc.status == 401, resp.Header.Get("WWW-Authenticate") != "")
			require.NotContains(t, body, agentToken)
		})
	}
}

// TestTokensAreReadAgain changes the file below a running server. One that makes no sense leaves things as they were.
func TestTokensAreReadAgain(t *testing.T) {
	file := tokenFile(t, "all "+humanToken)
	known, err := openTokens(file, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	change := func(text string) {
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
		known.checked = time.Time{}
	}
	require.Equal(t, scopeAll, known.scope(humanToken))
	change("nonsense")
	require.Equal(t, scopeAll, known.scope(humanToken))
	change("write " + agentToken)
	require.Equal(t, scopeNone, known.scope(humanToken))
	require.Equal(t, scopeWrite, known.scope(agentToken))
	require.NoError(t, os.Remove(file))
	known.checked = time.Time{}
	require.Equal(t, scopeWrite, known.scope(agentToken))
}

func TestTokenFilesThatCannotWork(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "there is no token",
		"# write " + agentToken:             "there is no token",
		"write short":                       "line 1: a token must have at least 16 characters",
		"\n" + agentToken:                   `line 2 must be "write TOKEN" or "all TOKEN"`,
		"read " + agentToken:                "line 1 must be",
		"all " + agentToken + " more":       "line 1 must be",
		strings.Repeat("#\n", maxTokenFile): "is larger than",
	} {
		_, err := New(Options{Listen: "127.0.0.1:0", TokenFile: tokenFile(t, text)})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), agentToken)
	}
	_, err := New(Options{Listen: "127.0.0.1:0", TokenFile: "/does/not/exist"})
	require.ErrorContains(t, err, "no such file")
	users, _ := webConfig(t, false, true)
	_, err = New(Options{Listen: "127.0.0.1:0", WebConfigFile: users, TokenFile: tokenFile(t, "all "+humanToken)})
	require.ErrorContains(t, err, "cannot be together with tokens")
	onlyTLS, _ := webConfig(t, true, false)
	s, err := New(Options{Listen: ":0", WebConfigFile: onlyTLS, TokenFile: tokenFile(t, "all "+humanToken)})
	require.NoError(t, err, "TLS and tokens are enough for an open address")
	require.NoError(t, s.Close())
}
