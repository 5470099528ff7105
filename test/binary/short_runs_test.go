package binary

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shortRun is a program with TLS linked into it that asks a server for a few paths and ends.
type shortRun struct {
	by   string
	path string // of a copy that nobody ran before
	run  func(t *testing.T, path string, s service)
	want map[string]int // of one run
}

func shortRuns(t *testing.T) []shortRun {
	_, static := installed(t, staticTalk(t))
	_, rust := installed(t, talk(t, newestRustls(t)))
	all := map[string]int{"/ok 200": 1, "/no 404": 1, "/long 200": 1}
	return []shortRun{
		{"OpenSSL, static", static, func(t *testing.T, path string, s service) {
			ran(t, exec.Command(path, "ask", s.host(), s.port(), "1", "3", "0"))
		}, all},
		{"rustls", rust, func(t *testing.T, path string, s service) {
			ran(t, exec.Command(path, "ask", "threads", s.address, "1", "3"))
		}, all},
		{"Go", named(t, "short-go"), func(t *testing.T, path string, s service) {
			start(t, how{}, path, "client", "-addr", s.address, "-tls", "bare", "-requests", "2", "-concurrency", "1", "-targets", "GET /ok,GET /no").report(t, time.Minute)
		}, map[string]int{"/ok 200": 1, "/no 404": 1}},
	}
}

// TestTLSShortRuns runs programs that nobody ran before, each many times for some milliseconds: their first run may end before they are probed, which is counted; of all others everything is seen,
// though between two runs nobody uses the file.
func TestTLSShortRuns(t *testing.T) {
	const runs = 40
	hidden, path := installed(t, staticTalk(t)) // what asks it is counted by those who ask alone
	ran(t, exec.Command("strip", path))
	certify(t, hidden.dir)
	serve(t, hidden.dir, exec.Command(path, "serve", hidden.host(), hidden.port(), "cert.pem", "key.pem"))
	hidden.await(t)
	seen := startProbed(t, "", talkService(staticTalk))
	other := startProbed(t, "", talkService(staticTalk))
	var all []exchanged
	codes := map[string]float64{}
	for _, p := range shortRuns(t) {
		before := map[*vetch]float64{}
		for _, v := range built.watchers {
			before[v] = v.mustRead(t).sum("vetch_tls_programs_missed_total", nil)
		}
		p.run(t, p.path, other)
		awaitProbed(t, built.watchers, filepath.Base(p.path))
		for _, v := range built.watchers {
			require.NoError(t, poll(t.Context(), func() error {
				if v.mustRead(t).sum("vetch_tls_programs_missed_total", nil) == before[v] {
					return fmt.Errorf("%s hook: the first run of %s is not counted as missed", v.hook, p.by)
				}
				return nil
			}))
		}
		want := map[string]int{}
		for range runs {
			p.run(t, p.path, seen)
			p.run(t, p.path, hidden)
		}
		for k, n := range p.want {
			want[k] = n * runs
			codes[codeOf(k)] += float64(n * runs)
		}
		all = append(all, exchanged{protocol: "http", by: p.by + ", again and again", server: seen.workload, port: seen.port(), want: want, calls: true})
	}
	requireOnEdge(t, hidden, codes)
	checkExchanged(t, built.watchers, all...)
}
