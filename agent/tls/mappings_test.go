package tls

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/clock"
)

// recordTime is when all of these are made.
const recordTime = 1 << 40

// mapRecord is a PERF_RECORD_MMAP2 as the kernel writes it.
func mapRecord(pid, protection uint32, inode uint64, path string) []byte {
	b := make([]byte, 72)
	binary.NativeEndian.PutUint32(b, recordMmap)
	binary.NativeEndian.PutUint32(b[8:], pid)
	binary.NativeEndian.PutUint32(b[40:], 8)
	binary.NativeEndian.PutUint32(b[44:], 1)
	binary.NativeEndian.PutUint64(b[48:], inode)
	binary.NativeEndian.PutUint64(b[56:], 5)
	binary.NativeEndian.PutUint32(b[64:], protection)
	b = append(append(b, path...), 0)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b = binary.NativeEndian.AppendUint64(b, recordTime)
	binary.NativeEndian.PutUint16(b[6:], uint16(len(b)))
	return b
}

func TestDecodeMapping(t *testing.T) {
	m, ok := decodeMapping(mapRecord(7, unix.PROT_READ|unix.PROT_EXEC, 42, "/usr/lib/libssl.so.3"))
	require.True(t, ok)
	require.Equal(t, mapping{7, mappedFile{8, 1, 42, 5, "/usr/lib/libssl.so.3"}, recordTime}, m)
	for _, record := range [][]byte{
		mapRecord(7, unix.PROT_READ, 42, "/usr/lib/libssl.so.3"), mapRecord(7, unix.PROT_EXEC, 0, "//anon"),
		mapRecord(7, unix.PROT_EXEC, 0, "[vdso]"), mapRecord(7, unix.PROT_EXEC, 3, "/memfd:jit (deleted)"), make([]byte, 72), make([]byte, 80), nil,
	} {
		_, ok := decodeMapping(record)
		require.False(t, ok, "%q", record)
	}
}

// madeRing is a ring whose next record begins at a place, with records in it.
func madeRing(at uint64, records ...[]byte) *mapRing {
	const page, size = 4096, 8192
	words := make([]uint64, (page+size)/8) // aligned
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), page+size)
	binary.NativeEndian.PutUint64(mem[ringTail:], at)
	for _, r := range records {
		for i, b := range r {
			mem[page+(at+uint64(i))%size] = b
		}
		at += uint64(len(r))
	}
	binary.NativeEndian.PutUint64(mem[ringHead:], at)
	return &mapRing{mem: mem, size: size}
}

func TestRingGoesRoundItsEnd(t *testing.T) {
	lost := make([]byte, 24)
	binary.NativeEndian.PutUint32(lost, recordLost)
	binary.NativeEndian.PutUint16(lost[6:], 24)
	binary.NativeEndian.PutUint64(lost[16:], 9)
	for at := uint64(8192 - 200); at < 8192+8; at += 8 {
		r := madeRing(at, mapRecord(1, unix.PROT_EXEC, 1, "/one"), lost, mapRecord(2, unix.PROT_EXEC, 2, "/two"))
		var paths []string
		require.EqualValues(t, 9, r.drain(func(m mapping) { paths = append(paths, m.file.path) }))
		require.Equal(t, []string{"/one", "/two"}, paths)
		require.Zero(t, r.drain(func(mapping) { t.Error("read twice") }))
	}
}

func TestRingWithARecordOfNoLengthThatThereIs(t *testing.T) {
	for _, size := range []uint16{0, 7, 57, 9000} {
		bad := mapRecord(1, unix.PROT_EXEC, 1, "/bad")
		binary.NativeEndian.PutUint16(bad[6:], size)
		r := madeRing(8136, mapRecord(1, unix.PROT_EXEC, 1, "/one"), bad, mapRecord(2, unix.PROT_EXEC, 2, "/two"))
		var paths []string
		require.EqualValues(t, 1, r.drain(func(m mapping) { paths = append(paths, m.file.path) }))
		require.Equal(t, []string{"/one"}, paths)
		require.Zero(t, r.drain(func(mapping) { t.Error("read twice") }))
	}
}

func FuzzRing(f *testing.F) {
	f.Add(uint64(8000), mapRecord(1, unix.PROT_EXEC, 1, "/one"))
	f.Fuzz(func(t *testing.T, at uint64, data []byte) {
		if len(data) <= 8192 && at < 1<<62 {
			madeRing(at&^7, data).drain(func(mapping) {})
		}
	})
}

// TestMappingsOfNewProcesses needs the privilege to listen to all of the machine.
func TestMappingsOfNewProcesses(t *testing.T) {
	m, err := openMappings()
	require.NoError(t, err, "listening to all mappings needs root")
	defer m.close()
	program, err := filepath.EvalSymlinks("/bin/true")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var pid atomic.Int64
	before := uint64(clock.Monotonic())
	got := make(chan uint64, 1)
	done := make(chan error, 1)
	go func() {
		done <- m.read(ctx, func(m mapping) {
			if int64(m.pid) == pid.Load() && m.file.path == program {
				got <- m.at
				pid.Store(-1)
			}
		})
	}()
	cmd := exec.Command("/bin/sh", "-c", "read line; exec "+program)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid.Store(int64(cmd.Process.Pid))
	_, err = in.Write([]byte("\n"))
	require.NoError(t, err)
	select {
	case at := <-got:
		require.Greater(t, at, before)
		require.Less(t, at, uint64(clock.Monotonic()))
	case <-ctx.Done():
		t.Error("the mapping was not heard of")
	}
	require.NoError(t, cmd.Wait())
	cancel()
	require.NoError(t, <-done)
}

func TestParseCPUs(t *testing.T) {
	cpus, err := parseCPUs("0-2,8")
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 8}, cpus)
	for _, bad := range []string{"", "a", "1-b", "-1", "99999"} {
		_, err := parseCPUs(bad)
		require.Error(t, err, bad)
	}
}

func TestParseMapping(t *testing.T) {
	f, ok := parseMapping("55d0-55d4 r-xp 00002000 fd:1a 1234                       /opt/a b (deleted)")
	require.True(t, ok)
	require.Equal(t, mappedFile{0xfd, 0x1a, 1234, 0, "/opt/a b"}, f)
	for _, line := range []string{
		"", "7ffd r-xp 0 00:00 0 [vdso]", "55d0-55d4 r--p 00002000 fd:01 1234 /opt/a", "55d0-55d4 r-xp 00002000 fd:01 x /opt/a", "a b c /",
		"55d0-55d4 r-xp 00002000 00:01 1234 /memfd:x (deleted)", "55d0-55d4 rwxp 00000000 00:00 0",
	} {
		_, ok := parseMapping(line)
		require.False(t, ok, line)
	}
	require.NotEmpty(t, mappedBy("/proc", uint32(os.Getpid())))
}
