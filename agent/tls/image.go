package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of what is read of one file.
const (
	maxHeaderBytes = 4 << 20   // for the headers, which are kept
	maxImageBytes  = 512 << 20 // in all: tables are read through a window, and not kept
	windowBytes    = 256 << 10
)

// image is an ELF file that is read as far as it is needed, within bounds. It is for one goroutine.
type image struct {
	*elf.File
	source *budget
}

// budget gives an error instead of more bytes than it has left, so that no file can keep its reader busy.
type budget struct {
	io.ReaderAt
	left int64
}

// ReadAt is that of io.ReaderAt.
func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("%w: it takes too much reading", ErrMalformed)
	}
	return b.ReaderAt.ReadAt(p, off)
}

// openImage reads the headers of a 64-bit little-endian ELF file.
func openImage(r io.ReaderAt) (*image, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != elf.ELFMAG {
		return nil, fmt.Errorf("%w: it is no ELF file", ErrNoTLS)
	}
	source := &budget{r, maxHeaderBytes}
	f, err := elf.NewFile(source)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if f.Class != elf.ELFCLASS64 || f.ByteOrder != binary.ByteOrder(binary.LittleEndian) || f.Machine != elf.EM_X86_64 && f.Machine != elf.EM_AARCH64 {
		return nil, fmt.Errorf("%w: it is for another kind of machine", ErrNoTLS)
	}
	source.left = maxImageBytes
	return &image{f, source}, nil
}

// fileOffset is where the byte of an address of the running program lies in the file; ok is false where the file has no such byte, whatever its headers say.
func (m *image) fileOffset(addr uint64) (off uint64, ok bool) {
	for _, p := range m.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			off := addr - p.Vaddr + p.Off
			if off < p.Off || off >= 1<<62 {
				return 0, false
			}
			var there [1]byte
			n, _ := m.source.ReadAt(there[:], int64(off))
			return off, n == 1
		}
	}
	return 0, false
}

// address is the reverse of fileOffset.
func (m *image) address(off uint64) (uint64, bool) {
	for _, p := range m.Progs {
		if p.Type == elf.PT_LOAD && off >= p.Off && off-p.Off < p.Filesz {
			return off - p.Off + p.Vaddr, true
		}
	}
	return 0, false
}

// bytesAt reads what the program finds at an address before anything has relocated it.
func (m *image) bytesAt(addr uint64, n int) ([]byte, error) {
	off, ok := m.fileOffset(addr)
	if !ok {
		return nil, fmt.Errorf("%w: nothing of the file is at address %#x", ErrMalformed, addr)
	}
	b := make([]byte, n)
	if _, err := m.source.ReadAt(b, int64(off)); err != nil {
		return nil, fmt.Errorf("%w: read address %#x: %w", ErrMalformed, addr, err)
	}
	return b, nil
}

// pointers reads the pointers at some addresses as they are once the program is loaded at the address that it was linked for.
func (m *image) pointers(addrs ...uint64) ([]uint64, error) {
	out := make([]uint64, len(addrs))
	for i, addr := range addrs {
		b, err := m.bytesAt(addr, 8)
		if err != nil {
			return nil, err
		}
		out[i] = binary.LittleEndian.Uint64(b)
	}
	if m.Type != elf.ET_DYN {
		return out, nil
	}
	relative := uint32(elf.R_X86_64_RELATIVE)
	if m.Machine == elf.EM_AARCH64 {
		relative = uint32(elf.R_AARCH64_RELATIVE)
	}
	const size = 24 // bytes of a relocation with addend
	for _, s := range m.Sections {
		if s.Type != elf.SHT_RELA || s.Flags&elf.SHF_COMPRESSED != 0 { //nolint:misspell // as ELF calls it
			continue
		}
		w := m.window(s.Offset, s.Offset+s.FileSize)
		for off := s.Offset; off+size <= s.Offset+s.FileSize; off += size {
			b, err := w.at(off, size)
			if err != nil {
				return nil, err
			}
			where := binary.LittleEndian.Uint64(b)
			for i, addr := range addrs {
				if where == addr && binary.LittleEndian.Uint32(b[8:]) == relative {
					out[i] = binary.LittleEndian.Uint64(b[16:])
				}
			}
		}
	}
	return out, nil
}

// window reads a part of a file piece by piece.
type window struct {
	source     io.ReaderAt
	begin, end uint64 // of the part
	buf        []byte
	from       uint64 // offset of buf in the file
}

func (m *image) window(begin, end uint64) *window {
	return &window{source: m.source, begin: begin, end: end}
}

// at gives n bytes at an offset of the file, valid until the next call. Reading onwards is cheap.
func (w *window) at(off uint64, n int) ([]byte, error) {
	if off < w.begin || off > w.end || w.end-off < uint64(n) || w.end >= 1<<62 || n > windowBytes {
		return nil, fmt.Errorf("%w: a table goes beyond its end", ErrMalformed)
	}
	if w.buf == nil || off < w.from || off+uint64(n) > w.from+uint64(len(w.buf)) {
		size := min(w.end-off, windowBytes)
		if uint64(cap(w.buf)) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.from = w.buf[:size], off
		if _, err := w.source.ReadAt(w.buf, int64(off)); err != nil {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("%w: read a table: %w", ErrMalformed, err)
		}
	}
	return w.buf[off-w.from:][:n], nil
}

// search calls hit with the file offset of every place in a part where one of the texts stands, until it returns false.
func (m *image) search(begin, end uint64, texts [][]byte, hit func(text int, off uint64) bool) error {
	longest := 1
	for _, t := range texts {
		longest = max(longest, len(t))
	}
	w := m.window(begin, end)
	for off := begin; off < end; {
		n := int(min(end-off, windowBytes))
		b, err := w.at(off, n)
		if err != nil {
			return err
		}
		for i, t := range texts {
			for from := 0; ; {
				at := bytes.Index(b[from:], t)
				if at < 0 {
					break
				}
				if !hit(i, off+uint64(from+at)) {
					return nil
				}
				from += at + 1
			}
		}
		if n < windowBytes {
			return nil
		}
		off += uint64(n - longest + 1)
	}
	return nil
}
