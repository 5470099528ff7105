package command

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/tracer"
)

func TestDoctorReport(t *testing.T) {
	r := report{Version: "v1", Kernel: "5.10.0", Architecture: "amd64", CPUs: 2, MemoryBytes: 4 << 30, CanRun: true}
	r.add(check{"privilege", "CAP_BPF", true, true, "this process does not have it", "nothing can be watched"})
	r.add(check{"kernel", "tracepoint \x1b[1m", false, false, "Linux 6.3 has it", "a slower one stands in"})
	r.add(check{"machine", "cgroups", false, false, "", "no names"})
	r.TLS = []tlsFile{
		{"/usr/bin/old", []string{"go go1.16.1"}, 1, false, "the library is too old"},
		{"/usr/lib/libssl.so.3", []string{"openssl 3"}, 200, true, ""},
	}
	require.Contains(t, tlsText(nil), "No process")
	require.Equal(t, strings.TrimLeft(`
vetch v1 on Linux 5.10.0, amd64, 2 CPUs, 4.0 GiB of memory

PRIVILEGE  THERE  WITHOUT IT
CAP_BPF    yes

KERNEL           THERE  WITHOUT IT
tracepoint �[1m  no     a slower one stands in (Linux 6.3 has it)

MACHINE  THERE  WITHOUT IT
cgroups  no     no names

TLS                   LIBRARY      PROCESSES  SEEN  WHY NOT
/usr/bin/old          go go1.16.1          1  no    the library is too old
/usr/lib/libssl.so.3  openssl 3          200  yes

"vetch run" can work here.
`, "\n"), reportText(r))
	r.add(check{"kernel", "BTF", false, true, "not there", "nothing works"})
	require.False(t, r.CanRun)
	require.Contains(t, reportText(r), "NEEDED")
	require.NotContains(t, reportText(r), "can work here")
}

func TestDoctorOfThisMachine(t *testing.T) {
	got := vetch(t, nil, "doctor", "-o", "json")
	var r report
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &r), got.stderr)
	require.Equal(t, r.CanRun, got.code == 0, got.stderr)
	require.Equal(t, !r.CanRun, got.code == 3, got.stderr)
	require.NotEmpty(t, r.Kernel)
	require.Positive(t, r.MemoryBytes)
	for _, c := range r.Checks {
		require.NotEmpty(t, c.Name)
		require.NotEmpty(t, c.Cost, c.Name)
		require.Contains(t, []string{"privilege", "kernel", "machine"}, c.Group)
		require.Equal(t, c.Available, c.Why == "", c.Name)
	}
	for _, f := range r.TLS {
		require.NotEmpty(t, f.Path)
		require.Equal(t, f.Probed, len(f.Libraries) > 0 && f.Why == "", f.Path)
	}
	if os.Geteuid() == 0 {
		require.NoError(t, needPrivilege("vetch run"))
	}
}

func TestDoctorOfATracer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tracer.sock")
	got := vetch(t, nil, "doctor", "-o", "json", "--agent-tracer-source", path)
	require.Zero(t, got.code, "no privilege or kernel feature is needed: %s", got.stderr)
	require.Contains(t, got.stdout, "no such file")
	s, err := tracer.Listen(tracer.ServerOptions{Path: path})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	got = vetch(t, nil, "doctor", "--agent-tracer-source", path)
	require.Contains(t, got.stdout, "No kernel programs are loaded")
	require.NotContains(t, got.stdout, "until it answers")
	stop()
	require.NoError(t, <-done)
}

func TestPrivileges(t *testing.T) {
	bits := func(list ...uint) (set uint64) {
		for _, b := range list {
			set |= 1 << b
		}
		return set
	}
	require.False(t, canLoad(0))
	require.False(t, canLoad(bits(unix.CAP_BPF)))
	require.True(t, canLoad(bits(unix.CAP_BPF, unix.CAP_PERFMON)))
	require.True(t, canLoad(bits(unix.CAP_SYS_ADMIN)))
	require.False(t, holds(bits(unix.CAP_SYS_ADMIN), unix.CAP_SYS_PTRACE))
}

func TestRoomLooksAtTheNearestFolder(t *testing.T) {
	c := roomCheck(filepath.Join(t.TempDir(), "not", "yet", "made"))
	require.Contains(t, c.Why, "GiB free")
}
