package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// part is a section of a program made for a test.
type part struct {
	name string
	kind elf.SectionType
	data []byte
}

const testBase = 0x400000 // where the whole file is loaded

// program makes an ELF file, whose first part has the names of its symbols, that is loaded as it is, at testBase; after gives sections when the addresses of those before are known.
func program(machine elf.Machine, kind elf.Type, parts ...part) []byte {
	const headers = 64 + 56
	file := make([]byte, headers)
	names := []byte{0}
	table := make([]elf.Section64, 1)
	parts = append(parts, part{name: ".shstrtab", kind: elf.SHT_STRTAB})
	for i, p := range parts {
		table = append(table, elf.Section64{Name: uint32(len(names)), Type: uint32(p.kind), Flags: uint64(elf.SHF_ALLOC), Link: 1, Addralign: 1})
		names = append(append(names, p.name...), 0)
		if i == len(parts)-1 {
			p.data = names
		}
		for len(file)%64 != 0 {
			file = append(file, 0)
		}
		s := &table[len(table)-1]
		s.Off, s.Size, s.Addr = uint64(len(file)), uint64(len(p.data)), testBase+uint64(len(file))
		file = append(file, p.data...)
	}
	head := elf.Header64{
		Type: uint16(kind), Machine: uint16(machine), Version: 1, Phoff: 64, Shoff: uint64(len(file)), Ehsize: 64,
		Phentsize: 56, Phnum: 1, Shentsize: 64, Shnum: uint16(len(table)), Shstrndx: uint16(len(table) - 1),
	}
	copy(head.Ident[:], "\x7fELF\x02\x01\x01")
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: testBase, Filesz: uint64(len(file)), Memsz: uint64(len(file))}
	var out bytes.Buffer
	for _, v := range []any{&head, &load} {
		if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	copy(file, out.Bytes())
	out.Reset()
	if err := binary.Write(&out, binary.LittleEndian, table); err != nil {
		panic(err)
	}
	return append(file, out.Bytes()...)
}

// sectionAt is the address that the first section of program has.
const sectionAt = testBase + 128

func TestImageRefuses(t *testing.T) {
	good := program(elf.EM_X86_64, elf.ET_EXEC, part{".text", elf.SHT_PROGBITS, make([]byte, 64)})
	_, err := openImage(bytes.NewReader(good))
	require.NoError(t, err)
	for name, file := range map[string][]byte{
		"nothing":       nil,
		"a script":      []byte("#!/bin/sh\n"),
		"a cut one":     good[:100],
		"32 bits":       bytes.Replace(good, []byte("ELF\x02"), []byte("ELF\x01"), 1),
		"other machine": bytes.Replace(good, []byte{byte(elf.ET_EXEC), 0, byte(elf.EM_X86_64), 0}, []byte{byte(elf.ET_EXEC), 0, byte(elf.EM_RISCV), 0}, 1),
	} {
		_, err := openImage(bytes.NewReader(file))
		require.Error(t, err, name)
	}
}

// endless is a file of any size that holds nothing.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	return len(p), nil
}

func TestImageReadsNoMoreThanItMay(t *testing.T) {
	file := program(elf.EM_X86_64, elf.ET_EXEC, part{".gopclntab", elf.SHT_PROGBITS, make([]byte, 64)})
	head := bytes.Clone(file)
	binary.LittleEndian.PutUint16(head[60:], 0) // the number of sections is in the first one
	shoff := binary.LittleEndian.Uint64(head[40:])
	binary.LittleEndian.PutUint64(head[shoff+32:], 1<<24)
	_, err := openImage(endless{head})
	require.ErrorIs(t, err, ErrMalformed)

	m, err := openImage(endless{file})
	require.NoError(t, err)
	err = m.search(0, 1<<40, [][]byte{[]byte("x")}, func(int, uint64) bool { return true })
	require.ErrorIs(t, err, ErrMalformed)
}

func TestSearchFindsWhatLiesAcrossWindows(t *testing.T) {
	data := make([]byte, 3*windowBytes)
	word := []byte("across")
	at := []int{0, windowBytes - 3, 2*windowBytes - 20, len(data) - len(word)}
	for _, i := range at {
		copy(data[i:], word)
	}
	m := &image{source: &budget{bytes.NewReader(data), 1 << 30}}
	var got []int
	require.NoError(t, m.search(0, uint64(len(data)), [][]byte{word}, func(_ int, off uint64) bool {
		got = append(got, int(off))
		return true
	}))
	require.Equal(t, at, got)
}
