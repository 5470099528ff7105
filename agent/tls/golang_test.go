package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goProgram = `package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
)

func main() {
	serving, err := tls.Listen("tcp", os.Args[1], nil)
	if err != nil {
		fmt.Println(err)
	}
	var c net.Conn
	if c, err = serving.Accept(); err != nil {
		c, err = tls.Dial("tcp", os.Args[2], nil)
	}
	var b [100]byte
	c.Write(b[:])
	c.Read(b[:])
}
`

// goBuild builds the program above with a toolchain; "" is the present one. ok is false where the toolchain cannot be downloaded: nothing else that vetch needs does that.
func goBuild(t *testing.T, dir, toolchain string, env []string, args ...string) (path string, ok bool) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, args...), ".")...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local"), env...)
	if toolchain != "" { // what "go env -w" keeps may not be known to it
		cmd.Env = append(cmd.Env, "GOENV=off", "GOTOOLCHAIN="+toolchain)
	}
	out, err := cmd.CombinedOutput()
	if err != nil && toolchain != "" && bytes.Contains(out, []byte("go: download "+toolchain)) {
		t.Logf("%s", out)
		return "", false
	}
	require.NoError(t, err, "%s", out)
	return path, true
}

func findIn(t *testing.T, path string) (Found, error) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	m, err := openImage(f)
	require.NoError(t, err)
	return findGo(m)
}

// places are the points as the names of the functions that they lie in, by the symbol table.
func places(t *testing.T, path string, found Found) map[string][]string {
	t.Helper()
	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	symbols, err := f.Symbols()
	require.NoError(t, err)
	out := map[string][]string{}
	for _, p := range found.Points {
		for _, prog := range f.Progs {
			if prog.Type != elf.PT_LOAD || p.Offset < prog.Off || p.Offset-prog.Off >= prog.Filesz {
				continue
			}
			addr := p.Offset - prog.Off + prog.Vaddr
			for _, s := range symbols {
				if elf.ST_TYPE(s.Info) == elf.STT_FUNC && addr >= s.Value && addr < s.Value+s.Size {
					out[p.Program] = append(out[p.Program], s.Name)
				}
			}
		}
	}
	return out
}

// TestFindGo finds the functions in every form that Go programs have, by the symbol table where there is one; a stripped one has them in the same places.
func TestFindGo(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module program\n\ngo 1.17\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(goProgram), 0o644))
	for _, b := range []struct {
		name, toolchain string
		env, args       []string
	}{
		{"plain", "", nil, nil},
		{"trimmed", "", nil, []string{"-trimpath"}},
		{"position independent", "", nil, []string{"-buildmode=pie"}},
		{"arm64", "", []string{"GOARCH=arm64"}, nil},
		{"arm64, position independent", "", []string{"GOARCH=arm64"}, []string{"-buildmode=pie"}},
		{"C linker", "", []string{"CGO_ENABLED=1"}, []string{"-ldflags=-linkmode external"}},
		{"C linker, position independent", "", []string{"CGO_ENABLED=1"}, []string{"-buildmode=pie", "-ldflags=-linkmode external"}},
		{"1.17", "go1.17.13", nil, nil},
		{"1.17, position independent", "go1.17.13", nil, []string{"-buildmode=pie"}},
		{"1.17, C linker, position independent", "go1.17.13", []string{"CGO_ENABLED=1"}, []string{"-buildmode=pie", "-ldflags=-linkmode external"}},
		{"1.18, arm64", "go1.18.10", []string{"GOARCH=arm64"}, []string{"-buildmode=pie"}},
		{"1.20", "go1.20.14", nil, nil},
		{"1.20, C linker, position independent", "go1.20.14", []string{"CGO_ENABLED=1"}, []string{"-buildmode=pie", "-ldflags=-linkmode external"}},
		{"1.22, position independent", "go1.22.12", nil, []string{"-buildmode=pie"}},
		{"1.24", "go1.24.13", nil, nil},
		{"1.25, C linker", "go1.25.7", []string{"CGO_ENABLED=1"}, []string{"-ldflags=-linkmode external"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			path, ok := goBuild(t, dir, b.toolchain, b.env, b.args...)
			if !ok {
				t.Skipf("SKIPPED: %s cannot be downloaded", b.toolchain)
			}
			found, err := findIn(t, path)
			require.NoError(t, err)
			require.Equal(t, Go, found.Library)
			require.True(t, strings.HasPrefix(found.Version, "go1."), found.Version)
			in := places(t, path, found)
			require.Equal(t, []string{goRead}, in[programGoRead])
			require.Equal(t, []string{goWrite}, in[programGoWrite])
			require.ElementsMatch(t, []string{goClient, goServer}, in[programGoHandshake])
			require.NotEmpty(t, in[programGoReadEnd])
			for _, f := range in[programGoReadEnd] {
				require.Equal(t, goRead, f)
			}
			requireReturns(t, path, found)

			args := append([]string{}, b.args...)
			if n := len(args); n > 0 && strings.HasPrefix(args[n-1], "-ldflags=") {
				args[n-1] += " -s -w"
			} else {
				args = append(args, "-ldflags=-s -w")
			}
			stripped, ok := goBuild(t, dir, b.toolchain, b.env, args...)
			require.True(t, ok)
			again, err := findIn(t, stripped)
			require.NoError(t, err)
			if b.env == nil { // the C linker moves the code by what it leaves out
				require.Equal(t, found, again)
			}
			require.Len(t, again.Points, len(found.Points))
			requireReturns(t, stripped, again)
		})
	}
}

// requireReturns reads the instructions that are to be probed.
func requireReturns(t *testing.T, path string, found Found) {
	t.Helper()
	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, p := range found.Points {
		switch {
		case p.Program != programGoReadEnd:
			before := data[p.Offset-4 : p.Offset] // a conditional jump ends there
			if f.Machine == elf.EM_AARCH64 {
				require.Equal(t, byte(0x54), before[3])
			} else {
				require.True(t, before[2] == 0x76 || bytes.Equal(data[p.Offset-6:p.Offset-4], []byte{0x0f, 0x86}), "% x", data[p.Offset-6:p.Offset])
			}
		case f.Machine == elf.EM_AARCH64:
			require.Equal(t, uint32(0xd65f03c0), binary.LittleEndian.Uint32(data[p.Offset:]))
		default:
			require.Equal(t, byte(0xc3), data[p.Offset])
		}
	}
}

func TestFindGoWhereThereIsNone(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module program\n\ngo 1.17\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(1) }\n"), 0o644))
	path, _ := goBuild(t, dir, "", nil)
	_, err := findIn(t, path)
	require.ErrorIs(t, err, ErrNoTLS)
	_, err = findIn(t, "/bin/true")
	require.ErrorIs(t, err, ErrNoTLS)
	if old, ok := goBuild(t, dir, "go1.16.15", nil); ok {
		_, err = findIn(t, old)
		require.ErrorIs(t, err, ErrNoTLS)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(goProgram), 0o644))
	if old, ok := goBuild(t, dir, "go1.16.15", nil); ok {
		found, err := findIn(t, old)
		require.ErrorIs(t, err, ErrTooOld)
		require.Equal(t, "go1.16.15", found.Version)
	}
}

func TestGoTooOld(t *testing.T) {
	for version, want := range map[string][2]bool{ // amd64, arm64
		"go1.16.15": {true, true}, "go1.17": {false, true}, "go1.17.13": {false, true}, "go1.18beta1": {false, false}, "go1.26.8": {false, false},
		"go1": {true, true}, "devel go1.27-abc": {false, false}, "go2.0": {false, false}, "go1.x": {false, false}, "": {false, false},
	} {
		require.Equal(t, want[0], goTooOld(elf.EM_X86_64, version), version)
		require.Equal(t, want[1], goTooOld(elf.EM_AARCH64, version), version)
	}
}

// TestGoLayout holds what bpf/gotls.bpf.c reads of a *net.TCPConn to the Go that this test is built with.
func TestGoLayout(t *testing.T) {
	offset := func(of reflect.Type, path ...string) (off uintptr) {
		for _, name := range path {
			f, ok := of.FieldByName(name)
			require.True(t, ok, "%s has no %s", of, name)
			off += f.Offset
			of = f.Type
		}
		return off
	}
	conn := reflect.TypeFor[net.TCPConn]()
	require.Zero(t, offset(conn, "conn", "fd"))
	part, _ := conn.FieldByName("conn")
	fd, _ := part.Type.FieldByName("fd")
	netFD := fd.Type.Elem()
	require.EqualValues(t, 16, offset(netFD, "pfd", "Sysfd"))
	require.EqualValues(t, 48, offset(netFD, "pfd", "IsStream"))
	require.EqualValues(t, 56, offset(netFD, "family"))
	require.EqualValues(t, 64, offset(netFD, "sotype"))
}

// madeGo is a small Go program for tests of what is malformed: a table of three functions, and their code.
func madeGo(change func(table []byte)) []byte {
	code := bytes.Repeat([]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x08, 0x55, 0x5d, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc}, 3)
	names := []byte("main.main\x00" + goRead + "\x00" + goWrite + "\x00")
	header := binary.LittleEndian.AppendUint32(nil, goTable120)
	header = append(header, 0, 0, 1, 8)
	functions := uint64(72 + len(names))
	for _, word := range []uint64{3, 0, 0, 72, functions, functions, functions, functions} {
		header = binary.LittleEndian.AppendUint64(header, word)
	}
	table := append(header, names...)
	for i := range uint32(4) {
		table = binary.LittleEndian.AppendUint32(table, 16*i)
		table = binary.LittleEndian.AppendUint32(table, 28+8*i)
	}
	table = table[:len(table)-4]
	for i, name := range []string{"main.main", goRead, goWrite} {
		table = binary.LittleEndian.AppendUint32(table, 16*uint32(i))
		table = binary.LittleEndian.AppendUint32(table, uint32(bytes.Index(names, []byte(name))))
	}
	change(table)
	info := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	info = append(info, "\x08go1.26.8\x00"...)
	return program(elf.EM_X86_64, elf.ET_EXEC, part{".text", elf.SHT_PROGBITS, code}, part{".gopclntab", elf.SHT_PROGBITS, table}, part{".go.buildinfo", elf.SHT_PROGBITS, info})
}

func findInBytes(file []byte) (Found, error) {
	m, err := openImage(bytes.NewReader(file))
	if err != nil {
		return Found{}, err
	}
	return findGo(m)
}

func TestFindGoInMadePrograms(t *testing.T) {
	found, err := findInBytes(madeGo(func([]byte) {}))
	require.NoError(t, err)
	require.Equal(t, "go1.26.8", found.Version)
	text := uint64(sectionAt - testBase)
	require.Equal(t, []Point{{Program: programGoReadEnd, Offset: text + 24}, {Program: programGoRead, Offset: text + 22}, {Program: programGoWrite, Offset: text + 38}}, found.Points)

	for name, c := range map[string]struct {
		at   int
		word uint64
		want error
	}{
		"unknown magic":                 {0, 0x0801_0000_ffff_fff5, ErrMalformed},
		"no functions":                  {8, 0, ErrMalformed},
		"more functions than bytes":     {8, 1000, ErrMalformed},
		"functions without end":         {8, 1 << 63, ErrMalformed},
		"names behind the end":          {8 + 4*8, 1 << 40, ErrMalformed},
		"names before their begin":      {8 + 4*8, 3, ErrMalformed},
		"list behind the end":           {8 + 7*8, 1 << 63, ErrMalformed},
		"names that are not there":      {8 + 3*8, 110, ErrNoTLS},
		"records behind the end":        {72 + len("main.main") + len(goRead) + len(goWrite) + 3 + 8, 0xffff_fff0_0000_0010, ErrMalformed},
		"code behind the end of a file": {72 + len("main.main") + len(goRead) + len(goWrite) + 3 + 16, 0xffff_fff0, nil},
	} {
		_, err := findInBytes(madeGo(func(table []byte) { binary.LittleEndian.PutUint64(table[c.at:], c.word) }))
		if c.want == nil {
			require.Error(t, err, name)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
	}
}

func FuzzFindGo(f *testing.F) {
	f.Add(madeGo(func([]byte) {}))
	f.Add(madeGo(func(table []byte) { binary.LittleEndian.PutUint32(table, goTable118) }))
	f.Add(madeGo(func(table []byte) { binary.LittleEndian.PutUint32(table, goTable116) }))
	f.Fuzz(func(t *testing.T, file []byte) {
		found, err := findInBytes(file)
		if err == nil && len(found.Points) == 0 {
			t.Fatal("nothing found and no error")
		}
		for _, p := range found.Points {
			if p.Offset >= uint64(len(file)) {
				t.Fatalf("point %v lies outside of a file of %d bytes", p, len(file))
			}
		}
	})
}

func FuzzReadGoCode(f *testing.F) {
	f.Add(true, []byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x08, 0x55, 0x5d, 0xc3})
	f.Add(false, []byte{0xc0, 0x03, 0x5f, 0xd6})
	f.Fuzz(func(t *testing.T, amd64 bool, code []byte) {
		machine := elf.EM_AARCH64
		if amd64 {
			machine = elf.EM_X86_64
		}
		c, err := readGoCode(machine, code)
		if err != nil {
			return
		}
		for _, off := range append(c.returns, c.begin) {
			if off > uint64(len(code)) {
				t.Fatalf("%d lies behind %d bytes of code", off, len(code))
			}
		}
	})
}

func FuzzGoTable(f *testing.F) {
	var table []byte
	madeGo(func(t []byte) { table = bytes.Clone(t) })
	f.Add(table, false)
	f.Add(table, true)
	f.Fuzz(func(t *testing.T, table []byte, merged bool) {
		name := ".gopclntab"
		if merged { // as the C linker does
			name = ".data.rel.ro"
		}
		info := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
		info = append(info, "\x08go1.26.8\x00"...)
		code := bytes.Repeat([]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x08, 0x55, 0x5d, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc}, 8)
		file := program(elf.EM_X86_64, elf.ET_DYN, part{".text", elf.SHT_PROGBITS, code}, part{name, elf.SHT_PROGBITS, table}, part{".go.buildinfo", elf.SHT_PROGBITS, info},
			part{".relocations", elf.SHT_RELA, table}) //nolint:misspell // as ELF calls it
		found, err := findInBytes(file)
		if err == nil && len(found.Points) == 0 {
			t.Fatal("nothing found and no error")
		}
		for _, p := range found.Points {
			if p.Offset >= uint64(len(file)) {
				t.Fatalf("point %v lies outside of a file of %d bytes", p, len(file))
			}
		}
	})
}
