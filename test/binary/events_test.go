package binary

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told is what a test reads of an event.
type told struct {
	First, Last     time.Time
	Count           int
	Type, Reason    string
	Message, Source string
	Workload, Node  string
	Fields          map[string]string
}

// events asks for the events that a query chooses.
func (v *vetch) events(t *testing.T, query string) []told {
	t.Helper()
	response, err := http.Get(v.url + "/api/events?" + query)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var list struct{ Events []told }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&list))
	return list.Events
}

// namedPerl is the system's perl under another name, so that its events are told from those of others.
func namedPerl(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text, err := os.ReadFile("/usr/bin/perl") // perl-base is on every Debian
	require.NoError(t, err)
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open for writing, and it could not be run
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, text, 0o755))
	return path
}

// fault reads at an address where nothing is.
const fault = `unpack("p", pack("L!", 1))`

// endsBy runs a command and checks the signal that it ends by.
func endsBy(t *testing.T, want syscall.Signal, cmd *exec.Cmd) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &exit)
	require.Equal(t, want, exit.Sys().(syscall.WaitStatus).Signal(), cmd.Args)
}

func TestCrashesAndKillsAreEvents(t *testing.T) {
	r := startRun(t, t.TempDir())
	name := fmt.Sprint("vetch-fault-", os.Getpid()%1000)
	path := namedPerl(t, name)
	for range 3 {
		endsBy(t, syscall.SIGSEGV, exec.Command(path, "-e", fault))
	}
	faulted := time.Now()
	hungry := fmt.Sprint("vetch-oom-", os.Getpid()%1000)
	cgroup := limitedCgroup(t, 20<<20)
	endsBy(t, syscall.SIGKILL, exec.Command("/bin/sh", "-c", `echo $$ > "$0" && exec "$1" -e 'my @x; push @x, "x" x 1000000 while 1'`,
		filepath.Join(cgroup, "cgroup.procs"), namedPerl(t, hungry)))
	var ended *exec.ExitError
	require.ErrorAs(t, exec.Command(path, "-e", "exit 3").Run(), &ended, "which is nobody's concern")
	handled := exec.Command(path, "-e", `$SIG{ABRT} = sub {}; kill ABRT => $$; exit 0`)
	require.NoError(t, handled.Run(), "a signal that is handled is none either")
	first := exec.Command(path, "-e", "exit 7")
	first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	require.ErrorAs(t, first.Run(), &ended)

	var list []told
	require.NoError(t, poll(t.Context(), func() error {
		list = r.events(t, "source=kernel&workload="+url.QueryEscape("/Process/"+name)+"&workload="+url.QueryEscape("/Process/"+hungry))
		sum := 0
		for _, e := range list {
			sum += e.Count
		}
		if sum < 5 {
			return fmt.Errorf("%d events: %+v", sum, list)
		}
		return nil
	}), "vetch says:\n%s", r.log)
	require.Less(t, time.Since(faulted), patience)
	by := map[string]told{}
	for _, e := range list {
		by[e.Reason] = e
	}
	require.Len(t, list, 3, "%+v", list)
	crash := by["Crashed"]
	require.Equal(t, 3, crash.Count, "the same again is counted up")
	require.Equal(t, name+" was ended by SIGSEGV", crash.Message)
	require.Equal(t, "SIGSEGV", crash.Fields["signal"])
	require.Equal(t, "/Process/"+name, crash.Workload)
	require.Equal(t, "Warning", crash.Type)
	require.True(t, crash.First.Before(crash.Last))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, crash.Node)
	require.Equal(t, hungry+" was killed: out of memory", by["OOMKilled"].Message)
	require.Equal(t, "/Process/"+hungry, by["OOMKilled"].Workload)
	require.Equal(t, "the main process of "+name+" ended with exit code 7", by["Exited"].Message)
	require.Equal(t, "7", by["Exited"].Fields["exit_code"])
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// limitedCgroup makes a cgroup whose processes have that much memory, in whichever hierarchy has the memory controller.
func limitedCgroup(t *testing.T, bytes int) string {
	t.Helper()
	name := fmt.Sprint("vetch-test-", os.Getpid())
	for _, place := range []struct{ root, limit string }{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}} {
		dir := filepath.Join(place.root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			require.Eventually(t, func() bool { return os.Remove(dir) == nil }, patience, 10*time.Millisecond)
		})
		if err := os.WriteFile(filepath.Join(dir, place.limit), []byte(strconv.Itoa(bytes)), 0o644); err == nil {
			return dir
		}
	}
	t.Fatal("no cgroup with a limit of memory can be made")
	return ""
}

func TestKillLosesNoEvent(t *testing.T) {
	dataDir := t.TempDir()
	r := startRun(t, dataDir)
	var names []string
	for round := range 2 {
		name := fmt.Sprintf("vetch-kill%d-%d", round, os.Getpid()%1000)
		names = append(names, name)
		path := namedPerl(t, name)
		for range 10 {
			endsBy(t, syscall.SIGSEGV, exec.Command(path, "-e", fault))
		}
		all := func() error {
			for _, name := range names {
				if found := r.events(t, "text="+name); len(found) != 1 || found[0].Count != 10 {
					return fmt.Errorf("%s: %+v", name, found)
				}
			}
			return nil
		}
		require.NoError(t, poll(t.Context(), all), r.log)
		log, err := filepath.Glob(filepath.Join(dataDir, "events", "wal", "*.wal"))
		require.NoError(t, err)
		require.NotEmpty(t, log)
		require.Error(t, r.signal(t, syscall.SIGKILL)) // within a minute of the first: they are in the log alone
		r = startRun(t, dataDir)
		require.NoError(t, all(), "nothing is lost, and nothing is there twice")
	}
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
	r = startRun(t, dataDir)
	require.Len(t, r.events(t, "reason=Crashed&text=vetch-kill"), len(names))
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}
