package guest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestWebServer asks a net/http server from several connections at once, with and without keeping them.
func TestWebServer(t *testing.T) {
	for _, hook := range []string{probe.HookSocket, probe.HookSyscall} {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/kept=%v", hook, keep), func(t *testing.T) {
				c := probing(t, hook)
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/web/missing" {
						w.WriteHeader(http.StatusNotFound)
					}
					io.WriteString(w, "a body")
				})}
				go server.Serve(listener)
				defer server.Close()
				const workers, requests = 4, 250
				ask(t, "http://"+listener.Addr().String(), keep, workers, requests)
				want := fmt.Sprint(map[string]uint64{"GET /web/ok 200": workers * requests / 2, "GET /web/missing 404": workers * requests / 2})
				port := uint16(listener.Addr().(*net.TCPAddr).Port)
				for deadline, tick := time.Now().Add(20*time.Second), time.NewTicker(50*time.Millisecond); ; <-tick.C {
					c.mu.Lock()
					asked, served := fmt.Sprint(present(c.requests[end{probe.RoleClient, port}])), fmt.Sprint(present(c.requests[end{probe.RoleServer, port}]))
					c.mu.Unlock()
					if asked == want && served == want {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("want %s\nclient %s\nserver %s", want, asked, served)
					}
				}
			})
		}
	}
}

func ask(t *testing.T, url string, keep bool, workers, requests int) {
	t.Helper()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			transport := &http.Transport{DisableKeepAlives: !keep}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for i := range requests {
				response, err := client.Get(url + [...]string{"/web/ok", "/web/missing"}[i%2])
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
	group.Wait()
}
