package tls

import (
	"debug/elf"
	"io"
	"strings"
)

// The libraries in C. BoringSSL has the functions of OpenSSL that matter here, with the same arguments.
const (
	OpenSSL   Library = "openssl"
	BoringSSL Library = "boringssl"
	GnuTLS    Library = "gnutls"
)

// function is one of a library, and what runs in it.
type function struct {
	name    string
	begin   string // kernel program at its entry, "" for none
	returns string // kernel program at its return, "" for none
}

// The kernel programs in bpf/tls.bpf.c. Those that tell of new sessions come last: when they run, so do all others.
var (
	openSSLFunctions = []function{
		{"SSL_read", "tls_read", "tls_return"},
		{"SSL_read_ex", "tls_read_ex", "tls_return"},
		{"SSL_write", "tls_write", "tls_return"},
		{"SSL_write_ex", "tls_write_ex", "tls_return"},
		{"SSL_sendfile", "tls_sendfile", "tls_return"},
		{"SSL_do_handshake", "tls_handshake", "tls_return"},
		{"SSL_free", "tls_free", ""},
		{"SSL_new", "", "tls_new"},
	}
	gnuTLSFunctions = []function{
		{"gnutls_record_recv", "tls_read", "tls_return"},
		{"gnutls_record_recv_seq", "tls_read", "tls_return"},
		{"gnutls_record_send", "tls_write", "tls_return"},
		{"gnutls_record_send2", "tls_write", "tls_return"},
		{"gnutls_handshake", "tls_handshake", "tls_return"},
		{"gnutls_deinit", "tls_free", ""},
		{"gnutls_init", "tls_init", "tls_return"},
	}
	boringSSLOnly = []string{"SSL_CTX_set_grease_enabled", "SSL_CTX_set_custom_verify", "SSL_CTX_set_private_key_method"}
)

// findLibrary finds the functions of a TLS library that is written in C, in the library itself or in a program that it is linked into.
func findLibrary(m *image) (Found, error) {
	var names []string
	for _, f := range append(openSSLFunctions[:len(openSSLFunctions):len(openSSLFunctions)], gnuTLSFunctions...) {
		names = append(names, f.name)
	}
	places, err := findSymbols(m, append(names, boringSSLOnly...))
	if err != nil {
		return Found{}, err
	}
	found := Found{Library: GnuTLS, Version: soname(m), Points: points(places, gnuTLSFunctions)}
	if has(places, "gnutls_record_recv", "gnutls_record_send") {
		return found, nil
	}
	if !has(places, "SSL_read", "SSL_write") {
		return Found{}, strippedLibrary(m)
	}
	found.Library, found.Points = OpenSSL, points(places, openSSLFunctions)
	for _, name := range boringSSLOnly {
		if has(places, name) {
			found.Library = BoringSSL
		}
	}
	return found, nil
}

func has(places map[string]uint64, names ...string) bool {
	for _, name := range names {
		if _, ok := places[name]; !ok {
			return false
		}
	}
	return true
}

func points(places map[string]uint64, functions []function) []Point {
	var out []Point
	for _, f := range functions {
		off, ok := places[f.name]
		if !ok {
			continue
		}
		if f.returns != "" { // first, so that no call is seen to begin that is not seen to end
			out = append(out, Point{Program: f.returns, Offset: off, Return: true})
		}
		if f.begin != "" {
			out = append(out, Point{Program: f.begin, Offset: off})
		}
	}
	return out
}

// findSymbols looks functions that the file defines up by their names, in the table for the dynamic linker and, where one is left,
// in that for debuggers. The answer is their offsets in the file.
func findSymbols(m *image, names []string) (map[string]uint64, error) {
	places := map[string]uint64{}
	err := m.eachTable(func(t symbolTable) error {
		at, err := t.exactly(m, names)
		if err != nil {
			return err
		}
		return t.each(m, at, func(name string, place uint64) {
			if _, known := places[name]; !known {
				places[name] = place
			}
		})
	}, func() bool { return len(places) > 0 })
	return places, err
}

// HasName reports whether a program or library for a machine has a symbol of some name in the table for the dynamic linker.
func HasName(r io.ReaderAt, machine elf.Machine, name string) (found bool, err error) {
	m, err := openImage(r)
	if err != nil {
		return false, err
	}
	if m.Machine != machine {
		return false, nil
	}
	for _, s := range m.Sections {
		if s.Type != elf.SHT_DYNSYM || int(s.Link) >= len(m.Sections) {
			continue
		}
		text := m.Sections[s.Link]
		if err := m.search(text.Offset, text.Offset+text.FileSize, [][]byte{append([]byte(name), 0)}, func(int, uint64) bool {
			found = true
			return false
		}); err != nil {
			return false, err
		}
	}
	return found, nil
}

// soname is the version in the name that a library gives itself: "3" of libssl.so.3. Empty for programs.
func soname(m *image) string {
	names, err := m.DynString(elf.DT_SONAME)
	if err != nil || len(names) == 0 {
		return ""
	}
	_, version, _ := strings.Cut(names[0], ".so.")
	return version
}
