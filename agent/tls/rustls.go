package tls

import (
	"debug/elf"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rustls is the library of Rust programs, always linked into them.
const Rustls Library = "rustls"

// rustFunction is one of rustls, by its names in both manglings of the compiler: the older one, which is that of C++ with a hash, and v0
// (RFC 2603), which has a path for each part. The names of modules differ from version to version. A part of each name is what is
// searched for.
type rustFunction struct {
	program string // kernel program at its entry
	what    string // for people
	returns bool   // one at its return too
	needed  bool   // without it nothing is probed
	parts   [2]string
	name    *regexp.Regexp
}

// The kernel programs in bpf/rustls.bpf.c, in the order in which they are to be attached.
var rustFunctions = []rustFunction{
	{"rustls_encrypt", "MessageEncrypter::encrypt", false, true, [2]string{"MessageEncrypter$GT$7encrypt17h", "16MessageEncrypter7encrypt"},
		rustName(`[\w$.]*_\$LT\$[\w$.]+\$u20\$as\$u20\$rustls\.\.[\w.]*MessageEncrypter\$GT\$7encrypt`, `X\w*6rustls\w*16MessageEncrypter7encrypt`)},
	{"rustls_decrypt", "MessageDecrypter::decrypt", false, true, [2]string{"MessageDecrypter$GT$7decrypt17h", "16MessageDecrypter7decrypt"},
		rustName(`[\w$.]*_\$LT\$[\w$.]+\$u20\$as\$u20\$rustls\.\.[\w.]*MessageDecrypter\$GT\$7decrypt`, `X\w*6rustls\w*16MessageDecrypter7decrypt`)},
	{"rustls_flush", "write_tls", true, true, [2]string{"11CommonState9write_tls17h", "11CommonState9write_tls"},
		rustName(`6rustls\w*11CommonState9write_tls`, `M\w*6rustls\w*11CommonState9write_tls`)},
	{"rustls_write", "Writer::write", true, true, [2]string{"..Writer$u20$as$u20$std..io..Write$GT$5write17h", "6WriterNt"},
		rustName(`\d+_\$LT\$rustls\.\.[\w.]*\.\.Writer\$u20\$as\$u20\$std\.\.io\.\.Write\$GT\$5write`, `X\w*6rustls\w*6WriterNt\w*3std2io5Write5write`)},
	{"rustls_writev", "Writer::write_vectored", true, false, [2]string{"..Writer$u20$as$u20$std..io..Write$GT$14write_vectored17h", "6WriterNt"},
		rustName(`\d+_\$LT\$rustls\.\.[\w.]*\.\.Writer\$u20\$as\$u20\$std\.\.io\.\.Write\$GT\$14write_vectored`, `X\w*6rustls\w*6WriterNt\w*3std2io5Write14write_vectored`)},
	{"rustls_chunk", "Reader::into_first_chunk", true, false, [2]string{"6Reader16into_first_chunk17h", "6Reader16into_first_chunk"},
		rustName(`6rustls\w*6Reader16into_first_chunk`, `M\w*6rustls\w*6Reader16into_first_chunk`)},
	{"rustls_consume", "Reader::consume", false, false, [2]string{"..Reader$u20$as$u20$std..io..BufRead$GT$7consume17h", "6ReaderNt"},
		rustName(`\d+_\$LT\$rustls\.\.[\w.]*\.\.Reader\$u20\$as\$u20\$std\.\.io\.\.BufRead\$GT\$7consume`, `X\w*6rustls\w*6ReaderNt\w*3std2io7BufRead7consume`)},
	{"rustls_read", "Reader::read", true, false, [2]string{"..Reader$u20$as$u20$std..io..Read$GT$4read17h", "6ReaderNt"},
		rustName(`\d+_\$LT\$rustls\.\.[\w.]*\.\.Reader\$u20\$as\$u20\$std\.\.io\.\.Read\$GT\$4read`, `X\w*6rustls\w*6ReaderNt\w*3std2io4Read4read`)},
}

// rustFlushBelow is what write_tls() calls, for programs that it was inlined into.
var rustFlushBelow = rustFunction{"rustls_flush", "ChunkVecBuffer::write_to", true, true, [2]string{"14ChunkVecBuffer8write_to17h", "14ChunkVecBuffer8write_to"},
	rustName(`6rustls\w*14ChunkVecBuffer8write_to`, `M\w*6rustls\w*14ChunkVecBuffer8write_to`)}

const programRustlsReturn = "rustls_return"

// rustName matches both manglings of a name, and what the compiler's back end may put behind them. Go's expressions take time in proportion
// to what they are matched with, whatever that is.
func rustName(older, v0 string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:_ZN` + older + `17h[0-9a-f]{16}E|_RNv` + v0 + `)(?:\.llvm\.\d+)?$`)
}

// findRustls finds rustls in a program with a table of symbols.
func findRustls(m *image) (Found, error) {
	places, err := findRustFunctions(m)
	if err != nil {
		return Found{}, err
	}
	if len(places["rustls_decrypt"]) == 0 {
		return Found{}, strippedRustls(m)
	}
	found := Found{Library: Rustls, Version: rustlsVersion(m)}
	if m.Machine != elf.EM_X86_64 {
		return found, fmt.Errorf("%w: that of rustls is known on amd64 only", ErrCode)
	}
	if len(places["rustls_read"]) == 0 && (len(places["rustls_chunk"]) == 0 || len(places["rustls_consume"]) == 0) {
		return found, fmt.Errorf("%w: the compiler put Reader::read of %s into others", ErrStripped, Rustls)
	}
	for _, f := range rustFunctions {
		if f.needed && len(places[f.program]) == 0 {
			return found, fmt.Errorf("%w: the compiler put %s of %s into others", ErrStripped, f.what, Rustls)
		}
		for _, place := range places[f.program] {
			if f.returns { // first, so that no call is seen to begin that is not seen to end
				found.Points = append(found.Points, Point{Program: programRustlsReturn, Offset: place, Return: true})
			}
			found.Points = append(found.Points, Point{Program: f.program, Offset: place})
		}
	}
	return found, nil
}

// maxRustPlaces is how many functions of one kind are probed: a program may have several versions of rustls in it, with several ciphers each.
const maxRustPlaces = 32

func (f *rustFunction) is(name string) bool {
	return (strings.Contains(name, f.parts[0]) || strings.Contains(name, f.parts[1])) && f.name.MatchString(name)
}

// below stands for the program of rustFlushBelow.
const below = "below"

// rustKind is the program for a function by its name, "" if there is none.
func rustKind(name string) string {
	for _, f := range rustFunctions {
		if f.is(name) {
			return f.program
		}
	}
	if rustFlushBelow.is(name) {
		return below
	}
	return ""
}

// findRustFunctions gives the offsets in the file of each kind of function, in the order of the table.
func findRustFunctions(m *image) (map[string][]uint64, error) {
	functions := append(rustFunctions[:len(rustFunctions):len(rustFunctions)], rustFlushBelow)
	var parts []string
	for _, f := range functions {
		for _, p := range f.parts {
			if !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
	}
	places := map[string][]uint64{}
	err := m.eachTable(func(t symbolTable) error {
		if has, err := t.mentions(m, "MessageDecrypter"); err != nil || !has {
			return err
		}
		at, err := t.like(m, parts, rustKind)
		if err != nil {
			return err
		}
		return t.each(m, at, func(program string, place uint64) {
			if !slices.Contains(places[program], place) && len(places[program]) < maxRustPlaces {
				places[program] = append(places[program], place)
			}
		})
	}, func() bool { return len(places["rustls_decrypt"]) > 0 })
	if len(places[rustFlushBelow.program]) == 0 {
		places[rustFlushBelow.program] = places[below]
	}
	return places, err
}
