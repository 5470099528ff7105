package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The libraries of this machine, a program that OpenSSL is linked into, and one that only uses it.
func TestFindInRealFiles(t *testing.T) {
	for _, tt := range []struct {
		file    string
		library Library
		version string
		points  int
	}{
		{"/usr/lib/*/libssl.so.3", OpenSSL, "3", 14},
		{"/usr/lib/*/libgnutls.so.30", GnuTLS, "30", 13},
		{"node", OpenSSL, "", 14},
		{"curl", "", "", 0},
	} {
		path := find(t, tt.file)
		file, err := os.Open(path)
		require.NoError(t, err)
		defer file.Close()
		all, err := Find(file)
		if tt.library == "" {
			require.ErrorIs(t, err, ErrNoTLS, path)
			continue
		}
		require.NoError(t, err, path)
		require.Len(t, all, 1, path)
		require.Equal(t, tt.library, all[0].Library, path)
		require.Equal(t, tt.version, all[0].Version, path)
		require.Len(t, all[0].Points, tt.points, path)
	}
}

// find is a program in PATH or the file that a pattern stands for.
func find(t *testing.T, name string) string {
	t.Helper()
	if matches, err := filepath.Glob(name); err == nil && len(matches) > 0 {
		return matches[0]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (see CONTRIBUTING.md)", name)
	}
	path, err = filepath.EvalSymlinks(path)
	require.NoError(t, err)
	return path
}

// symbols makes a table of symbols and its strings; each name that is not defined begins with "?".
func symbols(kind elf.SectionType, names ...string) []part {
	text, table := []byte{0}, make([]byte, 24)
	for i, name := range names {
		section := uint16(1)
		if name[0] == '?' {
			section, name = 0, name[1:]
		}
		s := elf.Sym64{Name: uint32(len(text)), Info: byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC), Shndx: section, Value: testBase + uint64(64+i)}
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, &s); err != nil {
			panic(err)
		}
		table, text = append(table, b.Bytes()...), append(append(text, name...), 0)
	}
	return []part{{name: ".strings", kind: elf.SHT_STRTAB, data: text}, {name: ".symbols", kind: kind, data: table}}
}

func TestFindLibrary(t *testing.T) {
	dynamic, static := elf.SHT_DYNSYM, elf.SHT_SYMTAB
	for _, tt := range []struct {
		name    string
		parts   []part
		library Library
		places  map[string]uint64
	}{
		{"nothing", nil, "", nil},
		{"one that uses it", symbols(dynamic, "?SSL_read", "?SSL_write", "?SSL_new"), "", nil},
		{"dynamic", symbols(dynamic, "SSL_read", "SSL_write"), OpenSSL, map[string]uint64{"tls_read": 64, "tls_write": 65}},
		{"static", symbols(static, "main", "SSL_write", "SSL_read", "SSL_free"), OpenSSL, map[string]uint64{"tls_write": 65, "tls_read": 66, "tls_free": 67}},
		{"static BoringSSL", symbols(static, "SSL_write", "SSL_read", "SSL_CTX_set_grease_enabled"), BoringSSL, map[string]uint64{"tls_write": 64, "tls_read": 65}},
		{"names that end so", symbols(static, "my_SSL_read", "SSL_write", "SSL_read"), OpenSSL, map[string]uint64{"tls_write": 65, "tls_read": 66}},
		{"only the half of it", symbols(static, "SSL_read"), "", nil},
		{"GnuTLS", symbols(dynamic, "gnutls_record_send", "gnutls_record_recv"), GnuTLS, map[string]uint64{"tls_write": 64, "tls_read": 65}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := Find(bytes.NewReader(program(elf.EM_X86_64, elf.ET_EXEC, tt.parts...)))
			if tt.library == "" {
				require.ErrorIs(t, err, ErrNoTLS)
				return
			}
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Equal(t, tt.library, all[0].Library)
			places := map[string]uint64{}
			for _, p := range all[0].Points {
				if !p.Return {
					places[p.Program] = p.Offset
				}
			}
			require.Equal(t, tt.places, places)
		})
	}
}

func FuzzFindLibrary(f *testing.F) {
	f.Add(program(elf.EM_X86_64, elf.ET_EXEC, symbols(elf.SHT_DYNSYM, "SSL_read", "SSL_write", "SSL_new")...))
	f.Add(program(elf.EM_AARCH64, elf.ET_DYN, symbols(elf.SHT_SYMTAB, "gnutls_record_recv", "gnutls_record_send")...))
	f.Add(program(elf.EM_X86_64, elf.ET_DYN, part{".rodata", elf.SHT_PROGBITS, []byte("../ssl/ssl_lib.c\x00ssl_lib.cc\x00")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := openImage(bytes.NewReader(data))
		if err != nil {
			return
		}
		found, err := findLibrary(m)
		if err != nil {
			return
		}
		for _, p := range found.Points {
			if p.Offset >= uint64(len(data)) {
				t.Errorf("%s at %d of %d bytes", p.Program, p.Offset, len(data))
			}
		}
	})
}
