package protocol

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// buildModule builds a program that is a module of its own, from its folder under test/.
func buildModule(t testing.TB, name string) string {
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-C", filepath.Join("../../test", name), "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// asker is a client program that asks a number of rounds for each line that it reads.
type asker struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

// startAsker starts it and waits until it is ready.
func startAsker(t testing.TB, cmd *exec.Cmd) *asker {
	a := &asker{t: t, cmd: cmd, lines: make(chan string, 1000)}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	a.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	go func() {
		defer close(a.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			a.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	a.await("ready")
	return a
}

func (a *asker) ask(rounds string) {
	_, err := io.WriteString(a.in, rounds+"\n")
	require.NoError(a.t, err)
	a.await("done")
}

// await waits for a line.
func (a *asker) await(line string) {
	deadline := time.After(60 * time.Second)
	var said []string
	for {
		select {
		case got, open := <-a.lines:
			if got == line {
				return
			}
			said = append(said, got)
			require.True(a.t, open, "%s ended: %s", a.cmd, strings.Join(said, "\n"))
		case <-deadline:
			a.t.Fatalf("%s does not say %q: %s", a.cmd, line, strings.Join(said, "\n"))
		}
	}
}

// end lets it end by itself.
func (a *asker) end() {
	a.in.Close()
	for range a.lines { //nolint:revive // until it is closed
	}
	require.NoError(a.t, a.cmd.Wait())
}
