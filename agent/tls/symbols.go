package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

const (
	maxSymbolName = 512     // bytes of a name that is looked at, on either side of what is searched in it
	maxNames      = 1 << 14 // places of a table of strings where something was found
)

// symbolTable is a table of symbols and that of their names.
type symbolTable struct{ symbols, text *elf.Section }

// eachTable calls use with the table for the dynamic linker and then, unless enough reports that it is, with that for debuggers.
func (m *image) eachTable(use func(symbolTable) error, enough func() bool) error {
	for _, kind := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		for _, s := range m.Sections {
			if s.Type != kind || s.Flags&elf.SHF_COMPRESSED != 0 || int(s.Link) >= len(m.Sections) {
				continue
			}
			if err := use(symbolTable{s, m.Sections[s.Link]}); err != nil {
				return fmt.Errorf("table of symbols %s: %w", s.Name, err)
			}
		}
		if enough() {
			return nil
		}
	}
	return nil
}

// exactly finds where in the table of strings the names stand. A name may be the end of a longer one, and the symbol called so still point
// at its beginning.
func (t symbolTable) exactly(m *image, names []string) (map[uint32]string, error) {
	var texts [][]byte
	for _, name := range names {
		texts = append(texts, append([]byte(name), 0))
	}
	at := map[uint32]string{}
	err := m.search(t.text.Offset, t.text.Offset+t.text.FileSize, texts, func(i int, off uint64) bool {
		at[uint32(off-t.text.Offset)] = names[i]
		return len(at) < 64*len(names)
	})
	return at, err
}

// mentions reports whether a part of a name stands anywhere.
func (t symbolTable) mentions(m *image, part string) (found bool, err error) {
	err = m.search(t.text.Offset, t.text.Offset+t.text.FileSize, [][]byte{[]byte(part)}, func(int, uint64) bool {
		found = true
		return false
	})
	return found, err
}

// like finds names that have one of the parts in them and that kind gives something for, which is not empty. The answer is that, by where
// the name stands.
func (t symbolTable) like(m *image, parts []string, kind func(name string) string) (map[uint32]string, error) {
	var texts [][]byte
	for _, p := range parts {
		texts = append(texts, []byte(p))
	}
	begin, end := t.text.Offset, t.text.Offset+t.text.FileSize
	at, places := map[uint32]string{}, 0
	buf := make([]byte, 2*maxSymbolName)
	var failed error
	err := m.search(begin, end, texts, func(_ int, off uint64) bool {
		from := max(begin, off-min(off, maxSymbolName))
		b := buf[:min(end-from, uint64(len(buf)))]
		if _, failed = m.source.ReadAt(b, int64(from)); failed != nil {
			return false
		}
		here := int(off - from)
		first := bytes.LastIndexByte(b[:here], 0) + 1
		length := bytes.IndexByte(b[first:], 0)
		if length >= 0 && length <= maxSymbolName {
			if k := kind(string(b[first:][:length])); k != "" {
				at[uint32(from-begin)+uint32(first)] = k
			}
		}
		places++
		return places < maxNames
	})
	if failed != nil {
		return nil, fmt.Errorf("%w: read a name: %w", ErrMalformed, failed)
	}
	return at, err
}

// each calls found for every function that the file defines whose name stands at one of the places, with its offset in the file.
func (t symbolTable) each(m *image, at map[uint32]string, found func(name string, place uint64)) error {
	const size = 24 // of an Elf64_Sym
	if len(at) == 0 {
		return nil
	}
	end := t.symbols.Offset + t.symbols.FileSize
	w := m.window(t.symbols.Offset, end)
	for off := t.symbols.Offset; off+size <= end; off += size {
		b, err := w.at(off, size)
		if err != nil {
			return err
		}
		name, ok := at[binary.LittleEndian.Uint32(b)]
		if !ok || elf.ST_TYPE(b[4]) != elf.STT_FUNC || binary.LittleEndian.Uint16(b[6:]) == uint16(elf.SHN_UNDEF) {
			continue
		}
		addr := binary.LittleEndian.Uint64(b[8:])
		if place, ok := m.fileOffset(addr); ok && executable(m, addr) {
			found(name, place)
		}
	}
	return nil
}
