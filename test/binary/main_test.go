// Package binary proves the counts of the real vetch against real programs: what a client says it sent is what both ends were counted to have exchanged.
package binary

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built holds the programs that TestMain built and the watchers that run for all tests.
var built struct {
	dir      string
	tag      string // letters that no route takes for an id
	vetch    string
	traffic  string
	watchers []*vetch
}

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/binary:", err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("vetch loads kernel programs, so this needs root")
	}
	if built.dir, err = os.MkdirTemp("", "vetch-binary-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(built.dir)
	for range 4 {
		built.tag += string(rune('g' + rand.IntN(20)))
	}
	if len(hooks()) > 0 {
		if built.vetch, err = build("vetch", "../.."); err != nil {
			return 1, err
		}
	}
	if built.traffic, err = build("traffic", "../traffic"); err != nil {
		return 1, err
	}
	defer func() {
		for _, v := range built.watchers {
			err = errors.Join(err, v.searchServed(), v.stop(), v.searchStored())
		}
	}()
	for _, hook := range hooks() {
		v, err := startVetch(context.Background(), settings{role: "run", hook: hook, env: []string{lookIntoZooKeeper()}})
		if err != nil {
			return 1, err
		}
		built.watchers = append(built.watchers, v)
	}
	return m.Run(), nil
}

func build(name, source string) (string, error) {
	path := filepath.Join(built.dir, name)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}
