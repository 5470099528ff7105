package tls

import (
	"bytes"
	"debug/elf"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Names of rustls 0.20.8 built by rustc 1.63, and of 0.23 as workerd 1.20261117 has them.
var (
	rustNamesOlder = []string{
		"_ZN89_$LT$rustls..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..cipher..MessageEncrypter$GT$7encrypt17h75d8909758655625E",
		"_ZN89_$LT$rustls..tls13..Tls13MessageDecrypter$u20$as$u20$rustls..cipher..MessageDecrypter$GT$7decrypt17h228f3d5c6c3aa808E",
		"_ZN6rustls4conn11CommonState9write_tls17hcccf749a4905b4daE",
		"_ZN55_$LT$rustls..conn..Writer$u20$as$u20$std..io..Write$GT$5write17h948e585d52bc4d3bE",
		"_ZN54_$LT$rustls..conn..Reader$u20$as$u20$std..io..Read$GT$4read17hd8af459a39168f86E",
	}
	rustNamesV0 = []string{
		"_RNvXs2_NtNtNtCsrGxyASiD4o_6rustls6crypto4ring5tls13NtB5_21Tls13MessageEncrypterNtNtB9_6cipher16MessageEncrypter7encrypt",
		"_RNvXs3_NtNtNtCsrGxyASiD4o_6rustls6crypto4ring5tls13NtB5_21Tls13MessageDecrypterNtNtB9_6cipher16MessageDecrypter7decrypt",
		"_RNvMs_NtCsrGxyASiD4o_6rustls6vecbufNtB4_14ChunkVecBuffer8write_to",
		"_RNvXs5_NtNtCsrGxyASiD4o_6rustls4conn10connectionNtB5_6WriterNtNtCs2AWtUsOyxgP_3std2io5Write5write",
		"_RNvXs5_NtNtCsrGxyASiD4o_6rustls4conn10connectionNtB5_6WriterNtNtCs2AWtUsOyxgP_3std2io5Write14write_vectored",
		"_RNvMs1_NtNtCsrGxyASiD4o_6rustls4conn10connectionNtB5_6Reader16into_first_chunk",
		"_RNvXs3_NtNtCsrGxyASiD4o_6rustls4conn10connectionNtB5_6ReaderNtNtCs2AWtUsOyxgP_3std2io7BufRead7consume",
	}
)

func TestFindRustls(t *testing.T) {
	static := elf.SHT_SYMTAB
	constants := part{".rodata", elf.SHT_PROGBITS, []byte("x/tokio-rustls-0.26.4/src/lib.rs/registry/rustls-0.23.40/src/conn.rs")}
	for _, tt := range []struct {
		name    string
		parts   []part
		version string
		places  map[string]uint64
		why     error
		says    string
	}{
		{"older names", symbols(static, rustNamesOlder...), "", map[string]uint64{
			"rustls_encrypt": 64, "rustls_decrypt": 65, "rustls_flush": 66, "rustls_write": 67, "rustls_read": 68,
		}, nil, ""},
		{"v0 names, write_tls inlined", append(symbols(static, rustNamesV0...), constants), "0.23.40", map[string]uint64{
			"rustls_encrypt": 64, "rustls_decrypt": 65, "rustls_flush": 66, "rustls_write": 67, "rustls_writev": 68, "rustls_chunk": 69, "rustls_consume": 70,
		}, nil, ""},
		{"with what the back end adds", symbols(static, append([]string{"main", rustNamesOlder[0] + ".llvm.17015852477949871877"}, rustNamesOlder[1:]...)...), "",
			map[string]uint64{"rustls_encrypt": 65, "rustls_decrypt": 66, "rustls_flush": 67, "rustls_write": 68, "rustls_read": 69}, nil, ""},
		{"a function is missing", symbols(static, rustNamesOlder[1:]...), "", nil, ErrStripped, "MessageEncrypter::encrypt of rustls"},
		{"nothing to read with", symbols(static, rustNamesOlder[:4]...), "", nil, ErrStripped, "Reader::read of rustls"},
		{"stripped", []part{constants}, "", nil, ErrStripped, "it has rustls 0.23.40 in it"},
		{"names of others", symbols(static, "_ZN9my_rustls4conn11CommonState9write_tls17hcccf749a4905b4daEx", "MessageDecrypter", rustNamesOlder[4]+"x"), "", nil, ErrNoTLS, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := Find(bytes.NewReader(program(elf.EM_X86_64, elf.ET_DYN, tt.parts...)))
			if tt.why != nil {
				require.ErrorIs(t, err, tt.why)
				require.ErrorContains(t, err, tt.says)
				require.Empty(t, all)
				return
			}
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Equal(t, Rustls, all[0].Library)
			require.Equal(t, tt.version, all[0].Version)
			places, ends := map[string]uint64{}, map[uint64]bool{}
			for _, p := range all[0].Points {
				if p.Return {
					require.Equal(t, programRustlsReturn, p.Program)
					ends[p.Offset] = true
					continue
				}
				places[p.Program] = p.Offset
				require.Equal(t, p.Program != "rustls_encrypt" && p.Program != "rustls_decrypt" && p.Program != "rustls_consume", ends[p.Offset], p.Program)
			}
			require.Equal(t, tt.places, places)
		})
	}
	_, err := Find(bytes.NewReader(program(elf.EM_AARCH64, elf.ET_DYN, symbols(static, rustNamesOlder...)...)))
	require.ErrorIs(t, err, ErrCode)
}

// A library that was stripped is told by the names of its source files, as far as they are no data of a Go program.
func TestFindStripped(t *testing.T) {
	constants := func(text string) part { return part{".rodata", elf.SHT_PROGBITS, []byte(text)} }
	for text, says := range map[string]string{
		"abc../ssl/ssl_lib.c\x00": "it has openssl in it", "ssl_lib.cc\x00": "it has boringssl in it", "ssl_lib.c\x00": "", "ssl/ssl_lib.c": "", "/rustls-0.x": "",
		"/rustls-0." + strings.Repeat("1", 100): "",
	} {
		_, err := Find(bytes.NewReader(program(elf.EM_X86_64, elf.ET_EXEC, constants(text))))
		if says == "" {
			require.ErrorIs(t, err, ErrNoTLS, text)
			continue
		}
		require.ErrorIs(t, err, ErrStripped, text)
		require.ErrorContains(t, err, says)
	}
	_, err := Find(bytes.NewReader(program(elf.EM_X86_64, elf.ET_EXEC, constants("ssl_lib.cc\x00"), part{".go.buildinfo", elf.SHT_PROGBITS, nil})))
	require.ErrorIs(t, err, ErrNoTLS)
}

// A name of any length is looked at within bounds.
func TestLongSymbolNames(t *testing.T) {
	long := append([]string{strings.Repeat("x", 3*maxSymbolName) + rustNamesOlder[4], strings.Repeat(rustNamesOlder[3], 2000)}, rustNamesOlder...)
	all, err := Find(bytes.NewReader(program(elf.EM_X86_64, elf.ET_DYN, symbols(elf.SHT_SYMTAB, long...)...)))
	require.NoError(t, err)
	require.Len(t, all[0].Points, 8)
}

func FuzzFindRustls(f *testing.F) {
	f.Add(program(elf.EM_X86_64, elf.ET_DYN, symbols(elf.SHT_SYMTAB, rustNamesOlder...)...))
	f.Add(program(elf.EM_X86_64, elf.ET_EXEC, append(symbols(elf.SHT_DYNSYM, rustNamesV0...), part{".rodata", elf.SHT_PROGBITS, []byte("/rustls-0.23.40/src/x")})...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := openImage(bytes.NewReader(data))
		if err != nil {
			return
		}
		found, err := findRustls(m)
		if err == nil && len(found.Points) == 0 {
			t.Error("nothing found and no error")
		}
		for _, p := range found.Points {
			if p.Offset >= uint64(len(data)) {
				t.Errorf("%s at %d of %d bytes", p.Program, p.Offset, len(data))
			}
		}
	})
}

func FuzzRustNames(f *testing.F) {
	for _, name := range append(rustNamesOlder, rustNamesV0...) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if program := rustKind(name); program != "" && !strings.Contains(name, "rustls") {
			t.Errorf("%q is taken for %s", name, program)
		}
	})
}
