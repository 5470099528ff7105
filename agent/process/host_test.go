package process

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stageOfHost says, in the environment of a test process that TestHostOfNode starts, which part it plays.
const stageOfHost = "VETCH_TEST_HOST"

// inStage runs this test again in namespaces of its own.
func inStage(stage string, flags uintptr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestHostOfNode$")
	cmd.Env = append(os.Environ(), stageOfHost+"="+stage)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	cmd.Stderr = os.Stderr
	return cmd
}

// A node that is a container: its first process has mounts, a pid namespace and a host name of its own; the agent is in a pod with mounts and
// a host name of that, but the node's pids.
func TestHostOfNode(t *testing.T) {
	switch os.Getenv(stageOfHost) {
	case "node":
		require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		require.NoError(t, unix.Sethostname([]byte("node-7")))
		pod := inStage("pod", unix.CLONE_NEWNS|unix.CLONE_NEWUTS)
		pod.Stdout = os.Stdout
		require.NoError(t, pod.Run())
		os.Exit(0) // nothing of the test's own output
	case "pod":
		require.NoError(t, unix.Sethostname([]byte("vetch-agent-x7k2p")))
		h, err := FindHost()
		require.NoError(t, err)
		require.NoError(t, json.NewEncoder(os.Stdout).Encode(h))
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		t.Fatal("makes namespaces, and needs root")
	}
	out, err := inStage("node", unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWUTS).Output()
	require.NoError(t, err, "%s", out)
	var got Host
	require.NoError(t, json.Unmarshal(out, &got), "%s", out)
	require.NotZero(t, got.PIDNamespace)
	got.PIDNamespace = 0
	require.Equal(t, Host{Name: "node-7", Root: "/proc/1/root", Nested: true}, got)
}

// A container with pids of its own sees no machine, and neither does an agent that may not look.
func TestHostThatCannotBeSeen(t *testing.T) {
	name, err := os.Hostname()
	require.NoError(t, err)
	proc := t.TempDir()
	require.NoError(t, os.MkdirAll(proc+"/self", 0o755))
	require.NoError(t, os.Symlink(fmt.Sprintf("/proc/%d/ns", os.Getpid()), proc+"/self/ns"))
	pids, err := inode("/proc/self/ns/pid")
	require.NoError(t, err)
	want := Host{Name: name, Root: "/"}
	if pids != firstPIDNamespace {
		want.PIDNamespace = pids
	}
	got, err := findHost(proc) // without a first process
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, os.Symlink("self", proc+"/1"))
	got, err = findHost(proc)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
