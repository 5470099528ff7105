package binary

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// moduleProgram builds a program that is a module of its own, from its folder under test/, once a run.
func moduleProgram(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(built.dir, "module-"+name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", name), "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	ran(t, cmd)
	return path
}

// moduleService runs its server.
func moduleService(t testing.TB, name string, args ...string) service {
	s, path := installed(t, moduleProgram(t, name))
	serve(t, s.dir, exec.Command(path, append([]string{"serve", s.address}, args...)...))
	return s
}

// asking runs its client, which makes so many rounds whenever it is told to. The client ends with the test.
func asking(t testing.TB, name string, args ...string) (rounds func(n int)) {
	p := start(t, how{dir: t.TempDir()}, moduleProgram(t, name), append([]string{"ask"}, args...)...)
	p.line(t, "ready", 30*time.Second)
	return func(n int) {
		_, err := io.WriteString(p.stdin, fmt.Sprintf("%d\n", n))
		require.NoError(t, err)
		p.line(t, "done", 60*time.Second)
	}
}

func dubboService(t testing.TB) service { return moduleService(t, "dubbo") }

func playDubbo(t *testing.T, s service) map[string]int {
	const n = 500
	asking(t, "dubbo", s.address, secret)(n)
	return map[string]int{"org.vetch.shop.Orders.Place ok": n, "org.vetch.shop.Orders.Refuse exception": n, "org.vetch.shop.Orders.Missing exception": n, "heartbeat ok": anyNumber}
}
