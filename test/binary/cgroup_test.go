package binary

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newCgroup makes a cgroup at the root of the hierarchy that tells processes apart here: the memory controller of version 1 where it
// is mounted, else the unified one. It is removed when the test ends.
func newCgroup(t *testing.T, name string) string {
	t.Helper()
	mounts, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer mounts.Close()
	var one, two string
	for scanner := bufio.NewScanner(mounts); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		switch {
		case fields[2] == "cgroup" && strings.Contains(","+fields[3]+",", ",memory,"):
			one = fields[1]
		case fields[2] == "cgroup2":
			two = fields[1]
		}
	}
	root := one
	if root == "" {
		root = two
	}
	require.NotEmpty(t, root, "a hierarchy of cgroups is mounted")
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); !os.IsExist(err) {
		require.NoError(t, err)
	}
	t.Cleanup(func() { os.Remove(dir) }) // fails while a process is in it, which its own cleanup ends before
	return dir
}
