package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// goTable is the table of functions that every Go program carries for its own stack traces, stripped or not: src/runtime/symtab.go of Go
// has its header (pcHeader), and the format of each version. Offsets are those in the file.
type goTable struct {
	image      *image
	begin, end uint64
	wide       bool   // Go 1.16 and 1.17: entries hold addresses; later ones hold offsets from the begin of the code
	count      uint64 // functions
	names      [2]uint64
	functions  uint64 // the list of (entry, offset of the function's record), and what its offsets count from
}

// The magic numbers of the table, as the first four bytes of its header.
const (
	goTable116 = 0xfffffffa
	goTable118 = 0xfffffff0
	goTable120 = 0xfffffff1
)

const maxGoFunctions = 8 << 20

// findGoTable looks for the table in the section that is named for it, and where the C linker has merged that away, by its header.
func findGoTable(m *image) (*goTable, error) {
	var last error
	for _, s := range m.Sections {
		if s.Type == elf.SHT_PROGBITS && strings.HasSuffix(s.Name, ".gopclntab") {
			t, err := readGoTable(m, s.Offset, s.Offset+s.FileSize)
			if err == nil {
				return t, nil
			}
			last = err
		}
	}
	if last != nil {
		return nil, last
	}
	for _, s := range m.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Name != ".data.rel.ro" && s.Name != ".rodata" {
			continue
		}
		if t, err := searchGoTable(m, s.Offset, s.Offset+s.FileSize); err != nil || t != nil {
			return t, err
		}
	}
	return nil, fmt.Errorf("%w: it has no table of Go functions", ErrStripped)
}

func searchGoTable(m *image, begin, end uint64) (found *goTable, err error) {
	var headers [][]byte
	for _, magic := range []uint32{goTable116, goTable118, goTable120} {
		h := binary.LittleEndian.AppendUint32(nil, magic)
		headers = append(headers, append(h, 0, 0, goQuantum(m), 8))
	}
	tries := 0
	err = m.search(begin, end, headers, func(_ int, off uint64) bool {
		tries++
		if t, err := readGoTable(m, off, end); err == nil {
			found = t
		}
		return found == nil && tries < 64
	})
	return found, err
}

// goQuantum is the least length of an instruction, as the header has it.
func goQuantum(m *image) byte {
	if m.Machine == elf.EM_AARCH64 {
		return 4
	}
	return 1
}

// readGoTable reads the header of a table.
func readGoTable(m *image, begin, end uint64) (*goTable, error) {
	const words = 8
	w := m.window(begin, min(end, begin+8+words*8))
	b, err := w.at(begin, 8+words*8)
	if err != nil {
		return nil, err
	}
	if b[4] != 0 || b[5] != 0 || b[6] != goQuantum(m) || b[7] != 8 {
		return nil, fmt.Errorf("%w: the table of Go functions has another header", ErrMalformed)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	t := &goTable{image: m, begin: begin, end: end, count: word(0)}
	first := 3 // word 2 is the begin of the code
	switch binary.LittleEndian.Uint32(b) {
	case goTable118, goTable120:
	case goTable116:
		first, t.wide = 2, true
	default:
		return nil, fmt.Errorf("%w: the table of Go functions has an unknown format", ErrMalformed)
	}
	size := end - begin
	names, afterNames, functions := word(first), word(first+1), word(first+4)
	if names >= afterNames || afterNames > size || functions >= size || t.count == 0 || t.count > maxGoFunctions || t.count*2*t.field() > size-functions {
		return nil, fmt.Errorf("%w: the table of Go functions goes beyond its end", ErrMalformed)
	}
	t.names = [2]uint64{begin + names, begin + afterNames}
	t.functions = begin + functions
	return t, nil
}

// field is the size of a number in the list of functions.
func (t *goTable) field() uint64 {
	if t.wide {
		return 8
	}
	return 4
}

// goFunction is one of the table: its code is from entry up to end. They are addresses where the table is wide, else offsets from the begin of the code.
type goFunction struct{ entry, end uint64 }

// find looks some functions up by their full names, "crypto/tls.(*Conn).Read". What is not there is not in the answer.
func (t *goTable) find(names ...string) (map[string]goFunction, error) {
	offsets, err := t.nameOffsets(names)
	if err != nil || len(offsets) == 0 {
		return nil, err
	}
	found := map[string]goFunction{}
	list, records := t.image.window(t.functions, t.end), t.image.window(t.functions, t.end)
	for i := uint64(0); i < t.count && len(found) < len(offsets); i++ {
		row, err := list.at(t.functions+i*2*t.field(), int(3*t.field()))
		if err != nil {
			return nil, err
		}
		record := t.functions + t.number(row[t.field():])
		b, err := records.at(record, int(t.field()+4))
		if err != nil {
			return nil, err
		}
		name, ok := offsets[binary.LittleEndian.Uint32(b[t.field():])]
		if !ok {
			continue
		}
		f := goFunction{t.number(row), t.number(row[2*t.field():])}
		if t.wide { // a position independent program has the addresses in its relocations
			if f, err = t.relocated(i); err != nil {
				return nil, err
			}
		}
		found[name] = f
	}
	return found, nil
}

func (t *goTable) number(b []byte) uint64 {
	if t.wide {
		return binary.LittleEndian.Uint64(b)
	}
	return uint64(binary.LittleEndian.Uint32(b))
}

func (t *goTable) relocated(i uint64) (goFunction, error) {
	addr, ok := t.image.address(t.functions + i*16)
	if !ok {
		return goFunction{}, fmt.Errorf("%w: the table of Go functions is not loaded", ErrMalformed)
	}
	p, err := t.image.pointers(addr, addr+16)
	if err != nil {
		return goFunction{}, err
	}
	return goFunction{p[0], p[1]}, nil
}

// nameOffsets finds where in the table of names some names stand.
func (t *goTable) nameOffsets(names []string) (map[uint32]string, error) {
	var texts [][]byte
	for _, n := range names {
		texts = append(texts, append([]byte(n), 0))
	}
	offsets := map[uint32]string{}
	before := t.image.window(t.names[0], t.names[1])
	err := t.image.search(t.names[0], t.names[1], texts, func(i int, off uint64) bool {
		if off > t.names[0] {
			if b, err := before.at(off-1, 1); err != nil || b[0] != 0 { // the end of a longer name
				return err == nil
			}
		}
		offsets[uint32(off-t.names[0])] = names[i]
		return len(offsets) < len(names)
	})
	return offsets, err
}

// textStart finds the address that the entries count from. It is told by where functions begin, because each version keeps it elsewhere.
func (t *goTable) textStart() (uint64, error) {
	if t.wide {
		return 0, nil
	}
	var candidates []uint64
	add := func(addr uint64) {
		if p, err := t.image.pointers(addr); err == nil && p[0] != 0 {
			candidates = append(candidates, p[0])
		}
	}
	for _, s := range t.image.Sections {
		switch s.Name {
		case ".go.module": // Go 1.26: the 23rd word of moduledata
			add(s.Addr + 22*8)
		case ".text":
			candidates = append(candidates, s.Addr)
		}
	}
	if addr, ok := t.image.address(t.begin + 8 + 2*8); ok { // up to Go 1.25: the third word of the table's header
		add(addr)
	}
	for _, c := range candidates {
		if ok, err := t.fits(c); err != nil || ok {
			return c, err
		}
	}
	return 0, fmt.Errorf("%w: the begin of its Go code is not found", ErrStripped)
}

// fits reports whether most functions begin as Go functions do if the code begins at start: by looking at the end of their stack.
func (t *goTable) fits(start uint64) (bool, error) {
	const samples = 64
	list := t.image.window(t.functions, t.end)
	looked, good := 0, 0
	for i := range uint64(samples) {
		row, err := list.at(t.functions+(t.count*i/samples)*8, 4)
		if err != nil {
			return false, err
		}
		code, err := t.image.bytesAt(start+uint64(binary.LittleEndian.Uint32(row)), 16)
		if err != nil {
			continue
		}
		looked++
		if looksAtStackEnd(t.image.Machine, code) {
			good++
		}
	}
	return looked > 0 && good*2 > looked, nil
}

// looksAtStackEnd reports whether code begins by reading g.stackguard0, the third word of g (in R14 on amd64, in R28 on arm64).
func looksAtStackEnd(machine elf.Machine, code []byte) bool {
	if machine == elf.EM_AARCH64 {
		return binary.LittleEndian.Uint32(code) == 0xf9400b90 // MOVD 16(g), R16
	}
	return bytes.Contains(code, []byte{0x3b, 0x66, 0x10}) // CMPQ SP or R12, 16(R14)
}
