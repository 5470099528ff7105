package tls

import (
	"bytes"
	"debug/elf"
	"fmt"
	"regexp"
)

// maxConstantBytes is how much of a program's constants is looked through for names of source files.
const maxConstantBytes = 64 << 20

// Names of the libraries' source files, which stand in programs without symbols too: they are for messages of errors.
var (
	openSSLFile   = []byte("ssl/ssl_lib.c\x00")
	boringSSLFile = []byte("ssl_lib.cc\x00")
	rustlsFile    = []byte("/rustls-0.")
	rustlsPath    = regexp.MustCompile(`^/rustls-(\d+\.\d+\.\d+)/src/`)
)

// strippedLibrary says that a library in C is in a file that does not tell where; ErrNoTLS if there is none. Of Go programs nothing is
// said: what they hold of such names is as likely data.
func strippedLibrary(m *image) error {
	if looksLikeGo(m) {
		return ErrNoTLS
	}
	err := ErrNoTLS
	m.searchConstants([][]byte{openSSLFile, boringSSLFile}, func(text int, _ []byte) bool {
		library := OpenSSL
		if text == 1 {
			library = BoringSSL
		}
		err = fmt.Errorf("%w: it has %s in it, but no symbols of it", ErrStripped, library)
		return false
	})
	return err
}

func strippedRustls(m *image) error {
	version := rustlsVersion(m)
	if version == "" || looksLikeGo(m) {
		return ErrNoTLS
	}
	return fmt.Errorf("%w: it has %s %s in it, but no symbols of it", ErrStripped, Rustls, version)
}

// rustlsVersion is that in the names of source files, "" if there are none.
func rustlsVersion(m *image) (version string) {
	m.searchConstants([][]byte{rustlsFile}, func(_ int, here []byte) bool {
		if found := rustlsPath.FindSubmatch(here); found != nil {
			version = string(found[1])
		}
		return version == ""
	})
	return version
}

// searchConstants looks for texts in what the program reads only, and gives what follows them with them. What cannot be read has none.
func (m *image) searchConstants(texts [][]byte, hit func(text int, here []byte) bool) {
	left, more := uint64(maxConstantBytes), true
	for _, s := range m.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&(elf.SHF_ALLOC|elf.SHF_WRITE|elf.SHF_EXECINSTR|elf.SHF_COMPRESSED) != elf.SHF_ALLOC || !more {
			continue
		}
		end := s.Offset + min(s.FileSize, left)
		left -= end - s.Offset
		err := m.search(s.Offset, end, texts, func(text int, off uint64) bool {
			var here [64]byte
			n, _ := m.source.ReadAt(here[:min(end-off, uint64(len(here)))], int64(off))
			more = !bytes.HasPrefix(here[:n], texts[text]) || hit(text, here[:n])
			return more
		})
		if err != nil {
			return
		}
	}
}
